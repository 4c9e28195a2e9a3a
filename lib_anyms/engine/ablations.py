"""What AnyMS is compared with: the image stream without local decoupling, and with it as masks (the paper's ablation,
Eq. 7).

Each takes the queries (batch, tokens, channels) of the whole feature map, every subject's key and value, the token
numbers of its whole box (nothing hides anything here) and its weight -> Z_image, as the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lib_anyms.engine.attention import KeyValue, image_attention

Merge = Callable[[torch.Tensor, Sequence[KeyValue], Sequence[torch.Tensor], Sequence[float], int], torch.Tensor]


def global_sum(query, keys_values, regions, weights, heads):  # type: ignore[no-untyped-def]
    """Every subject over the whole picture, summed."""
    total = torch.zeros_like(query)
    for (key, value), weight in zip(keys_values, weights):
        if weight:
            total += weight * image_attention(query, key, value, heads)
    return total


def global_mean(query, keys_values, regions, weights, heads):  # type: ignore[no-untyped-def]
    """Every subject over the whole picture, averaged."""
    return global_sum(query, keys_values, regions, weights, heads) / max(1, len(keys_values))


def one_softmax(query, keys_values, regions, weights, heads):  # type: ignore[no-untyped-def]
    """All subjects' tokens side by side in one softmax, over the whole picture: as if they were one subject's tokens."""
    taking_part = [(key, weight * value) for (key, value), weight in zip(keys_values, weights) if weight]
    if not taking_part:
        return torch.zeros_like(query)
    keys, values = zip(*taking_part)
    return image_attention(query, torch.cat(keys), torch.cat(values), heads)


def masked_sum(query, keys_values, regions, weights, heads):  # type: ignore[no-untyped-def]
    """Every subject over the whole picture, cut to its box, summed where boxes overlap (Eq. 7)."""
    total = torch.zeros_like(query)
    for (key, value), rows, weight in zip(keys_values, regions, weights):
        if weight and len(rows):
            mask = query.new_zeros(query.shape[1], 1)
            mask[rows] = weight
            total += mask * image_attention(query, key, value, heads)
    return total


MERGES: dict[str, Merge] = {
    "masked-sum": masked_sum,
    "global-sum": global_sum,
    "global-mean": global_mean,
    "one-softmax": one_softmax,
}

"""What AnyMS is compared with: the image stream without local decoupling, and decoupled by masks (the paper's Eq. 7).

Each function takes the queries (batch, tokens, channels) of the whole feature map, the key and value of every subject,
the token numbers of its whole box (no subject hides another here), its weight w_j, and the number of heads. It returns
Z_image, in the shape of the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lib_anyms.engine.attention import KeyValue, image_attention

KeysValues = Sequence[KeyValue]
Regions = Sequence[torch.Tensor]
Weights = Sequence[float]
MergeFunction = Callable[[torch.Tensor, KeysValues, Regions, Weights, int], torch.Tensor]


def global_sum(
    query: torch.Tensor, keys_values: KeysValues, regions: Regions, weights: Weights, heads: int
) -> torch.Tensor:
    """Every subject over the whole feature map, summed."""
    total = torch.zeros_like(query)
    for (key, value), weight in zip(keys_values, weights):
        if weight:
            total += weight * image_attention(query, key, value, heads)
    return total


def global_mean(
    query: torch.Tensor, keys_values: KeysValues, regions: Regions, weights: Weights, heads: int
) -> torch.Tensor:
    """Every subject over the whole feature map, averaged."""
    return global_sum(query, keys_values, regions, weights, heads) / max(1, len(keys_values))


def one_softmax(
    query: torch.Tensor, keys_values: KeysValues, regions: Regions, weights: Weights, heads: int
) -> torch.Tensor:
    """The image tokens of all subjects side by side in one softmax, over the whole feature map."""
    weighted = [(key, weight * value) for (key, value), weight in zip(keys_values, weights) if weight]
    if not weighted:
        return torch.zeros_like(query)
    keys, values = zip(*weighted)
    return image_attention(query, torch.cat(keys), torch.cat(values), heads)


def masked_sum(
    query: torch.Tensor, keys_values: KeysValues, regions: Regions, weights: Weights, heads: int
) -> torch.Tensor:
    """Every subject over the whole feature map, cut to its box, summed where boxes overlap (Eq. 7)."""
    total = torch.zeros_like(query)
    for (key, value), region, weight in zip(keys_values, regions, weights):
        if weight and len(region):
            mask = query.new_zeros(query.shape[1], 1)
            mask[region] = weight
            total += mask * image_attention(query, key, value, heads)
    return total


MERGE_FUNCTIONS: dict[str, MergeFunction] = {
    "masked-sum": masked_sum,
    "global-sum": global_sum,
    "global-mean": global_mean,
    "one-softmax": one_softmax,
}

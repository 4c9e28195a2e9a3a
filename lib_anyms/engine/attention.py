"""THE IDEA. The two decouplings of AnyMS (arXiv 2512.23537), for one cross-attention layer.

Global:  Z = Z_text + s * Z_image                                                  (Eq. 3)
Local:   Q_j = Q[tokens of subject j],  Z_j = softmax(Q_j K_j^T / sqrt d) V_j      (Eq. 5)   `image_attention`
         Z_image[tokens of subject j] = w_j * Z_j                                  (Eq. 6)   `crop_and_merge`

Z_text is the host's own attention and is never computed again. Q is the query of the text stream. Only Q is cropped:
K_j and V_j come from all image tokens of subject j. A `Crop` holds the VISIBLE query tokens of its subject: where boxes
overlap, the topmost subject owns the token. So the order of the loop does not matter. Query tokens without an owner do
not change: there the image follows the text alone.

A subject with its own prompt makes the text local too (ours, not the paper's). K'_j and V'_j are the layer's own
projections of that prompt, u the share of local text:

Text:    Z_text[tokens of subject j] = (1 - u) Z_text + u * softmax(Q_j K'_j^T / sqrt d) V'_j      `localise_text`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lib_anyms.engine.sdpa import attend

KeyValue = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Crop:
    """The query tokens one subject owns in a feature map. Every layer and step of that size shares it.

    subject: its number, from 0; token_idx: (owned,) row-major token numbers; weight: w_j.
    """

    subject: int
    token_idx: torch.Tensor
    weight: float


def crops_of(visible: Sequence[Sequence[int]], weights: Sequence[float], device: torch.device) -> tuple[Crop, ...]:
    """A crop for each subject that owns tokens and has a weight. The tokens of a subject without a weight stay unowned.

    visible: the token numbers of each subject, disjoint; weights: w_j of each subject.
    """
    crops = []
    for subject, (tokens, weight) in enumerate(zip(visible, weights)):
        if tokens and weight:
            crops.append(Crop(subject, torch.tensor(tokens, dtype=torch.long, device=device), weight))
    return tuple(crops)


def merged_by_weight(crops: Sequence[Crop]) -> tuple[Crop, ...]:
    """Merge crops that attend to the same key / value set: one crop per distinct weight.

    Unconditional batch entries need this: there all subjects attend to the one unconditional set.
    """
    groups: dict[float, list[Crop]] = {}
    for crop in crops:
        groups.setdefault(crop.weight, []).append(crop)
    return tuple(
        Crop(group[0].subject, torch.cat([crop.token_idx for crop in group]), weight)
        for weight, group in groups.items()
    )


def image_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Z_j: queries (batch, queries, channels) over key and value (image tokens, channels) -> as query."""
    batch = query.shape[0]
    key, value = (split_heads(tensor, heads).expand(batch, -1, -1, -1) for tensor in (key, value))
    return attend(split_heads(query, heads), key, value).transpose(1, 2).flatten(2)


def split_heads(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """(..., tokens, channels) -> (..., heads, tokens, channels / heads)."""
    return tensor.unflatten(-1, (heads, -1)).transpose(-3, -2)


def crop_and_merge(
    text: torch.Tensor,
    query: torch.Tensor,
    keys_values: Sequence[KeyValue],
    crops: Sequence[Crop],
    heads: int,
    scale: float,
) -> torch.Tensor:
    """Z = Z_text + s * w_j * Z_j at the tokens of each subject, in place, before the layer's output projection.

    text, query: (batch, tokens, channels) of the whole feature map; keys_values: (K_j, V_j) by subject number.
    """
    for crop in crops:
        image = image_attention(query.index_select(1, crop.token_idx), *keys_values[crop.subject], heads)
        text.index_add_(1, crop.token_idx, image.to(text.dtype), alpha=scale * crop.weight)
    return text


def localise_text(
    text: torch.Tensor,
    query: torch.Tensor,
    keys_values: Sequence[KeyValue],
    crops: Sequence[Crop],
    heads: int,
    share: float,
) -> torch.Tensor:
    """Z_text = (1 - u) Z_text + u * Z'_j at the tokens of each crop, in place. Crops have no weight here.

    text, query: (batch, tokens, channels) of the whole feature map; keys_values: (K'_j, V'_j) by crop.subject, each
    (text tokens, channels); share: u, 0..1.
    """
    for crop in crops:
        local = image_attention(query.index_select(1, crop.token_idx), *keys_values[crop.subject], heads)
        host = text.index_select(1, crop.token_idx)
        text.index_copy_(1, crop.token_idx, torch.lerp(host, local.to(text.dtype), share))
    return text

"""THE IDEA. The two decouplings of AnyMS (arXiv 2512.23537), for one cross-attention layer.

Global:  Z = Z_text + s * Z_image                                             (Eq. 3)
Local:   Q_j = Q[rows of subject j],  Z_j = softmax(Q_j K_j^T / sqrt d) V_j   (Eq. 5)   `image_attention`
         Z_image[rows of subject j] = w_j * Z_j                               (Eq. 6)   `crop_and_merge`, which adds it too

Z_text is the host's own attention and is never recomputed; Q is the text stream's own query. Only Q is cropped: K_j and
V_j are the whole of subject j's image tokens. A `Crop` holds the VISIBLE rows of its subject (the topmost owns a
token), so the order of the loop does not matter. Rows of nobody are not touched: there the picture is the text's alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lib_anyms.engine.sdpa import attend

KeyValue = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Crop:
    """One subject's rows of a feature map: made once, used by every layer and step there.

    subject: its number; rows: (owned,) row-major token numbers; weight: w_j.
    """

    subject: int
    rows: torch.Tensor
    weight: float


def crops_of(visible: Sequence[Sequence[int]], weights: Sequence[float], device: torch.device) -> tuple[Crop, ...]:
    """`visible`: each subject's token numbers, disjoint.

    Who has no weight takes no part, and nobody else gets its tokens.
    """
    return tuple(
        Crop(subject, torch.tensor(tokens, dtype=torch.long, device=device), weight)
        for subject, (tokens, weight) in enumerate(zip(visible, weights))
        if tokens and weight
    )


def one_set(crops: Sequence[Crop]) -> tuple[Crop, ...]:
    """The crops of rows that all see one set, whoever owns them, as the unconditional ones do: one for each weight."""
    alike = {crop.weight: [each for each in crops if each.weight == crop.weight] for crop in crops}
    return tuple(
        Crop(same[0].subject, torch.cat([crop.rows for crop in same]), weight) for weight, same in alike.items()
    )


def image_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries (batch, rows, channels) over one subject's image tokens, key and value (tokens, channels) -> as query."""
    batch = query.shape[0]
    key, value = (split_heads(tensor, heads).expand(batch, -1, -1, -1) for tensor in (key, value))
    return attend(split_heads(query, heads), key, value).transpose(1, 2).flatten(2)


def split_heads(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """(..., rows, channels) -> (..., heads, rows, channels / heads)."""
    return tensor.unflatten(-1, (heads, -1)).transpose(-3, -2)


def crop_and_merge(
    text: torch.Tensor,
    query: torch.Tensor,
    keys_values: Sequence[KeyValue],
    crops: Sequence[Crop],
    heads: int,
    scale: float,
) -> torch.Tensor:
    """Z = Z_text + s * w_j * Z_j in each subject's rows, in place, before the layer's output projection.

    text, query: (batch, tokens, channels) of the whole feature map; keys_values: each subject's own, by its number.
    """
    for crop in crops:
        image = image_attention(query.index_select(1, crop.rows), *keys_values[crop.subject], heads)
        text.index_add_(1, crop.rows, image.to(text.dtype), alpha=scale * crop.weight)
    return text

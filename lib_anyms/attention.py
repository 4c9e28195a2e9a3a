"""THE IDEA. The two decouplings of AnyMS (arXiv 2512.23537), for one cross-attention layer.

Global:  Z = Z_text + s * Z_image                                   (Eq. 3)   `add_image_stream`
Local:   Q_j = Q[rows of subject j],  Z_j = softmax(Q_j K_j^T / sqrt d) V_j   (Eq. 5)   `image_attention`
         Z_image[rows of subject j] = w_j * Z_j                      (Eq. 6)   `crop_and_merge`

Z_text is the host's own attention and is never recomputed; Q is the text stream's own query. Only Q is cropped: K_j and V_j
are the whole of subject j's image tokens. `regions` are the VISIBLE rows of each subject (the topmost owns a token), so the
order of the loop does not matter. Rows of nobody get no image stream: there the picture is the text's alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib_anyms.softmax import attend

KeyValue = tuple[torch.Tensor, torch.Tensor]


def image_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries (batch, rows, channels) over one subject's image tokens, key and value (tokens, channels) -> as query."""
    batch = query.shape[0]

    def split(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.unflatten(-1, (heads, -1)).transpose(-3, -2)  # -> (..., heads, rows or tokens, channels / heads)

    key, value = (split(tensor).expand(batch, -1, -1, -1) for tensor in (key, value))
    return attend(split(query), key, value).transpose(1, 2).flatten(2)


def crop_and_merge(
    query: torch.Tensor,
    keys_values: Sequence[KeyValue],
    regions: Sequence[torch.Tensor],
    weights: Sequence[float],
    heads: int,
) -> torch.Tensor:
    """Z_image: each subject's visible rows attend to that subject alone; zero elsewhere. -> (batch, tokens, channels)

    query (batch, tokens, channels) of the whole feature map; for each subject its (key, value), the row-major numbers of its
    visible tokens (disjoint between subjects) and its weight.
    """
    merged = torch.zeros_like(query)
    for (key, value), rows, weight in zip(keys_values, regions, weights):
        if weight and len(rows):
            merged[:, rows] = weight * image_attention(query[:, rows], key, value, heads)
    return merged


def add_image_stream(text: torch.Tensor, image: torch.Tensor, scale: float) -> torch.Tensor:
    """Z = Z_text + s * Z_image, before the layer's output projection; both (batch, tokens, channels)."""
    return text + scale * image

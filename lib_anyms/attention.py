"""THE IDEA. The two decouplings of AnyMS (arXiv 2512.23537), for one cross-attention layer.

Global:  Z = Z_text + s * Z_image                                   (Eq. 3)   `add_image_stream`
Local:   Q_j = Q[rows of subject j],  Z_j = softmax(Q_j K_j^T / sqrt d) V_j   (Eq. 5)   `image_attention`
         Z_image[rows of subject j] = w_j * Z_j                      (Eq. 6)   `crop_and_merge`

Z_text is the host's own attention and is never recomputed; Q is the text stream's own query. Only Q is cropped: K_j and V_j
are the whole of subject j's image tokens. A `Crop` holds the VISIBLE rows of each subject (the topmost owns a token), so the
order of the loop does not matter. Rows of nobody are not touched: there the picture is the text's alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lib_anyms.softmax import attend

KeyValue = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Crop:
    """Whose rows are where on one feature map: made once, used by every layer and step there.

    rows: (owned,) row-major token numbers, one subject's after another's; spans: (subject, first, last) into `rows` for each
    subject that takes part; weight: the largest w_j; shares: (owned, 1), what of it each row's subject has, None if all have it.
    """

    rows: torch.Tensor
    spans: tuple[tuple[int, int, int], ...]
    weight: float
    shares: torch.Tensor | None

    @classmethod
    def of(cls, visible: Sequence[Sequence[int]], weights: Sequence[float], like: torch.Tensor) -> Crop:
        """`visible`: each subject's token numbers, disjoint. Who has no weight takes no part, and nobody else gets its tokens.

        On `like`'s device and in its dtype.
        """
        rows: list[int] = []
        spans, each = [], []
        for number, (tokens, weight) in enumerate(zip(visible, weights)):
            if weight and tokens:
                spans.append((number, len(rows), len(rows) + len(tokens)))
                rows += tokens
                each += [weight] * len(tokens)
        largest = max(each, default=0.0)
        shares = torch.tensor([weight / largest for weight in each], dtype=torch.float64).unsqueeze(1)
        numbers = torch.tensor(rows, dtype=torch.long, device=like.device)
        return cls(numbers, tuple(spans), largest, None if all(weight == largest for weight in each) else shares.to(like))


def image_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries (batch, rows, channels) over one subject's image tokens, key and value (tokens, channels) -> as query."""
    batch = query.shape[0]
    key, value = (split_heads(tensor, heads).expand(batch, -1, -1, -1) for tensor in (key, value))
    return attend(split_heads(query, heads), key, value).transpose(1, 2).flatten(2)


def split_heads(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """(..., rows, channels) -> (..., heads, rows, channels / heads)."""
    return tensor.unflatten(-1, (heads, -1)).transpose(-3, -2)


def crop_and_merge(query: torch.Tensor, keys_values: Sequence[KeyValue], crop: Crop, heads: int) -> torch.Tensor:
    """Each subject's visible rows attend to that subject alone -> (batch, owned, channels), in the order of `crop.rows`.

    query: (batch, tokens, channels) of the whole feature map; keys_values: each subject's own.
    """
    cropped = query.index_select(1, crop.rows)
    parts = [image_attention(cropped[:, first:last], *keys_values[number], heads) for number, first, last in crop.spans]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def add_image_stream(text: torch.Tensor, image: torch.Tensor, crop: Crop, scale: float) -> torch.Tensor:
    """Z = Z_text + s * w_j * Z_j in place, before the layer's output projection.

    text: (batch, tokens, channels); image: (batch, owned, channels), in the order of `crop.rows`.
    """
    if crop.shares is not None:
        image = image * crop.shares
    return text.index_add_(1, crop.rows, image.to(text.dtype), alpha=scale * crop.weight)

"""softmax(Q K^T / sqrt d) V: torch's fused attention, and plain softmax where a device raises in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lib_anyms.engine.memory import out_of_memory

# (device, dtype) whose fused attention raised -> how. Kept, so that it is tried once and not once a layer.
REFUSED_BY: dict[tuple[str, torch.dtype], str] = {}


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Queries (..., rows, channels) over keys and values (..., tokens, channels) -> as query.

    `mask` is added to the scores.
    """
    place = (query.device.type, query.dtype)
    if REFUSED_BY and place in REFUSED_BY:
        return plain_softmax(query, key, value, mask)
    try:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        attended = plain_softmax(query, key, value, mask)  # first: where the tensors are at fault it raises too
        REFUSED_BY[place] = f"{type(error).__name__} on {place[0]}"
        return attended


def plain_softmax(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The same, written out; computed in float32 at least."""
    precise = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(precise) @ key.to(precise).transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + mask.to(precise)
    return (scores.softmax(-1) @ value.to(precise)).to(query.dtype)


def is_fused(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether fused attention runs there: asked by trying it."""
    probe = torch.zeros(1, 1, 1, 8, device=device, dtype=dtype)
    attend(probe, probe, probe)
    return (device.type, dtype) not in REFUSED_BY

"""softmax(Q K^T / sqrt d) V: PyTorch's fused attention, and plain softmax on devices where that raises an error."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lib_anyms.engine.memory import out_of_memory
from lib_anyms.runtime import runtime


class FusedRefusals(dict[tuple[str, torch.dtype], str]):
    """(device type, dtype) whose fused attention raised an error -> which. So it is tried once, not in every layer."""


REFUSED_BY = runtime.of(FusedRefusals)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Queries (..., queries, channels) over keys and values (..., tokens, channels) -> as query.

    mask: added to the scores, broadcast to (..., queries, tokens). Raises what the device raises when memory runs out.
    """
    kind = (query.device.type, query.dtype)
    if REFUSED_BY and kind in REFUSED_BY:
        return plain_softmax(query, key, value, mask)
    try:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        # Compute before remembering: where the tensors are at fault, this raises too.
        result = plain_softmax(query, key, value, mask)
        REFUSED_BY[kind] = f"{type(error).__name__} on {kind[0]}"
        return result


def plain_softmax(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The same as `attend`, written out. Computes in float32 at least."""
    precise = torch.promote_types(query.dtype, torch.float32)
    scores = query.to(precise) @ key.to(precise).transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + mask.to(precise)
    return (scores.softmax(-1) @ value.to(precise)).to(query.dtype)


def is_fused(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether fused attention runs on `device` in `dtype`. Tries it."""
    probe = torch.zeros(1, 1, 1, 8, device=device, dtype=dtype)
    attend(probe, probe, probe)
    return (device.type, dtype) not in REFUSED_BY

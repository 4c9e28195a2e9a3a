"""softmax(Q K^T / sqrt d) V: PyTorch's fused attention, and plain softmax where that fails a check.

Other programs replace `F.scaled_dot_product_attention` for the whole process. A replacement may ignore the mask, as
SageAttention does, and then subjects would mix in every box. Some devices cannot run PyTorch's own. So the function
that is there is checked on a small case in AnyMS's layout, once per device, dtype and head width.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lib_anyms.engine.memory import out_of_memory
from lib_anyms.runtime import runtime

SETS, TOKENS, QUERIES = 13, 16, 3  # of the check: twelve subjects and the unconditional set, tokens and queries of each
TOLERANCE = 0.05  # on values around 1: half precision and eight-bit scores stay below, another set is 20 times above
_KEPT = 64  # results; a program may replace the function in every call
_AUTOCASTS = ("cpu", "cuda", "xpu")
Attention = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Unfit:
    """Why AnyMS does not use an attention function. module: of the function, "" if it is PyTorch's own."""

    module: str
    got: str


# Ways to call the function: as `attend` does without and with a mask, and as transformers' encoders do.
ALONE, MASKED, LIBRARY = "alone", "masked", "by transformers"
_Case = tuple[Attention, torch.device, torch.dtype, int, str]


class AttentionChecks:
    """The results by function, device, dtype, head width and form; None: it fits."""

    def __init__(self) -> None:
        self.results: dict[_Case, Unfit | None] = {}
        self.unfit: dict[tuple[Attention, torch.device, torch.dtype], Unfit] = {}

    def add(self, case: _Case, result: Unfit | None) -> None:
        """Keep a result. The oldest ones go first."""
        self.results[case] = result
        if result is not None:
            self.unfit.setdefault(case[:3], result)
        while len(self.results) > _KEPT:
            del self.results[next(iter(self.results))]
        while len(self.unfit) > _KEPT:
            del self.unfit[next(iter(self.unfit))]

    def clear(self) -> None:
        self.results.clear()
        self.unfit.clear()


CHECKS = runtime.of(AttentionChecks)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Queries (..., queries, channels) over keys and values (..., tokens, channels) -> as query.

    mask: added to the scores, broadcast to (..., queries, tokens). Raises what the device raises when memory runs out.
    """
    function, form = F.scaled_dot_product_attention, ALONE if mask is None else MASKED
    if not fits(query.device, query.dtype, query.shape[-1], form):
        return plain_softmax(query, key, value, mask)
    try:
        return function(query, key, value) if mask is None else function(query, key, value, attn_mask=mask)
    except Exception as error:
        if out_of_memory(error):
            raise
        # Compute before remembering: where the tensors are at fault, this raises too.
        result = plain_softmax(query, key, value, mask)
        case = (function, query.device, query.dtype, query.shape[-1], form)
        CHECKS.add(case, Unfit(_module_of(function), type(error).__name__))
        return result


def plain_softmax(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The same as `attend`, written out. Computes in float32 at least."""
    precise = torch.promote_types(query.dtype, torch.float32)
    kind = query.device.type if query.device.type in _AUTOCASTS else "cpu"
    with torch.autocast(kind, enabled=False):  # a host's autocast would multiply in half precision
        scores = query.to(precise) @ key.to(precise).transpose(-1, -2) / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores + mask.to(precise)
        return (scores.softmax(-1) @ value.to(precise)).to(query.dtype)


def fits(device: torch.device, dtype: torch.dtype, width: int, form: str) -> bool:
    """Whether the attention function that is there computes the right values. Checks it once.

    width: channels of a head.
    """
    case = (F.scaled_dot_product_attention, device, dtype, width, form)
    if case in CHECKS.results:
        return CHECKS.results[case] is None
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return False  # a check would end the capture of the CUDA graph
    result = _check(*case)
    CHECKS.add(case, result)
    return result is None


def unfit(like: torch.Tensor) -> Unfit | None:
    """What is wrong with the attention function that is there, for tensors such as `like`, as far as it was checked."""
    if not CHECKS.unfit:
        return None
    return CHECKS.unfit.get((F.scaled_dot_product_attention, like.device, like.dtype))


@torch.no_grad()
def _check(function: Attention, device: torch.device, dtype: torch.dtype, width: int, form: str) -> Unfit | None:
    """Compare `function` with plain softmax on the CPU. Raises what the device raises when memory runs out."""
    if device.type == "meta":  # no numbers
        return None
    flat = _small_case(dtype, width, form)
    mask = _block_mask(dtype) if form == MASKED else None
    views = _arranged(flat)
    expected = plain_softmax(*views, mask=None if mask is None else _cut(mask))
    ours = flat if mask is None else [*flat, mask]
    moved = [tensor.to(device, copy=True) for tensor in ours]
    try:
        result = function(*_arranged(moved[:3]), **_arguments(form, width, moved[3:])).cpu()
        changed = any(not torch.equal(now.cpu(), before) for now, before in zip(moved, ours))
        got = _difference(result, expected, plain_softmax(*views), changed)
    except Exception as error:
        if out_of_memory(error):
            raise
        got = type(error).__name__
    return Unfit(_module_of(function), got) if got else None


def _difference(result: torch.Tensor, expected: torch.Tensor, unmasked: torch.Tensor, changed: bool) -> str:
    """What is wrong with a result; "" for nothing."""
    if (result - expected).abs().max() <= TOLERANCE:  # False for NaN
        return "it changes its input" if changed else ""
    if not result.isfinite().all():
        return "it returns NaN or infinity"
    ignores = (result - unmasked).abs().max() <= TOLERANCE
    return "it ignores the mask" if ignores else "it returns wrong values"


def _small_case(dtype: torch.dtype, width: int, form: str) -> list[torch.Tensor]:
    """Queries (2, queries, channels), keys and values (tokens, channels), on the CPU; two heads.

    With a mask the tokens of all sets side by side; without one those of one set, cut from these.
    """
    make = torch.Generator().manual_seed(0)
    sizes = ((2, (SETS - 1) * QUERIES), (SETS * TOKENS,), (SETS * TOKENS,))
    flat = []
    for size in sizes:
        drawn = torch.randn(*size, 2 * width, generator=make, dtype=torch.float32, device="cpu").to(dtype)
        flat.append(drawn if len(size) == 2 or form == MASKED else drawn[TOKENS : 2 * TOKENS])
    return flat


def _arranged(flat: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By heads, (2, 2, ..., width), as AnyMS passes them: views; both batch entries share keys and values."""
    query, key, value = (tensor.unflatten(-1, (2, -1)).transpose(-3, -2).expand(2, -1, -1, -1) for tensor in flat)
    return query, key, value


def _block_mask(dtype: torch.dtype) -> torch.Tensor:
    """(2, 1, queries, tokens and more): an entry of subjects, each with its set; one that sees the last set only."""
    tokens = SETS * TOKENS
    mask = torch.full((2, 1, (SETS - 1) * QUERIES, tokens + TOKENS), float("-inf"), dtype=dtype, device="cpu")
    for subject in range(SETS - 1):
        queries = slice(subject * QUERIES, (subject + 1) * QUERIES)
        mask[0, :, queries, subject * TOKENS : (subject + 1) * TOKENS] = 0
    mask[1, ..., tokens - TOKENS : tokens] = 0
    return mask


def _cut(mask: torch.Tensor) -> torch.Tensor:
    """As `fused` passes it: a view, whose rows have aligned starts."""
    return mask[..., : SETS * TOKENS]


def _arguments(form: str, width: int, masks: Sequence[torch.Tensor]) -> dict[str, Any]:
    if form == LIBRARY:
        return {"attn_mask": None, "dropout_p": 0.0, "scale": width**-0.5, "is_causal": False}
    return {"attn_mask": _cut(masks[0])} if masks else {}


def _module_of(function: Attention) -> str:
    """The module of a replacement; "" for PyTorch's own function, which is built in."""
    if isinstance(function, types.BuiltinFunctionType):
        return ""
    wrapped = getattr(function, "func", function)  # functools.partial
    return str(getattr(wrapped, "__module__", None) or type(wrapped).__module__)

"""What a UNet call is, read from the call itself: its text and its latents, beside those the host announced.

Guidance and tilers call the UNet with other batches than the host's. Their names say nothing; these tensors do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.layout.geometry import WHOLE, Viewport

Kinds = frozenset[bool]  # of an entry's text: {True}, {False}, both where the prompts are equal, or empty if unknown
Windows = tuple["Viewport | None", ...]
TEXT_UNKNOWN, WINDOW_UNKNOWN = "text_unknown", "window_unknown"  # causes of errors.Noted
_SAME = 0.02  # share of a window that may differ: the host rounds latents to half precision
_CLEARER = 0.005  # other places must differ by so much more, or the place is unknown


def latents_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """The latents of a UNet call, (batch, channels, height, width)."""
    latents: torch.Tensor = args[0] if args else kwargs["x"]
    return latents


def text_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    """The text of a UNet call, (batch, text tokens, C)."""
    return args[2] if len(args) > 2 else kwargs.get("context")


def tokens_of(text: Any) -> Any:
    """The tokens of a host's conditioning: a dictionary for SDXL."""
    return text["crossattn"] if isinstance(text, dict) else text


# -- text --------------------------------------------------------------------------------------------------------------


def kinds_of(context: torch.Tensor | None, count: int, positive: Any, negative: Any) -> list[Kinds]:
    """For each of `count` entries, whether its text is one of the step's positive or negative texts.

    context: (batch, text tokens, C); positive, negative: the host's conditioning. Waits for the device once.
    """
    positive, negative = tokens_of(positive), tokens_of(negative)
    if context is None or len(context) != count:
        return [frozenset()] * count
    lengths = torch.stack([_equal_tokens(context, positive), _equal_tokens(context, negative)])
    kinds = []
    for of_positive, of_negative in zip(*lengths.tolist()):
        same = max(of_positive, of_negative)
        kinds.append(
            frozenset(kind for kind, length in ((True, of_positive), (False, of_negative)) if length == same > 0)
        )
    return kinds


def _equal_tokens(context: torch.Tensor, texts: torch.Tensor | None) -> torch.Tensor:
    """For each entry, how many tokens it has in common with the text it equals; 0 if it equals none. (batch,)

    Hosts pad and repeat texts to one length, so the shorter of the two decides.
    """
    if texts is None or context.shape[2] != texts.shape[2]:
        return torch.zeros(len(context), dtype=torch.long, device=context.device)
    shared = min(context.shape[1], texts.shape[1])
    equal = torch.zeros(len(context), dtype=torch.bool, device=context.device)
    for text in texts.to(context):
        equal |= (context[:, :shared] == text[:shared]).flatten(1).all(1)
    return equal * shared


def by_text(kinds: Sequence[Kinds], windows: Windows) -> CondMap:
    """The map of entries that their texts decide; a text that is both counts as the prompt.

    An entry of an unknown text or place has no image stream. windows: of each entry, () for whole images.
    """
    places = [window if kind else None for kind, window in zip(kinds, windows or (WHOLE,) * len(kinds))]
    left_out = WINDOW_UNKNOWN if None in windows else "" if all(kinds) else TEXT_UNKNOWN
    flags = tuple(False not in kind or True in kind for kind in kinds)
    return CondMap(flags, windows=tuple(places) if windows or left_out else (), left_out=left_out)


# -- latents -----------------------------------------------------------------------------------------------------------


def windows_of(latents: torch.Tensor, images: torch.Tensor | None) -> Windows:
    """The part of the image that each entry of a call shows; () where the call has the whole image's size.

    latents: (batch, channels, height, width), as the UNet receives them: scaled, and with further channels for
    inpainting; images: the latents of the step's images before that, (images, channels, height, width). None in the
    result: the entry is no window, or has equal ones.
    """
    if images is None or latents.shape[-2:] == images.shape[-2:]:
        return ()
    canvas = images.detach().to("cpu", torch.float64)
    parts = latents[:, : canvas.shape[1]].detach().to("cpu", torch.float64)
    windows: list[Viewport | None] = []
    for number, part in enumerate(parts):
        twin = next((other for other in range(number) if torch.equal(parts[other], part)), None)
        windows.append(_located(part, canvas) if twin is None else windows[twin])
    return tuple(windows)


def _located(part: torch.Tensor, canvas: torch.Tensor) -> Viewport | None:
    (height, width), (rows, columns) = canvas.shape[-2:], part.shape[-2:]
    if rows > height or columns > width or part.shape[0] != canvas.shape[1]:
        return None
    rest = _unlike(part, canvas)
    top, left = divmod(int(rest.argmin()), rest.shape[1])
    smallest = rest[top, left].item()
    others = rest.clone()
    others[max(0, top - 1) : top + 2, max(0, left - 1) : left + 2] = 1.0  # a flat image moved by a cell is the same
    if not smallest <= _SAME or not others.min() > smallest + _CLEARER:
        return None
    return Viewport(left / width, top / height, (left + columns) / width, (top + rows) / height)


def _unlike(part: torch.Tensor, canvas: torch.Tensor) -> torch.Tensor:
    """How far `part` is from each window of its size: 0 for a multiple of it, 1 for nothing in common.

    part: (channels, rows, columns); canvas: (images, channels, height, width) -> (places down, places across), of the
    most similar image. The part may be any positive multiple of the window.
    """
    size, (rows, columns) = canvas.shape[-2:], part.shape[-2:]
    spectrum = torch.fft.rfft2(canvas) * torch.fft.rfft2(part, s=size).conj()
    down, across = size[0] - rows + 1, size[1] - columns + 1
    product = torch.fft.irfft2(spectrum.sum(1), s=size)[:, :down, :across]
    sums = torch.nn.functional.pad(canvas.square().sum(1).cumsum(1).cumsum(2), (1, 0, 1, 0))
    below, above = sums[:, rows:], sums[:, :-rows]
    energy = below[..., columns:] - above[..., columns:] - below[..., :-columns] + above[..., :-columns]
    share = product.clamp_min(0).square() / (energy * part.square().sum()).clamp_min(1e-30)
    return (1 - share).clamp_min(0).sqrt().amin(0)

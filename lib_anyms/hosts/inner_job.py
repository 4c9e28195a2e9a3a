"""A WebUI's job within another one: an extension inpaints the image between its sampling and its saving (ADetailer)."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from PIL import Image

from lib_anyms.layout.geometry import LATENT_STRIDE, WHOLE, Viewport

_SAME_SHAPE = 0.01  # width / height may differ by so much where an image was resized


def still_runs(job: Any) -> bool:
    """Whether a function that has not returned holds `job`.

    After an exception in a job hosts call no script, so nothing else says that it is over.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if any(value is job for value in frame.f_locals.values()):
            return True
        frame = frame.f_back
    return False


def repainted(p: Any) -> Image.Image | None:
    """The mask of an inpainting, white where it repaints; None for another job. Valid after the host's `init`."""
    if getattr(p, "image_mask", None) is None or not getattr(p, "init_images", None):
        return None
    mask = getattr(p, "mask_for_overlay", None)  # blurred, inverted where the user wants that
    return mask if isinstance(mask, Image.Image) else None


def canvas_of(outer: Any, sampled: Viewport, size: tuple[int, int]) -> Viewport | None:
    """The part of the layout's image that an image of `size` pixels shows, made by the job `outer`; None if unknown.

    sampled: the viewport of its last pass. Extensions get that pass's image, or the whole one that the host pastes it
    into; ADetailer's "Skip img2img" gives the init image.
    """
    pass_size = _hires_size(outer) if getattr(outer, "enable_hr", False) else (outer.width, outer.height)
    whole = [picture.size for picture in getattr(outer, "init_images", None) or ()]
    if size != pass_size and size in whole:
        return WHOLE
    shape, of_pass = size[0] / size[1], pass_size[0] / pass_size[1]
    return sampled if abs(shape / of_pass - 1) <= _SAME_SHAPE else None


def _hires_size(p: Any) -> tuple[int, int]:
    return p.hr_upscale_to_x - LATENT_STRIDE * p.truncate_x, p.hr_upscale_to_y - LATENT_STRIDE * p.truncate_y


def has_own_text(inner: Any, outer: Any, negative: bool = False) -> bool:
    """Whether the inner job's prompt is another one than the outer job's."""
    name = "negative_prompt" if negative else "prompt"
    texts = getattr(outer, f"all_{name}s", None) or [getattr(outer, name, "")]
    return getattr(inner, name, "") not in texts


def image_number(p: Any) -> tuple[int, int]:
    """Which image of the job is being finished: iteration, and place in its batch."""
    return int(getattr(p, "iteration", 0) or 0), int(getattr(p, "batch_index", 0) or 0)

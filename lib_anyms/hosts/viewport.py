"""The crop of the canvas that a WebUI's sampling pass renders, from its job `p`.

The canvas is the first pass's image in txt2img, the output image in img2img, the whole init image with "Only masked".
The fields are the same in A1111, Forge, reForge and Forge Neo (whose hires fix stretches, so it crops nothing). Lines
of modules/processing.py are those of A1111 82a973c0.
"""

from __future__ import annotations

from typing import Any

from lib_anyms.errors import SteppedAside
from lib_anyms.layout.geometry import LATENT_STRIDE, WHOLE, Viewport

# Titles, in lower case, of scripts that make an image in parts with our job and do not report where a part is.
# Ultimate SD upscale is not one of them: each of its tiles is an "Only masked" job on the whole image.
IN_UNKNOWN_PARTS = frozenset({"sd upscale", "outpainting mk2", "poor man's outpainting"})


def viewport_of(p: Any) -> Viewport:
    """The viewport of the pass that begins. Raises SteppedAside where it is unknown.

    No resize mode changes it: boxes are fractions of the output image, however the init image is resized.
    """
    script = running_script(p)
    if script.lower() in IN_UNKNOWN_PARTS:
        raise SteppedAside("parts_unknown", got=script)
    if getattr(p, "is_hr_pass", False):
        return _hires_viewport(p)
    return _masked_viewport(p) if _only_masked(p) else WHOLE


def picture_viewport(p: Any) -> Viewport:
    """The viewport of the finished image: the host pastes an "Only masked" result into the whole image."""
    return _hires_viewport(p) if getattr(p, "enable_hr", False) else WHOLE


def running_script(p: Any) -> str:
    """The title of the script chosen on the tab, or "". The first script argument is its number, from 1."""
    arguments = getattr(p, "script_args", None)
    scripts = getattr(getattr(p, "scripts", None), "selectable_scripts", ())
    number = arguments[0] if isinstance(arguments, (list, tuple)) and arguments else 0
    if not isinstance(number, int) or not 0 < number <= len(scripts):
        return ""
    return str(scripts[number - 1].title())


def _hires_viewport(p: Any) -> Viewport:
    """Another aspect ratio is enlarged to cover the size, then cropped: processing.py 1240-1250, 1427."""
    x0, x1 = _cropped_side(p.hr_upscale_to_x, p.truncate_x)
    y0, y1 = _cropped_side(p.hr_upscale_to_y, p.truncate_y)
    return Viewport(x0, y0, x1, y1)


def _cropped_side(pixels: int, cells: int) -> tuple[float, float]:
    """Start and end, 0..1, of a side of `pixels` after cropping `cells` latent cells, the odd one at the end."""
    side = pixels // LATENT_STRIDE
    return cells // 2 / side, (side - (cells + 1) // 2) / side


def _only_masked(p: Any) -> bool:
    """Whether the pass is "Only masked". `paste_to` alone is not enough: it stays on a job that is used again."""
    return bool(getattr(p, "paste_to", None) and p.inpaint_full_res and p.image_mask is not None)


def _masked_viewport(p: Any) -> Viewport:
    """The region that the host crops from the init image and fits into the pass: processing.py 1639-1645, 1691."""
    sizes = {picture.size for picture in p.init_images}
    if len(sizes) != 1:
        listed = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise SteppedAside("sizes_differ", got=listed)
    width, height = sizes.pop()
    left, top, region_width, region_height = p.paste_to
    # "Resize and fill": a region of another aspect ratio than the pass gets margins, rounded as the host does.
    fitted_width, fitted_height = p.width, p.height
    if p.width / p.height < region_width / region_height:
        fitted_height = region_height * p.width // region_width
    else:
        fitted_width = region_width * p.height // region_height
    x0, x1 = _with_margins(left, region_width, fitted_width, p.width)
    y0, y1 = _with_margins(top, region_height, fitted_height, p.height)
    return Viewport(x0 / width, y0 / height, x1 / width, y1 / height)


def _with_margins(start: int, length: int, fitted: int, side: int) -> tuple[float, float]:
    """Start and end, in init image pixels, of a pass of `side` pixels.

    The region [start, start + length) takes `fitted` pixels of the pass; margins on both sides take the rest.
    """
    first = start - (side // 2 - fitted // 2) * length / fitted
    return first, first + side * length / fitted

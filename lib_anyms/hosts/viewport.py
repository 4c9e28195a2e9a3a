"""Which part of the picture the user draws on a WebUI's sampling pass shows, read off its job `p`.

txt2img draws on the first pass's picture, img2img on the picture that is made, "Only masked" on the whole init picture.
The fields are the same in A1111, Forge, reForge and Forge Neo (whose hires fix stretches, so cuts nothing); the lines
of modules/processing.py named here are those of A1111 82a973c0.
"""

from __future__ import annotations

from typing import Any

from lib_anyms.errors import SteppedAside
from lib_anyms.layout.geometry import LATENT_STRIDE, WHOLE, Viewport

# Scripts that make a picture in parts with our own job and keep to themselves where a part lies; titles in lower case.
# Ultimate SD upscale is not among them: each of its tiles is an "Only masked" job on the whole picture, which tells its
# place.
IN_UNKNOWN_PARTS = frozenset({"sd upscale", "outpainting mk2", "poor man's outpainting"})


def viewport_of(p: Any) -> Viewport:
    """The viewport of the pass that begins. Raises SteppedAside where it cannot be known.

    No resize mode changes it: whatever becomes of the init picture, boxes are fractions of the picture that is made.
    """
    script = running_script(p)
    if script.lower() in IN_UNKNOWN_PARTS:
        raise SteppedAside("parts_unknown", got=script)
    if getattr(p, "is_hr_pass", False):
        return _hires_viewport(p)
    return _masked_viewport(p) if _only_masked(p) else WHOLE


def picture_viewport(p: Any) -> Viewport:
    """The viewport of the finished picture: what an "Only masked" pass makes is put back into the whole."""
    return _hires_viewport(p) if getattr(p, "enable_hr", False) else WHOLE


def running_script(p: Any) -> str:
    """The title of the script chosen below the tab's settings, "" for none: the first script argument is its number,
    from 1.
    """
    arguments = getattr(p, "script_args", None)
    scripts = getattr(getattr(p, "scripts", None), "selectable_scripts", ())
    number = arguments[0] if isinstance(arguments, (list, tuple)) and arguments else 0
    return str(scripts[number - 1].title()) if isinstance(number, int) and 0 < number <= len(scripts) else ""


def _hires_viewport(p: Any) -> Viewport:
    """The second pass to another aspect is enlarged to cover its size, then cut: processing.py 1240-1250, 1427."""
    across = _cut(p.hr_upscale_to_x, p.truncate_x)
    down = _cut(p.hr_upscale_to_y, p.truncate_y)
    return Viewport(across[0], down[0], across[1], down[1])


def _cut(pixels: int, cells: int) -> tuple[float, float]:
    """What is left of a side after `cells` latent cells are cut off it, the odd one at the end."""
    side = pixels // LATENT_STRIDE
    return cells // 2 / side, (side - (cells + 1) // 2) / side


def _only_masked(p: Any) -> bool:
    """`paste_to` alone does not say so: it outlives the pass on a job that is used again."""
    return bool(getattr(p, "paste_to", None) and p.inpaint_full_res and p.image_mask is not None)


def _masked_viewport(p: Any) -> Viewport:
    """The region the host cut out of the init picture and fitted into the size of the pass: processing.py 1639-1645,
    1691.
    """
    sizes = {picture.size for picture in p.init_images}
    if len(sizes) != 1:
        raise SteppedAside("sizes_differ", got=", ".join(f"{width}x{height}" for width, height in sorted(sizes)))
    width, height = sizes.pop()
    left, top, cut_width, cut_height = p.paste_to
    # "resize and fill": a region that could not be widened to the pass's aspect gets margins, as the host rounds them
    narrow = p.width / p.height < cut_width / cut_height
    fitted_width = p.width if narrow else cut_width * p.height // cut_height
    fitted_height = cut_height * p.width // cut_width if narrow else p.height
    x0, x1 = _with_margins(left, cut_width, fitted_width, p.width)
    y0, y1 = _with_margins(top, cut_height, fitted_height, p.height)
    return Viewport(x0 / width, y0 / height, x1 / width, y1 / height)


def _with_margins(start: int, length: int, fitted: int, side: int) -> tuple[float, float]:
    """Where a pass of `side` pixels begins and ends in the init picture, when [start, start + length) became `fitted`
    of them.
    """
    first = start - (side // 2 - fitted // 2) * length / fitted
    return first, first + side * length / fitted

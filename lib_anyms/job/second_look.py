"""The second look: which subject an inpainting on the finished image repaints. No torch here.

Another extension makes the inpainting (ADetailer), or AnyMS itself, one for each subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from lib_anyms.job.request import Request
from lib_anyms.layout.fields import OFF
from lib_anyms.layout.geometry import WHOLE, Box, TokenGrid, Viewport
from lib_anyms.layout.layout import BACKGROUND, Layout, Subject

LEAST = 0.5  # share of a mask that its subject owns
TOUCHED = 0.1  # share of a mask in several subjects' regions from which the user learns that no subject acts
BLUR = 4  # pixels at the edge of a mask of ours, as the hosts' default
_FINEST = 128  # cells of the longer side on which a mask is measured
_LONGEST, _MULTIPLE = 2.0, 64  # of an inpainting's sides: one to the other; pixels
_WHITE = 128  # from this brightness on a mask repaints


def shares(layout: Layout, mask: Image.Image, canvas: Viewport = WHOLE) -> list[float]:
    """For each subject, the share of the mask's white part that it owns.

    canvas: the part of the layout's image that `mask` shows. Where boxes overlap, the topmost subject owns the part.
    """
    scale = min(1.0, _FINEST / max(mask.size))
    width, height = (max(1, round(side * scale)) for side in mask.size)
    white = np.asarray(mask.convert("L").resize((width, height), Image.Resampling.BOX), dtype=np.float64).ravel()
    owners = np.asarray(layout.owner_map(TokenGrid(height, width), canvas))
    total = max(white.sum(), 1e-9)
    return [float(white[owners == number].sum() / total) for number in range(len(layout.subjects))]


def owner_of(of_mask: Sequence[float]) -> int | None:
    """The subject that owns at least half of a mask, by the subjects' shares of it; None where no one does."""
    best = max(range(len(of_mask)), key=of_mask.__getitem__)
    return best if of_mask[best] >= LEAST else None


def bounds(mask: Image.Image) -> Box | None:
    """The box around the white part of a mask, in fractions of it; None where nothing is white."""
    edges = mask.convert("L").point(_is_white).getbbox()
    if edges is None:
        return None
    width, height = mask.size
    return Box(edges[0] / width, edges[1] / height, edges[2] / width, edges[3] / height)


def request_of(request: Request, number: int, box: Box, own_prompt: bool, own_negative: bool) -> Request:
    """The request of an inpainting of one subject, with its pictures, words and weight.

    number: the subject's index; box: what is repainted, in fractions of the inpainting's init image; own_prompt,
    own_negative: the inpainting has another prompt than the image, which then replaces the subject's.
    """
    assert request.layout is not None
    subject = replace(request.layout.subjects[number], box=box, silhouette=None)  # the inpainting has its own mask
    if own_prompt:
        subject = replace(subject, prompt="")
    if own_negative:
        subject = replace(subject, avoid="")
    return replace(
        request,
        layout=Layout((subject,)),
        pictures=request.pictures[number : number + 1],
        cards=request.cards[number : number + 1],
        # An inpainting begins where the subjects stand: it has the later strength.
        scale=request.scale * request.strength.at(1.0),
        fade=1.0,
        elsewhere="",
        second_look=OFF,  # names other subjects, too
        refine=0.0,
    )


# -- refining each subject ---------------------------------------------------------------------------------------------


def visible_masks(layout: Layout, size: tuple[int, int], canvas: Viewport = WHOLE) -> dict[int, Image.Image]:
    """A mask of each subject's visible region, by its index, back to front; none for backgrounds and hidden subjects.

    size: of an image that shows the part `canvas` of the layout's image.
    """
    seen, masks = layout.seen_in(canvas), {}
    for number, subject in seen.items():
        mask = Image.new("L", size)
        for other, placed in seen.items():
            if other >= number:
                _fill(mask, placed, 255 * (other == number))
        if subject.role != BACKGROUND and subject.weight and bounds(mask) is not None:
            masks[number] = mask
    return masks


def _fill(mask: Image.Image, subject: Subject, value: int) -> None:
    """Fill the subject's box or silhouette."""
    left, top, right, bottom = _pixels(subject.box, mask.size)
    place = left, top, right + 1, bottom + 1
    if subject.silhouette is None:
        mask.paste(value, place)
        return
    white = subject.silhouette.on(TokenGrid(mask.height, mask.width))
    mask.paste(value, place, Image.frombytes("L", mask.size, white).point(_is_white).crop(place))


def _is_white(value: int) -> int:
    return 255 * (value >= _WHITE)


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The first and last pixels that a box covers."""
    width, height = size
    left, top = round(box.x0 * width), round(box.y0 * height)
    return left, top, max(left, round(box.x1 * width) - 1), max(top, round(box.y1 * height) - 1)


def inpainting_size(request: Request, mask: Image.Image) -> tuple[int, int]:
    """Width and height of the inpainting of a mask: as many pixels as the request says, else as the image has."""
    side = int(request.refine_size)
    return size_of(mask, int(request.refine_padding), side * side or mask.width * mask.height)


def size_of(mask: Image.Image, padding: int, pixels: int) -> tuple[int, int]:
    """Width and height of the inpainting of a mask: about `pixels` in all, as long as its region with padding is.

    Sides are multiples of 64, and one is at most twice the other.
    """
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    width = min(mask.size[0], right + padding) - max(0, left - padding)
    height = min(mask.size[1], bottom + padding) - max(0, top - padding)
    aspect = min(_LONGEST, max(1 / _LONGEST, width / height))
    sides = (pixels * aspect) ** 0.5, (pixels / aspect) ** 0.5
    return max(_MULTIPLE, _rounded(sides[0])), max(_MULTIPLE, _rounded(sides[1]))


def _rounded(side: float) -> int:
    return round(side / _MULTIPLE) * _MULTIPLE

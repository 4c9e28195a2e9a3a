"""Pictures about pictures: boxes with names on what was made, several of these side by side, and where a subject acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from lib_anyms.layout.geometry import Viewport
from lib_anyms.layout.layout import Layout

Font = Callable[[int], Any]  # height in pixels -> a font of PIL
# Of subjects from back to front; told apart with any kind of colour vision.
COLOURS = "#f0a830 #6cbcf0 #35c08e #ee93c4 #f2e55c #8fa8ff #ff9a72 #c0c4cc #a5d86a #cda6f7 #e8c39e #74dada".split()
_DARK, _LIGHT = "#14171c", "#ffffff"
_HEAT = ("#0b1026", "#6a1f7a", "#e0562f", "#ffe9a0")  # nothing, a third, two thirds, most


def with_boxes(picture: Image.Image, layout: Layout, viewport: Viewport, font: Font) -> Image.Image:
    """A copy of `picture`, which shows `viewport` of what the user drew on, with each subject's box and name; topmost
    last.
    """
    drawn = picture.convert("RGB")
    pen, unit = ImageDraw.Draw(drawn), max(1, min(drawn.size) // 256)
    for number, subject in layout.seen_in(viewport).items():
        box, colour = subject.box, COLOURS[number % len(COLOURS)]
        across, down = drawn.width - 1, drawn.height - 1
        corners = (box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)
        pen.rectangle(corners, outline=_DARK, width=3 * unit)
        pen.rectangle(corners, outline=colour, width=2 * unit)
        _label(pen, (corners[0], corners[1]), f"{number + 1} {subject.name}", font(max(10, 12 * unit)), colour)
    return drawn


def side_by_side(columns: Sequence[tuple[str, Image.Image]], font: Font) -> Image.Image:
    """One sheet of (title, picture), left to right."""
    height = max(picture.height for _, picture in columns)
    line = max(14, height // 24)
    gap, head = line // 2, line * 2
    width = sum(picture.width + gap for _, picture in columns) + gap
    sheet = Image.new("RGB", (width, height + head + gap), _LIGHT)
    pen, left = ImageDraw.Draw(sheet), gap
    for title, picture in columns:
        words = font(line)
        box = pen.textbbox((0, 0), title, font=words)
        pen.text((left + (picture.width - box[2]) / 2, (head - box[3]) / 2), title, fill=_DARK, font=words)
        sheet.paste(picture, (left, head))
        left += picture.width + gap
    return sheet


def heat(picture: Image.Image, shares: Sequence[Sequence[float]]) -> Image.Image:
    """`picture`, dimmed, under colours for `shares`: rows of numbers, 0 (nothing) to the highest of them."""
    most = max((value for row in shares for value in row), default=0.0) or 1.0
    grey = Image.new("L", (len(shares[0]), len(shares)))
    grey.putdata([round(255 * value / most) for row in shares for value in row])
    grey = grey.resize(picture.size, Image.Resampling.BILINEAR)
    return Image.blend(picture.convert("L").convert("RGB"), _coloured(grey), 0.65)


def _coloured(grey: Image.Image) -> Image.Image:
    """Dark through red to yellow."""
    low, third, two, high = _HEAT
    cold = ImageOps.colorize(grey, low, two, third, midpoint=85, whitepoint=170)
    hot = ImageOps.colorize(grey, two, high, blackpoint=170)
    return Image.composite(hot, cold, grey.point(lambda value: 255 if value >= 170 else 0))


def _label(pen: ImageDraw.ImageDraw, corner: tuple[float, float], words: str, font: Any, colour: str) -> None:
    place = (corner[0] + 2, corner[1] + 2)
    left, top, right, bottom = pen.textbbox(place, words, font=font)
    pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=_DARK)
    pen.text(place, words, fill=colour, font=font)

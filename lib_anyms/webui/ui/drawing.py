"""Drawings on images: boxes with names, images side by side, and heat maps of where a subject acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from lib_anyms.layout.geometry import Viewport
from lib_anyms.layout.layout import Layout

Font = Callable[[int], Any]  # height in pixels -> a font of PIL
# Of subjects from back to front; distinct with any kind of colour vision.
COLOURS = "#f0a830 #6cbcf0 #35c08e #ee93c4 #f2e55c #8fa8ff #ff9a72 #c0c4cc #a5d86a #cda6f7 #e8c39e #74dada".split()
_DARK, _LIGHT = "#14171c", "#ffffff"
_HEAT = ("#0b1026", "#6a1f7a", "#e0562f", "#ffe9a0")  # zero, a third, two thirds, maximum


def with_boxes(image: Image.Image, layout: Layout, viewport: Viewport, font: Font) -> Image.Image:
    """A copy of `image` with the box and name of each subject, topmost last. `image` shows `viewport` of the canvas."""
    drawn = image.convert("RGB")
    pen, unit = ImageDraw.Draw(drawn), max(1, min(drawn.size) // 256)
    for number, subject in layout.seen_in(viewport).items():
        box, colour = subject.box, COLOURS[number % len(COLOURS)]
        right, bottom = drawn.width - 1, drawn.height - 1
        corners = (box.x0 * right, box.y0 * bottom, box.x1 * right, box.y1 * bottom)
        pen.rectangle(corners, outline=_DARK, width=3 * unit)
        pen.rectangle(corners, outline=colour, width=2 * unit)
        _label(pen, (corners[0], corners[1]), f"{number + 1} {subject.name}", font(max(10, 12 * unit)), colour)
    return drawn


def side_by_side(columns: Sequence[tuple[str, Image.Image]], font: Font) -> Image.Image:
    """One sheet of (title, image), left to right."""
    height = max(image.height for _, image in columns)
    line = max(14, height // 24)
    gap, head = line // 2, line * 2
    width = sum(image.width + gap for _, image in columns) + gap
    sheet = Image.new("RGB", (width, height + head + gap), _LIGHT)
    pen, left = ImageDraw.Draw(sheet), gap
    for title, image in columns:
        title_font = font(line)
        _, _, title_width, title_height = pen.textbbox((0, 0), title, font=title_font)
        place = (left + (image.width - title_width) / 2, (head - title_height) / 2)
        pen.text(place, title, fill=_DARK, font=title_font)
        sheet.paste(image, (left, head))
        left += image.width + gap
    return sheet


def heat(image: Image.Image, shares: Sequence[Sequence[float]]) -> Image.Image:
    """`image` in grey under the colours of `shares`: rows of numbers, scaled from 0 to their maximum."""
    values = [share for row in shares for share in row]
    most = max(values, default=0.0) or 1.0
    grey = Image.new("L", (len(shares[0]), len(shares)))
    grey.putdata([round(255 * share / most) for share in values])
    grey = grey.resize(image.size, Image.Resampling.BILINEAR)
    return Image.blend(image.convert("L").convert("RGB"), _coloured(grey), 0.65)


def _coloured(grey: Image.Image) -> Image.Image:
    """Grey values as colours: dark, red, yellow."""
    low, third, two, high = _HEAT
    cold = ImageOps.colorize(grey, low, two, third, midpoint=85, whitepoint=170)
    hot = ImageOps.colorize(grey, two, high, blackpoint=170)
    return Image.composite(hot, cold, grey.point(lambda value: 255 if value >= 170 else 0))


def _label(pen: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, font: Any, colour: str) -> None:
    place = (corner[0] + 2, corner[1] + 2)
    left, top, right, bottom = pen.textbbox(place, text, font=font)
    pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=_DARK)
    pen.text(place, text, fill=colour, font=font)

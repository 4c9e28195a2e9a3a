"""Draw a layout on a picture, and the sheet with references, boxes and picture side by side."""

from __future__ import annotations

import math

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from lib_anyms.job.request import Pictures
from lib_anyms.layout.layout import Layout

# Okabe and Ito's colours: distinct for every kind of colour vision
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")
TITLES = ("reference pictures", "boxes", "picture")
_PANEL, _GAP, _TITLE = 512, 16, 36  # pixels of a sheet: a panel's height, between panels, above them
_PAPER, _INK, _PALE = "white", "#222222", 0.75  # share of white in a filled box
_SMALLEST = 10  # a font's height in pixels

Corners = tuple[float, float, float, float]


def draw_layout(picture: Image.Image, layout: Layout, filled: bool = False) -> Image.Image:
    """A copy of `picture` with all boxes drawn back to front; `filled` boxes hide the boxes below them."""
    drawn = picture.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    width, height = drawn.size
    for number, subject in enumerate(layout.subjects):
        box = subject.box
        left, top = box.x0 * width, box.y0 * height
        corners = (left, top, max(left, box.x1 * width - 1), max(top, box.y1 * height - 1))  # at least one pixel
        _frame(draw, corners, number, subject.name, min(width, height), filled)
    return drawn


def draw_sheet(references: Pictures, layout: Layout, picture: Image.Image) -> Image.Image:
    """References | boxes | picture, side by side; the picture is resized to the sheet's height."""
    size = (max(1, round(picture.width * _PANEL / picture.height)), _PANEL)
    boxes = draw_layout(Image.new("RGB", size, "#f4f4f4"), layout, filled=True)
    panels = (_references(references, layout), boxes, picture.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    width = sum(panel.width for panel in panels) + _GAP * (len(panels) + 1)
    sheet = Image.new("RGB", (width, _PANEL + _TITLE + _GAP), _PAPER)
    draw, left = ImageDraw.Draw(sheet), _GAP
    for title, panel in zip(TITLES, panels):
        draw.text((left, _GAP // 2), title, fill=_INK, font=_font(20))
        sheet.paste(panel, (left, _TITLE))
        left += panel.width + _GAP
    return sheet


def _references(references: Pictures, layout: Layout) -> Image.Image:
    """All references in a square of cells, each with the frame and name of its subject's box."""
    numbered: list[tuple[int, Image.Image]] = []
    for number, pictures in enumerate(references):
        numbered.extend((number, picture) for picture in pictures)
    columns = max(1, math.ceil(math.sqrt(len(numbered))))
    cell = (_PANEL - _GAP * (columns - 1)) // columns
    panel = Image.new("RGB", (_PANEL, _PANEL), _PAPER)
    draw = ImageDraw.Draw(panel)
    for index, (number, picture) in enumerate(numbered):
        row, column = divmod(index, columns)
        left, top = column * (cell + _GAP), row * (cell + _GAP)
        padded = ImageOps.pad(picture.convert("RGB"), (cell, cell), Image.Resampling.LANCZOS, color=_PAPER)
        panel.paste(padded, (left, top))
        _frame(draw, (left, top, left + cell - 1, top + cell - 1), number, layout.subjects[number].name, _PANEL)
    return panel


def _frame(
    draw: ImageDraw.ImageDraw, corners: Corners, number: int, name: str, side: int, filled: bool = False
) -> None:
    """A rectangle with number and name in its corner; line and font grow with the picture's `side` in pixels."""
    colour, line, font = COLOURS[number % len(COLOURS)], max(2, side // 200), _font(side // 28)
    draw.rectangle(corners, outline=colour, width=line, fill=_pale(colour) if filled else None)
    corner, text = (corners[0] + 2 * line, corners[1] + 2 * line), f"{number + 1} {name}"
    extent = draw.textbbox(corner, text, font=font)
    draw.rectangle((extent[0] - line, extent[1] - line, extent[2] + line, extent[3] + line), fill=colour)
    draw.text(corner, text, fill="black", font=font)


def _pale(colour: str) -> tuple[int, ...]:
    return tuple(round(part + (255 - part) * _PALE) for part in ImageColor.getrgb(colour)[:3])


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(max(_SMALLEST, size))
    except TypeError:  # before Pillow 10.1 there is one size
        return ImageFont.load_default()

"""Contact sheets: for each layout a picture whose rows are scenes and whose columns are modes, the boxes drawn thin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lib_anyms.geometry import Box
from lib_anyms.standalone.drawing import COLOURS
from lib_anyms.standalone.evaluation.cells import Cell
from lib_anyms.standalone.evaluation.scenes import ask

SIDE, _GAP, _HEAD = 192, 4, 16
PathOf = Callable[[Cell, int], Path]  # of a cell's picture of a scene


def write_sheets(folder: Path, cells: Sequence[Cell], path_of: PathOf, scenes: int, seed: int) -> list[Path]:
    """A sheet for each layout and number of subjects of which there is a picture -> the files."""
    written = []
    for layout, subjects in dict.fromkeys(cell.place for cell in cells):
        columns = [cell for cell in cells if cell.place == (layout, subjects) and path_of(cell, 0).is_file()]
        if columns:
            written.append(folder / f"sheet-{layout}-{subjects}.png")
            _sheet(columns, path_of, min(scenes, max(cell.scenes for cell in columns)), seed).save(written[-1])
    return written


def _sheet(columns: Sequence[Cell], path_of: PathOf, scenes: int, seed: int) -> Image.Image:
    step = SIDE + _GAP
    sheet = Image.new("RGB", (len(columns) * step, _HEAD + scenes * step), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for column, cell in enumerate(columns):
        name = " ".join((cell.mode, *([cell.adapter] if cell.adapter else [])))
        draw.text((column * step + 2, 2), name, fill="black", font=font)
        for number in range(scenes):
            path = path_of(cell, number)
            if path.is_file():
                shown = _boxed(path, ask(cell.layout, cell.subjects, number, seed).boxes)
                sheet.paste(shown, (column * step, _HEAD + number * step))
    return sheet


def _boxed(path: Path, boxes: Sequence[Box]) -> Image.Image:
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    for number, box in enumerate(boxes):
        corners = (box.x0 * SIDE, box.y0 * SIDE, box.x1 * SIDE - 1, box.y1 * SIDE - 1)
        draw.rectangle(corners, outline=COLOURS[number % len(COLOURS)])
    return picture

"""The training's log as a picture: each stage's loss over the pictures it has seen. Pillow only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _HEIGHT, _EDGE, _COLUMNS = 320, 180, 28, 3
_INK, _LINE, _FRAME = "#222222", "#0072b2", "#bbbbbb"
Point = tuple[float, float]


def read_log(path: Path) -> dict[str, list[Point]]:
    """For each stage its (images, loss), in order; a stage begun anew starts anew."""
    curves: dict[str, list[Point]] = {}
    if not path.is_file():
        return curves
    for line in path.read_text(encoding="utf-8").splitlines():
        facts = json.loads(line)
        if "loss" not in facts:
            continue
        points = curves.setdefault(facts["stage"], [])
        if points and facts["images"] < points[-1][0]:
            points.clear()
        points.append((facts["images"], facts["loss"]))
    return curves


def draw_curves(log: Path, picture: Path) -> None:
    """Write the picture of all stages' losses; nothing for an empty log."""
    curves = read_log(log)
    if not curves:
        return
    rows = -(-len(curves) // _COLUMNS)
    whole = Image.new("RGB", (_COLUMNS * _WIDTH, rows * _HEIGHT), "white")
    for place, (stage, points) in enumerate(curves.items()):
        left, top = place % _COLUMNS * _WIDTH, place // _COLUMNS * _HEIGHT
        _plot(ImageDraw.Draw(whole), (left, top), stage, points)
    whole.save(picture)


def _plot(draw: ImageDraw.ImageDraw, corner: tuple[int, int], stage: str, points: Sequence[Point]) -> None:
    left, top = corner[0] + _EDGE, corner[1] + _EDGE
    right, bottom = corner[0] + _WIDTH - _EDGE // 2, corner[1] + _HEIGHT - _EDGE
    most = max(images for images, _ in points) or 1
    low, high = min(loss for _, loss in points), max(loss for _, loss in points)
    span = high - low or 1.0
    font = ImageFont.load_default()
    draw.rectangle((left, top, right, bottom), outline=_FRAME)
    draw.text((left, corner[1] + 6), f"{stage}: loss {points[-1][1]:.4g} after {points[-1][0]:,.0f}", fill=_INK, font=font)
    draw.text((left, bottom + 4), f"{low:.3g} .. {high:.3g}", fill=_INK, font=font)
    line = [(left + (right - left) * x / most, bottom - (bottom - top) * (y - low) / span) for x, y in points]
    draw.line([*line, *line[-1:]], fill=_LINE, width=2)

"""The training's log as a picture: each stage's loss over the pictures it has seen, of all rounds that the log tells of."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from lib_anyms.standalone.drawing import COLOURS

_COLUMNS = 3
Point = tuple[float, float]


def read_log(path: Path) -> dict[str, list[Point]]:
    """For each stage its (images, loss), in order; what a stage lost before it went on, or began anew, is left out."""
    curves: dict[str, list[Point]] = {}
    if not path.is_file():
        return curves
    for line in path.read_text(encoding="utf-8").splitlines():
        facts = json.loads(line)
        if "loss" not in facts:
            continue
        title = f"{facts['stage']}, round {facts['round']}" if "round" in facts else facts["stage"]
        points = curves.setdefault(title, [])
        while points and points[-1][0] >= facts["images"]:
            points.pop()
        points.append((facts["images"], facts["loss"]))
    return curves


def first_round(log: Path, current: int) -> int:
    """The round whose losses the log begins with; `current` is the one that its lines do not number."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return min((int(json.loads(line).get("round", current)) for line in lines), default=current)


def draw_curves(log: Path, picture: Path) -> None:
    """Write the picture of all stages' losses; nothing for an empty log."""
    curves = read_log(log)
    if not curves:
        return
    rows = -(-len(curves) // _COLUMNS)
    figure = Figure(figsize=(3.4 * _COLUMNS, 2.2 * rows), layout="constrained")
    all_axes = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes, (stage, points) in zip(all_axes, curves.items()):
        images, losses = zip(*points)
        axes.plot(images, losses, linewidth=1, color=COLOURS[4])
        axes.set_title(f"{stage}: loss {losses[-1]:.4g} after {images[-1]:,.0f}", fontsize=8)
        axes.tick_params(labelsize=7)
    for axes in all_axes[len(curves) :]:
        axes.set_axis_off()
    figure.savefig(picture)

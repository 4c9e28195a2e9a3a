"""The training's log as a picture: each stage's loss over the pictures it saw, and what the probes of the UNet stage
found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lib_anyms.standalone.drawing import COLOURS

_COLUMNS = 3
_PROBED = {  # a plot each: what a probe calls it, and how the legend does
    "right one preferred, one figure at scene size": {
        "word32": "word's shape",
        "ref_shape32": "reference's shape",
        "ref_body32": "body",
        "ref_second32": "second",
        "ref_pattern32": "pattern",
    },
    "right in samples, one figure at scene size": {
        "got_shape32": "shape",
        "got_body32": "body",
        "got_second32": "second",
        "got_pattern32": "pattern",
    },
}
Lines = dict[str, list[tuple[float, float]]]  # name -> (pictures, value)


def read_log(path: Path) -> tuple[Lines, Lines]:
    """(loss of each stage, each figure that the UNet stage's probes found); what was lost before a resumed step is left
    out.
    """
    losses: Lines = {}
    probes: Lines = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        facts: dict[str, Any] = json.loads(line)
        if "loss" in facts:
            _append(losses.setdefault(facts["stage"], []), facts["pictures"], facts["loss"])
        if facts["stage"] == "unet":
            for name, value in facts.get("probe", {}).items():
                _append(probes.setdefault(name, []), facts["pictures"], value)
    return losses, probes


def _append(points: list[tuple[float, float]], pictures: float, value: float) -> None:
    while points and points[-1][0] >= pictures:
        points.pop()
    points.append((pictures, value))


def draw_curves(log: Path, picture: Path) -> None:
    """Write the picture; nothing for an empty log."""
    losses, probes = read_log(log)
    if not losses:
        return
    plots = [(f"{stage}: loss", {"": points}) for stage, points in losses.items()]
    for title, names in _PROBED.items():
        lines = {legend: probes[name] for name, legend in names.items() if name in probes}
        if lines:
            plots.append((title, lines))
    height = -(-len(plots) // _COLUMNS)
    figure = Figure(figsize=(3.6 * _COLUMNS, 2.4 * height), layout="constrained")
    all_axes = list(figure.subplots(height, _COLUMNS, squeeze=False).flat)
    for axes, (title, lines) in zip(all_axes, plots):
        for colour, (legend, points) in zip(COLOURS[4:] + COLOURS, lines.items()):
            pictures, values = zip(*points)
            axes.plot(pictures, values, linewidth=1, color=colour, label=legend, marker="." if legend else "")
        if len(lines) > 1:
            axes.set_ylim(0, 1.02)
            axes.legend(fontsize=6)
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("pictures", fontsize=7)
        axes.tick_params(labelsize=7)
    for axes in all_axes[len(plots) :]:
        axes.set_axis_off()
    figure.savefig(picture)

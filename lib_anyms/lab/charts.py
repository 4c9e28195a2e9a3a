"""Charts: a training's losses and probes, and an evaluation's results by layout and by number of subjects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib_anyms.lab.evaluation.suites import BASE, MODES
from lib_anyms.lab.world.identity import ATTRIBUTES
from lib_anyms.standalone.drawing import COLOURS

if TYPE_CHECKING:
    from lib_anyms.lab.evaluation.results import Result

_COLUMNS = 3
_PREFERRED = {"word32": "word's shape", **{f"ref_{name}32": f"reference's {name}" for name in ATTRIBUTES}}
_PROBES = {  # title -> probe's name -> legend
    "true one preferred, one figure at scene size": _PREFERRED,
    "right in samples, one figure at scene size": {f"got_{name}32": name for name in ATTRIBUTES},
}
_METRICS = {"identity": "identity (of 20)", "miou": "mIoU with the boxes"}
_COLOURS = ("#bbbbbb", *COLOURS)
_INK = {mode: _COLOURS[number % len(_COLOURS)] for number, mode in enumerate(MODES)}  # more modes than colours
Lines = dict[str, list[tuple[float, float]]]  # name -> (images, value)


def read_log(path: Path) -> tuple[Lines, Lines]:
    """(loss of each stage, probes of the UNet stage). Points that a resumed training repeats are replaced."""
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


def _append(points: list[tuple[float, float]], images: float, value: float) -> None:
    while points and points[-1][0] >= images:
        points.pop()
    points.append((images, value))


def draw_curves(log: Path, path: Path) -> None:
    """Write the plots to `path`; nothing for an empty log."""
    losses, probes = read_log(log)
    plots = [(f"{stage}: loss", {"": points}) for stage, points in losses.items()]
    for title, legends in _PROBES.items():
        plots.append((title, {legend: probes[name] for name, legend in legends.items() if name in probes}))
    plots = [(title, lines) for title, lines in plots if lines]
    if not plots:
        return
    height = -(-len(plots) // _COLUMNS)
    figure = Figure(figsize=(3.6 * _COLUMNS, 2.4 * height), layout="constrained")
    all_axes = list(figure.subplots(height, _COLUMNS, squeeze=False).flat)
    for axes in all_axes[len(plots) :]:
        axes.set_axis_off()
    for axes, (title, lines) in zip(all_axes, plots):
        _plot(axes, title, lines)
    figure.savefig(path)


def _plot(axes: Any, title: str, lines: Lines) -> None:
    for colour, (legend, points) in zip(COLOURS[4:] + COLOURS, lines.items()):
        axes.plot(*zip(*points), linewidth=1, color=colour, label=legend, marker="." if legend else "")
    if "" not in lines:
        axes.set_ylim(0, 1.02)
        axes.legend(fontsize=6)
    axes.set_title(title, fontsize=8)
    axes.set_xlabel("pictures", fontsize=7)
    axes.tick_params(labelsize=7)


def write_plots(folder: Path, results: Sequence[Result]) -> list[Path]:
    """by-layout.png; and by-subjects.png if the disjoint layout has several numbers of subjects -> the files."""
    plotted = [one for one in results if one.mode in MODES and one.metric in _METRICS and one.value is not None]
    plotted = [one for one in plotted if one.adapter in (None, BASE)]
    disjoint = [one for one in plotted if one.layout == "disjoint"]
    written = []
    if plotted:
        written.append(folder / "by-layout.png")
        _by_layout(plotted).savefig(written[-1])
    if len({one.subjects for one in disjoint}) > 1:
        written.append(folder / "by-subjects.png")
        _by_subjects(disjoint).savefig(written[-1])
    return written


def _by_layout(results: Sequence[Result]) -> Figure:
    """Bars with intervals. The disjoint layout appears with 3 subjects only, if it has them."""
    keys = list(dict.fromkeys((one.layout, one.subjects) for one in results))
    keys = [key for key in keys if key[0] != "disjoint" or key[1] == 3] or keys
    modes = [mode for mode in MODES if any(one.mode == mode for one in results)]
    width = 0.85 / len(modes)
    figure = Figure(figsize=(max(6.0, 1.6 * len(keys) + 2), 7.0), layout="constrained")
    for axes, metric in zip(figure.subplots(len(_METRICS), 1, sharex=True), _METRICS):
        for number, mode in enumerate(modes):
            bars = [one for one in results if (one.mode, one.metric) == (mode, metric)]
            bars = [one for one in bars if (one.layout, one.subjects) in keys]
            shift = (number - (len(modes) - 1) / 2) * width
            middles = [keys.index((one.layout, one.subjects)) + shift for one in bars]
            heights = [one.value or 0.0 for one in bars]
            axes.bar(middles, heights, width, yerr=_errors(bars), color=_INK[mode], label=mode, ecolor="#444444")
        axes.set_xticks(range(len(keys)), [f"{layout}\nS = {subjects}" for layout, subjects in keys], fontsize=8)
        _finish(axes, metric)
    figure.axes[0].legend(ncols=4, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _by_subjects(results: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(_METRICS)), _METRICS):
        for mode in MODES:
            points = [one for one in results if (one.mode, one.metric) == (mode, metric)]
            points.sort(key=lambda one: one.subjects)
            numbers, values = [one.subjects for one in points], [one.value or 0.0 for one in points]
            if len(points) > 1:
                axes.errorbar(numbers, values, _errors(points), color=_INK[mode], marker=".", label=mode)
        axes.set_xlabel("subjects, disjoint boxes")
        _finish(axes, metric)
    figure.axes[0].legend(fontsize=7)
    return figure


def _finish(axes: Axes, metric: str) -> None:
    axes.set(ylabel=_METRICS[metric], ylim=(0, 1.02))


def _errors(results: Sequence[Result]) -> list[list[float]]:
    """The distances from the values down and up to the edges of their intervals."""
    down = [max(0.0, (one.value or 0.0) - (one.low or 0.0)) for one in results]
    return [down, [max(0.0, (one.high or 0.0) - (one.value or 0.0)) for one in results]]

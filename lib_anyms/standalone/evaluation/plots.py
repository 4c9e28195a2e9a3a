"""The rows as pictures: each mode's identity and mIoU by layout, and ours by the number of subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from lib_anyms.standalone.drawing import COLOURS
from lib_anyms.standalone.evaluation.cells import BASE, MODES, REAL
from lib_anyms.standalone.evaluation.results import Row

SHOWN = {"identity": "identity (of 20)", "miou": "mIoU with the boxes"}
_INK = dict(zip(MODES, ("#bbbbbb", *COLOURS)))


def write_plots(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """by-layout.png, and by-subjects.png where the disjoint layout has several numbers of subjects -> the files."""
    measured = [row for row in rows if row.mode in MODES and row.value is not None and row.adapter in (None, BASE)]
    written = []
    if any(row.metric in SHOWN for row in measured):
        written.append(folder / "by-layout.png")
        _by_layout(measured).savefig(written[-1])
    if len({row.subjects for row in measured if row.layout == "disjoint" and row.metric in SHOWN}) > 1:
        written.append(folder / "by-subjects.png")
        _by_subjects(measured).savefig(written[-1])
    return written


def _by_layout(rows: Sequence[Row]) -> Figure:
    """Bars with intervals; 3 subjects, or what the layout has."""
    places = [place for place in dict.fromkeys((r.layout, r.subjects) for r in rows) if place[0] != "disjoint" or place[1] == 3]
    places = places or [(rows[0].layout, rows[0].subjects)]
    modes = [mode for mode in MODES if any(row.mode == mode and (row.layout, row.subjects) in places for row in rows)]
    figure = Figure(figsize=(max(6.0, 1.6 * len(places) + 2), 7.0), layout="constrained")
    width = 0.85 / len(modes)
    for axes, (metric, title) in zip(figure.subplots(len(SHOWN), 1, sharex=True), SHOWN.items()):
        for number, mode in enumerate(modes):
            found = [r for r in rows if r.mode == mode and r.metric == metric and (r.layout, r.subjects) in places]
            middles = [places.index((r.layout, r.subjects)) + (number - (len(modes) - 1) / 2) * width for r in found]
            heights = [row.value or 0.0 for row in found]
            axes.bar(middles, heights, width, yerr=_errors(found), color=_INK[mode], label=mode, ecolor="#444444")
        axes.set(ylabel=title, ylim=(0, 1.02))
        axes.set_xticks(range(len(places)), [f"{layout}\nS = {subjects}" for layout, subjects in places], fontsize=8)
    figure.axes[0].legend(ncols=4, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _by_subjects(rows: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items()):
        for mode in MODES:
            of_mode = (row for row in rows if (row.mode, row.layout, row.metric) == (mode, "disjoint", metric))
            found = sorted(of_mode, key=lambda row: row.subjects)
            if len(found) > 1:
                numbers, values = [row.subjects for row in found], [row.value or 0.0 for row in found]
                style = "--" if mode == REAL else "-"
                axes.errorbar(numbers, values, _errors(found), color=_INK[mode], ls=style, marker=".", label=mode)
        axes.set(xlabel="subjects, disjoint boxes", ylabel=title, ylim=(0, 1.02))
    figure.axes[0].legend(fontsize=7)
    return figure


def _errors(rows: Sequence[Row]) -> list[list[float]]:
    """How far the intervals reach down and up."""
    return [
        [max(0.0, (r.value or 0.0) - (r.low or 0.0)) for r in rows],
        [max(0.0, (r.high or 0.0) - (r.value or 0.0)) for r in rows],
    ]

"""A measurement as a table, JSON and a plot against the number of subjects."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from lib_anyms import __version__
from lib_anyms.lab.bench.timing import Row


def table(rows: Iterable[Row]) -> list[str]:
    """Lines for the console and for docs."""
    lines = ["| case | subjects | tokens | ratio | 95 % | ms | MiB | against |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        sizes = f"{row.subjects or '-'} | {row.tokens or '-'}"
        spread = f"{row.low:.3f} to {row.high:.3f}"
        lines.append(
            f"| {row.case} | {sizes} | {row.ratio:.3f} | {spread} | {row.ms:.3f} | {row.mib:.2f} | {row.against} |"
        )
    return lines


def machine(device: str) -> dict[str, str | int]:
    """What the numbers hold for."""
    named = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    return {"device": named, "threads": torch.get_num_threads(), "torch": torch.__version__, "anyms": __version__}


def write_json(path: Path, suite: str, device: str, seconds: float, rows: Sequence[Row]) -> None:
    """{suite, machine, seconds, rows}."""
    told = {
        "suite": suite,
        "machine": machine(device),
        "seconds": round(seconds, 1),
        "rows": [row.as_json() for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


_Panels = dict[str, dict[tuple[str, int], list[Row]]]  # by what is measured, then by way and tokens


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Ratio against subjects: a panel for each thing measured, a colour for each way, a dashed line where tokens are
    fewest.

    The last panel is what each keeps in memory.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels: _Panels = {}
    for row in rows:
        place, _, way = row.case.rpartition(", ")
        if row.subjects and place:
            panels.setdefault(place, {}).setdefault((way, row.tokens), []).append(row)
    height = len(panels) // 2 + 1
    figure, axes = pyplot.subplots(height, 2, figsize=(13, 4.5 * height), squeeze=False)
    for axis, (place, lines) in zip(axes.flat, panels.items()):
        ways, fewest = list(dict.fromkeys(way for way, _ in lines)), min(tokens for _, tokens in lines)
        for (way, tokens), points in lines.items():
            points = sorted(points, key=lambda row: row.subjects)
            errors = [[row.ratio - row.low for row in points], [row.high - row.ratio for row in points]]
            look = {"color": f"C{ways.index(way)}", "linestyle": "--" if tokens == fewest else "-", "capsize": 2}
            label = f"{way}, {tokens} tokens"
            axis.errorbar([row.subjects for row in points], [row.ratio for row in points], errors, label=label, **look)
        axis.set(title=f"{place} (1: {points[0].against})", xlabel="subjects", ylabel="time, ratio", yscale="log")
        axis.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    _plot_memory(axes.flat[len(panels)], panels)
    for axis in axes.flat[len(panels) + 1 :]:
        axis.remove()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def _plot_memory(axis: Any, panels: _Panels) -> None:
    for place, lines in panels.items():
        for (way, tokens), points in lines.items():
            kept = sorted((row.subjects, row.mib) for row in points if row.mib)
            if kept:
                axis.plot(*zip(*kept), marker="o", label=f"{place}, {way}, {tokens} tokens")
    axis.set(title="beyond the plain call", xlabel="subjects", ylabel="MiB")
    if axis.lines:
        axis.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))

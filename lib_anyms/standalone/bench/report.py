"""A measurement as a table, JSON and a plot against the number of subjects."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from lib_anyms import __version__
from lib_anyms.standalone.bench.timing import Row


def table(rows: Iterable[Row]) -> list[str]:
    """Lines for the console and for docs."""
    lines = ["| case | subjects | tokens | ratio | 95 % | ms | MiB | against |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        sizes = f"{row.subjects or '-'} | {row.tokens or '-'}"
        spread = f"{row.low:.3f} to {row.high:.3f}"
        lines.append(f"| {row.case} | {sizes} | {row.ratio:.3f} | {spread} | {row.ms:.3f} | {row.mib:.2f} | {row.against} |")
    return lines


def machine(device: str) -> dict[str, str | int]:
    """What the numbers hold for."""
    named = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    return {"device": named, "threads": torch.get_num_threads(), "torch": torch.__version__, "anyms": __version__}


def write_json(path: Path, suite: str, device: str, seconds: float, rows: Sequence[Row]) -> None:
    """{suite, machine, seconds, rows}."""
    told = {"suite": suite, "machine": machine(device), "seconds": round(seconds, 1), "rows": [row.as_json() for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def plot(path: Path, rows: Sequence[Row]) -> None:
    """Ratio against subjects, a panel for each thing measured, a line for each way and number of tokens."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        place, _, way = row.case.rpartition(", ")
        if row.subjects and place:
            panels.setdefault(place, {}).setdefault(f"{way}, {row.tokens} tokens", []).append(row)
    figure, axes = pyplot.subplots(1, max(1, len(panels)), figsize=(5 * max(1, len(panels)), 4), squeeze=False)
    for axis, (place, lines) in zip(axes[0], panels.items()):
        for label, points in lines.items():
            points = sorted(points, key=lambda row: row.subjects)
            errors = [[row.ratio - row.low for row in points], [row.high - row.ratio for row in points]]
            axis.errorbar([row.subjects for row in points], [row.ratio for row in points], errors, label=label, capsize=2)
        axis.set(title=f"{place}\n(1: {points[0].against})", xlabel="subjects", ylabel="time, ratio", yscale="log")
        axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)

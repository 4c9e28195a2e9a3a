"""Results as a table, as JSON and as a plot against the number of subjects."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from lib_anyms import __version__
from lib_anyms.lab.bench.timing import Result


def table(results: Iterable[Result]) -> list[str]:
    """Lines of Markdown, for the console and for docs."""
    lines = ["| case | subjects | tokens | ratio | 95 % | ms | MiB | against |", "|---|---|---|---|---|---|---|---|"]
    for result in results:
        sizes = f"{result.subjects or '-'} | {result.tokens or '-'}"
        spread = f"{result.low:.3f} to {result.high:.3f}"
        numbers = f"{result.ratio:.3f} | {spread} | {result.ms:.3f} | {result.mib:.2f}"
        lines.append(f"| {result.case} | {sizes} | {numbers} | {result.against} |")
    return lines


def machine(device: str) -> dict[str, str | int]:
    """The machine behind the numbers."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor() or platform.machine()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "anyms": __version__}


def write_json(path: Path, suite: str, device: str, seconds: float, results: Sequence[Result]) -> None:
    """{suite, machine, seconds, rows}."""
    content = {
        "suite": suite,
        "machine": machine(device),
        "seconds": round(seconds, 1),
        "rows": [result.as_json() for result in results],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


_Panels = dict[str, dict[tuple[str, int], list[Result]]]  # what is measured -> (way, tokens) -> results


def plot(path: Path, results: Sequence[Result]) -> None:
    """Ratio against subjects: a panel for each thing measured, a colour for each way; fewest tokens are dashed.

    The last panel is the memory of each.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels: _Panels = {}
    for result in results:
        place, _, way = result.case.rpartition(", ")
        if result.subjects and place:
            panels.setdefault(place, {}).setdefault((way, result.tokens), []).append(result)
    height = len(panels) // 2 + 1
    figure, axes = pyplot.subplots(height, 2, figsize=(13, 4.5 * height), squeeze=False)
    for axis, (place, lines) in zip(axes.flat, panels.items()):
        ways, fewest = list(dict.fromkeys(way for way, _ in lines)), min(tokens for _, tokens in lines)
        for (way, tokens), points in lines.items():
            points = sorted(points, key=lambda result: result.subjects)
            errors = [
                [result.ratio - result.low for result in points],
                [result.high - result.ratio for result in points],
            ]
            look = {"color": f"C{ways.index(way)}", "linestyle": "--" if tokens == fewest else "-", "capsize": 2}
            label = f"{way}, {tokens} tokens"
            numbers, ratios = [result.subjects for result in points], [result.ratio for result in points]
            axis.errorbar(numbers, ratios, errors, label=label, **look)
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
            memory = sorted((result.subjects, result.mib) for result in points if result.mib)
            if memory:
                axis.plot(*zip(*memory), marker="o", label=f"{place}, {way}, {tokens} tokens")
    axis.set(title="beyond the plain call", xlabel="subjects", ylabel="MiB")
    if axis.lines:
        axis.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))

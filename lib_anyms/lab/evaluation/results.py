"""From scores to results: metrics of each cell, paired differences, bars, the printed table, results.json."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lib_anyms import __version__
from lib_anyms.lab.evaluation.scoring import METRICS, Estimate, Metric, Values, difference, estimate, mean
from lib_anyms.lab.evaluation.suites import BASE, DEMO, GLOBALS, OURS, PEER, QUICK, REAL, TEXT, Cell, CellKey
from lib_anyms.standalone import default_scene

BEST_GLOBAL = "best global"  # the form without a layout with the highest mean identity, or CLIP-I
ON_DIFFUSERS = "crop-merge on diffusers"  # on the same scenes as a WebUI's
SUBTRACTED = (TEXT, BEST_GLOBAL, "masked-sum", PEER, REAL)
_DIGITS = 4
_LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")

Scores = dict[int, dict[str, float]]  # scene number -> metric -> value
ScoresOf = Callable[[Cell], Scores]


@dataclass(frozen=True)
class Result:
    """One number. share: of the value of real renderings of the same scenes. reason: why there is no value."""

    mode: str
    layout: str
    subjects: int
    adapter: str | None
    metric: str
    value: float | None
    low: float | None
    high: float | None
    share: float | None
    chance: float | None
    n: int
    reason: str = ""

    @property
    def cell_key(self) -> CellKey:
        """Layout and number of subjects."""
        return self.layout, self.subjects

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Mode, layout, number of subjects and metric."""
        return self.mode, self.layout, self.subjects, self.metric

    def to_json(self) -> dict[str, Any]:
        """Without an empty `reason`."""
        return {name: value for name, value in asdict(self).items() if name != "reason" or value}


def minus(mode: str) -> str:
    """The name of a difference."""
    return f"{OURS} minus {mode}"


def results_of(cells: Sequence[Cell], scores_of: ScoresOf, reasons: Mapping[str, str], seed: int = 0) -> list[Result]:
    """All results, cell by cell; differences follow AnyMS's cells. reasons: of metrics without a value."""
    results: list[Result] = []
    for cell in cells:
        real = next((other for other in cells if other.key == cell.key and other.mode == REAL), None)
        scores, ceiling = scores_of(cell), scores_of(real) if real else {}
        for metric in METRICS.values():
            values = values_of(scores, metric.name, cell.scenes)
            reason = "" if values else reasons.get(metric.name, "")
            if values or reason:  # else the metric does not apply to the layout
                share = _share(metric, values, values_of(ceiling, metric.name, cell.scenes))
                results.append(_result(cell, cell.mode, metric, estimate(values, seed), share, reason))
        if cell.mode == OURS:
            results.extend(_differences(cell, cells, scores_of, seed))
    return results


def values_of(scores: Scores, metric: str, scenes: int) -> Values:
    """A metric's values in the first `scenes` scenes."""
    return {number: values[metric] for number, values in scores.items() if metric in values and number < scenes}


def _share(metric: Metric, values: Values, real: Values) -> float | None:
    both = values.keys() & real.keys()
    if not both:
        return None
    ours, ceiling = ({scene: one[scene] for scene in both} for one in (values, real))
    return metric.share(mean(ours), mean(ceiling))


def _differences(ours: Cell, cells: Sequence[Cell], scores_of: ScoresOf, seed: int) -> Iterator[Result]:
    """Ours minus each mode of SUBTRACTED that has a cell, on the same scenes."""
    same_scenes = [other for other in cells if other.key == ours.key]
    others = {other.mode: other for other in same_scenes if other.adapter in (None, ours.adapter)}
    best = best_global({mode: scores_of(others[mode]) for mode in GLOBALS if mode in others})
    for name in SUBTRACTED:
        other = others.get(best or "") if name == BEST_GLOBAL else others.get(name)
        if other is None:
            continue
        scenes, mine, theirs = min(ours.scenes, other.scenes), scores_of(ours), scores_of(other)
        for metric in METRICS.values():
            if pairs := difference(values_of(mine, metric.name, scenes), values_of(theirs, metric.name, scenes)):
                yield _result(ours, minus(name), replace(metric, chance=None), estimate(pairs, seed), None)


def _result(
    cell: Cell, mode: str, metric: Metric, estimated: Estimate | None, share: float | None, reason: str = ""
) -> Result:
    share = None if share is None else round(share, _DIGITS)
    names = mode, cell.layout, cell.subjects, cell.adapter, metric.name
    if estimated is None:
        return Result(*names, None, None, None, share, metric.chance, 0, reason)
    value, low, high = (round(x, _DIGITS) for x in (estimated.value, estimated.low, estimated.high))
    return Result(*names, value, low, high, share, metric.chance, estimated.n, reason)


def best_global(forms: Mapping[str, Scores]) -> str | None:
    """The best form without a layout, of those with scores; None if none has any."""

    def worth(mode: str) -> float:
        for metric in ("identity", "clip_i"):
            if values := values_of(forms[mode], metric, len(forms[mode])):
                return mean(values)
        return 0.0

    return max((mode for mode in forms if forms[mode]), key=worth, default=None)


@dataclass(frozen=True)
class Bar:
    """`quantity` (a key of QUANTITIES) of a result is at least, or with `most` at most, `limit`."""

    mode: str
    layout: str
    subjects: int
    metric: str
    quantity: str
    limit: float
    most: bool = False
    adapter: str = BASE

    def __str__(self) -> str:
        sense = "at most" if self.most else "at least"
        return f"{self.metric} of {self.mode}, {self.layout} {self.subjects}: {self.quantity} {sense} {self.limit:g}"


QUANTITIES: dict[str, Callable[[Result], float | None]] = {
    "value": lambda result: result.value,
    "share": lambda result: result.share,
    "low edge": lambda result: result.low,
}

TEXT_MINUS, GLOBAL_MINUS, MASKED_MINUS = (minus(mode) for mode in (TEXT, BEST_GLOBAL, "masked-sum"))
# The aims of the small world. A bar applies in every suite that has its cell, except the quick one.
BARS = (
    Bar(OURS, "single", 1, "shape", "share", 0.80),
    Bar(OURS, "single", 1, "body", "share", 0.95),
    Bar(OURS, "single", 1, "second", "share", 0.95),
    Bar(OURS, "single", 1, "pattern", "share", 0.90),
    Bar(OURS, "disjoint", 1, "shape", "share", 0.70),
    Bar(OURS, "disjoint", 1, "body", "share", 0.85),
    Bar(OURS, "disjoint", 1, "missing", "value", 0.15, most=True),
    Bar(OURS, "disjoint", 3, "identity", "share", 0.45),
    Bar(OURS, "disjoint", 3, "miou", "share", 0.50),
    Bar(OURS, "disjoint", 3, "missing", "value", 0.30, most=True),
    Bar(GLOBAL_MINUS, "disjoint", 3, "identity", "low edge", 0.20),
    Bar(TEXT_MINUS, "disjoint", 3, "background", "value", -0.03),
    Bar(OURS, "disjoint", 7, "identity", "share", 0.30),
    Bar(MASKED_MINUS, "overlap-30", 3, "identity_top", "value", 0.05),
    Bar(OURS, DEMO, len(default_scene.IDENTITIES), "all_right", "value", 0.30),
)
# CI checks these in the quick suite: lower edges of paired differences. Measured with the files of the project, one
# training: .50, .58, .18, .42, .16, .24. Files trained for a quarter of the time had .09, .20, .09, .06, .08, .12.
QUICK_GATES = (
    Bar(TEXT_MINUS, "disjoint", 3, "identity", "low edge", 0.2),
    Bar(TEXT_MINUS, "disjoint", 3, "body", "low edge", 0.25),
    Bar(TEXT_MINUS, "disjoint", 3, "clip_i", "low edge", 0.08),
    Bar(GLOBAL_MINUS, "disjoint", 3, "identity", "low edge", 0.15),
    Bar(GLOBAL_MINUS, "disjoint", 3, "miou", "low edge", 0.07),
    Bar(TEXT_MINUS, "unseen-shape", 1, "clip_i", "low edge", 0.1),
)
SAME_ON_HOSTS = ("identity", "miou")  # must lie within diffusers' interval on a WebUI, on the same scenes


@dataclass(frozen=True)
class Checked:
    """A bar and its result; `value` is None if it was not measured."""

    name: str
    value: float | None
    result: Result | None
    passed: bool

    def __str__(self) -> str:
        facts = ["not measured" if self.value is None else f"{self.value:.3f}"]
        result = self.result
        if result and result.value is not None:
            facts.append(f"raw {result.value:.3f} ({result.low:.3f} to {result.high:.3f})")
        if result and result.reason:
            facts.append(result.reason)
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {', '.join(facts)}"


def check_bars(suite: str, results: Sequence[Result]) -> list[Checked]:
    """The quick suite's gates, or the bars whose cells another suite has; and whether a WebUI matches diffusers."""
    measured = {result.key[:3] for result in results}
    bars = QUICK_GATES if suite == QUICK else [bar for bar in BARS if (bar.mode, bar.layout, bar.subjects) in measured]
    return [*(check(bar, results) for bar in bars), *_same_on_hosts(results)]


def check(bar: Bar, results: Sequence[Result]) -> Checked:
    """One bar. Without a value it fails."""
    key = bar.mode, bar.layout, bar.subjects, bar.metric
    result = next((one for one in results if one.key == key and one.adapter in (None, bar.adapter)), None)
    value = QUANTITIES[bar.quantity](result) if result else None
    passed = value is not None and (value <= bar.limit if bar.most else value >= bar.limit)
    return Checked(str(bar), value, result, passed)


def _same_on_hosts(results: Sequence[Result]) -> Iterator[Checked]:
    for theirs in results:
        if theirs.mode != ON_DIFFUSERS or theirs.metric not in SAME_ON_HOSTS:
            continue
        if theirs.low is None or theirs.high is None:
            continue
        key = OURS, *theirs.key[1:]
        ours = next((one for one in results if one.key == key and one.adapter == theirs.adapter), None)
        if ours is not None and ours.value is not None:
            words = f"{theirs.metric} of {OURS}, {theirs.layout} {theirs.subjects}"
            name = f"{words}: within diffusers' {theirs.low:.3f} to {theirs.high:.3f}"
            yield Checked(name, ours.value, ours, theirs.low <= ours.value <= theirs.high)


def versions(hashes: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The versions, files and settings behind the numbers."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {
        "anyms": __version__,
        "python": platform.python_version(),
        **libraries,
        "files": hashes,
        "settings": settings,
    }


def write_json(path: Path, suite: str, made_by: dict[str, Any], seconds: float, results: Sequence[Result]) -> None:
    """{suite, versions, seconds, rows}."""
    rows = [result.to_json() for result in results]
    content = {"suite": suite, "versions": made_by, "seconds": round(seconds, 1), "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


WIDTH = 130
# Heading -> metric: columns with interval and share, columns with the value alone, columns of differences.
_WITH_SHARE = {"identity": "identity", "mIoU": "miou"}
_ALONE = {"top": "identity_top", "all": "all_right", "leak": "leakage", "miss": "missing"}
_ALONE |= {"in": "ground_inside", "back": "background", "cnt": "count", "C-I": "clip_i", "C-T": "clip_t"}
_DIFFERENCES = {"identity": "identity", "top": "identity_top", "mIoU": "miou", "leak": "leakage", "back": "background"}


def table(results: Sequence[Result]) -> Iterator[str]:
    """The lines: the cells' values, then the differences. No line is longer than WIDTH."""
    headings = [*(f"{name + ' share':>21}" for name in _WITH_SHARE), *(f"{name:>5}" for name in _ALONE)]
    yield _line("layout", "S", "mode", "adapt", "n", headings)
    for first, by_metric in _by_cell(result for result in results if " minus " not in result.mode):
        texts = [_with_share(by_metric.get(metric)) for metric in _WITH_SHARE.values()]
        texts += [_alone(by_metric.get(metric)) for metric in _ALONE.values()]
        yield _line(first.layout, first.subjects, first.mode, first.adapter, _scenes(by_metric), texts)
    yield "share: of real renderings'; top: topmost's identity; in, back: background in boxes, of all; C-I, C-T: CLIP"
    for reason in dict.fromkeys(result.reason for result in results if result.reason):
        names = dict.fromkeys(result.metric for result in results if result.reason == reason)
        yield f"not measured: {', '.join(names)}: {reason}"[:WIDTH]
    differences = list(_by_cell(result for result in results if " minus " in result.mode))
    if differences:
        yield from ("", f"{OURS} minus each mode, on the same scenes; 95 % intervals")
        yield _line("layout", "S", "mode", "adapt", "n", [f"{name:>17}" for name in _DIFFERENCES])
    for first, by_metric in differences:
        texts = [_changed(by_metric.get(metric)) for metric in _DIFFERENCES.values()]
        mode = first.mode.partition(" minus ")[2]
        yield _line(first.layout, first.subjects, mode, first.adapter, _scenes(by_metric), texts)


def _by_cell(results: Iterable[Result]) -> Iterator[tuple[Result, dict[str, Result]]]:
    """The first result of each cell, and all of them by metric."""
    groups: dict[tuple[Any, ...], dict[str, Result]] = {}
    for result in results:
        groups.setdefault((*result.key[:3], result.adapter), {})[result.metric] = result
    for group in groups.values():
        yield next(iter(group.values())), group


def _line(layout: str, subjects: object, mode: str, adapter: str | None, scenes: object, texts: Iterable[str]) -> str:
    return f"{layout:<13}{subjects:>3} {mode:<15.15} {adapter or '':<5}{scenes:>4}{''.join(texts)}"


def _scenes(by_metric: Mapping[str, Result]) -> int:
    return max(result.n for result in by_metric.values())


def _alone(result: Result | None) -> str:
    return f"{_short(result.value) if result else '':>5}"


def _with_share(result: Result | None) -> str:
    if result is None or result.value is None:
        return " " * 21
    return f"{_short(result.value):>6} {_short(result.low):>4}-{_short(result.high):<4}{_short(result.share):>5}"


def _changed(result: Result | None) -> str:
    if result is None:
        return " " * 17
    text = f"{_short(result.value, '+')} ({_short(result.low, '+')} {_short(result.high, '+')})"
    return f" {text:>16}"


def _short(value: float | None, sign: str = "") -> str:
    """Two digits, without the zero before them."""
    return "" if value is None else format(value, f"{sign}.2f").replace("0.", ".", 1)

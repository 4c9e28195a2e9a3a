"""From scores to rows: each metric of each cell, and the paired differences that bars and claims rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from lib_anyms.standalone.evaluation.cells import GLOBALS, OURS, PEER, REAL, TEXT, Cell
from lib_anyms.standalone.evaluation.metrics import METRICS, Metric
from lib_anyms.standalone.evaluation.records import Scores, values_of
from lib_anyms.standalone.evaluation.statistics import Estimate, Values, difference, estimate, mean

BEST_GLOBAL = "best global"  # of the three forms the one with the highest mean identity, or without an oracle CLIP-I
ON_DIFFUSERS = "crop-merge on diffusers"  # of the same scenes, beside a WebUI's
MINUENDS = (TEXT, BEST_GLOBAL, "masked-sum", PEER, REAL)
_DIGITS = 4

ScoresOf = Callable[[Cell], Scores]


@dataclass(frozen=True)
class Row:
    """One number: `share` of what real renderings of the same scenes have; `reason` why there is no value."""

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

    def to_json(self) -> dict[str, Any]:
        """Without `reason` where there is none."""
        return {name: value for name, value in asdict(self).items() if name != "reason" or value}


def minus(mode: str) -> str:
    """The name of a difference."""
    return f"{OURS} minus {mode}"


def rows_of(cells: list[Cell], scores_of: ScoresOf, reasons: Mapping[str, str], seed: int = 0) -> list[Row]:
    """All rows, cell by cell, then its differences if it is ours. `reasons`: metrics that could not be measured."""
    rows: list[Row] = []
    for cell in cells:
        real = next((other for other in cells if other.place == cell.place and other.mode == REAL), None)
        ceiling = scores_of(real) if real else {}
        scores = scores_of(cell)
        for metric in METRICS.values():
            rows.extend(_row(cell, metric, scores, ceiling, reasons, seed))
        if cell.mode == OURS:
            rows.extend(_differences(cell, cells, scores_of, seed))
    return rows


def _row(cell: Cell, metric: Metric, scores: Scores, ceiling: Scores, reasons: Mapping[str, str], seed: int) -> Iterator[Row]:
    """The metric's row; none where the layout has nothing of the kind."""
    values = values_of(scores, metric.name, cell.scenes)
    found = estimate(values, seed)
    if found is None and metric.name not in reasons:
        return
    real = values_of(ceiling, metric.name, cell.scenes)
    shared = values.keys() & real.keys()
    share = metric.share(mean({s: values[s] for s in shared}), mean({s: real[s] for s in shared})) if shared else None
    yield _told(cell, cell.mode, metric, found, share, "" if found else reasons[metric.name])


def _differences(ours: Cell, cells: list[Cell], scores_of: ScoresOf, seed: int) -> Iterator[Row]:
    """Ours less each of MINUENDS on the same scenes, where there is such a cell."""
    others = {other.mode: other for other in cells if other.place == ours.place and other.adapter in (None, ours.adapter)}
    best = best_global({mode: values for mode in GLOBALS if mode in others if (values := scores_of(others[mode]))})
    for name in MINUENDS:
        other = others.get(best or "") if name == BEST_GLOBAL else others.get(name)
        if other is None:
            continue
        scenes, theirs, mine = min(ours.scenes, other.scenes), scores_of(other), scores_of(ours)
        for metric in METRICS.values():
            pairs = difference(values_of(mine, metric.name, scenes), values_of(theirs, metric.name, scenes))
            if pairs:
                yield _told(ours, minus(name), replace(metric, chance=None), estimate(pairs, seed), None)


def _told(cell: Cell, mode: str, metric: Metric, found: Estimate | None, share: float | None, reason: str = "") -> Row:
    value, low, high = (round(x, _DIGITS) for x in (found.value, found.low, found.high)) if found else (None, None, None)
    share = None if share is None else round(share, _DIGITS)
    place = cell.layout, cell.subjects, cell.adapter, metric.name
    return Row(mode, *place, value, low, high, share, metric.chance, found.n if found else 0, reason)


def best_global(forms: Mapping[str, Scores]) -> str | None:
    """The best of the forms without layout; None of none."""

    def worth(mode: str) -> float:
        for metric in ("identity", "clip_i"):
            if values := _all(forms[mode], metric):
                return mean(values)
        return 0.0

    return max(forms, key=worth, default=None)


def _all(scores: Scores, metric: str) -> Values:
    return {number: told[metric] for number, told in scores.items() if metric in told}

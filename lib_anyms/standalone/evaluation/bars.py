"""What must hold, one row a bar: the numbers are here and nowhere else.

A bar of the project's aims is asked wherever its cells were made; a gate is asked in the quick suite, where CI runs it: it is a
paired difference whose interval's edge must not fall below what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lib_anyms.standalone.evaluation.cells import BASE, OURS, QUICK, TEXT
from lib_anyms.standalone.evaluation.metrics import METRICS
from lib_anyms.standalone.evaluation.results import BEST_GLOBAL, ON_DIFFUSERS, Row, minus


@dataclass(frozen=True)
class Bar:
    """`quantity` of the row (mode, layout, subjects, metric) at least, or with `most` at most, `asked`."""

    mode: str
    layout: str
    subjects: int
    metric: str
    quantity: str  # of QUANTITIES
    asked: float
    most: bool = False
    adapter: str = BASE

    def __str__(self) -> str:
        sense = "at most" if self.most else "at least"
        return f"{self.metric} of {self.mode}, {self.layout} {self.subjects}: {self.quantity} {sense} {self.asked:g}"


QUANTITIES: dict[str, Callable[[Row], float | None]] = {
    "value": lambda row: row.value,
    "share": lambda row: row.share,
    "low edge": lambda row: row.low,
}

REAL_MINUS, TEXT_MINUS, GLOBAL_MINUS, MASKED_MINUS = (minus(mode) for mode in ("real", TEXT, BEST_GLOBAL, "masked-sum"))

_UP_TO_4 = tuple(
    bar
    for subjects in (2, 3, 4)
    for bar in (
        Bar(OURS, "disjoint", subjects, "identity", "share", 0.80),
        Bar(OURS, "disjoint", subjects, "miou", "share", 0.75),
        Bar(REAL_MINUS, "disjoint", subjects, "missing", "value", 0.03, most=True),
        Bar(REAL_MINUS, "disjoint", subjects, "leakage", "value", 0.04, most=True),
        Bar(GLOBAL_MINUS, "disjoint", subjects, "identity", "low edge", 0.25),
        Bar(TEXT_MINUS, "disjoint", subjects, "background", "value", -0.03),
    )
)
AIMS = (
    Bar(OURS, "single", 1, "identity", "share", 0.90),
    *_UP_TO_4,
    Bar(OURS, "disjoint", 7, "identity", "share", 0.65),
    Bar(MASKED_MINUS, "overlap-30", 3, "identity_top", "value", 0.05),
)
GATES = (  # measured with the files of the project: .048, .302, .246, .175, .152, .203
    Bar(TEXT_MINUS, "disjoint", 3, "identity", "low edge", 0.01),
    Bar(TEXT_MINUS, "disjoint", 3, "body", "low edge", 0.20),
    Bar(TEXT_MINUS, "disjoint", 3, "clip_i", "low edge", 0.15),
    Bar(GLOBAL_MINUS, "disjoint", 3, "body", "low edge", 0.08),
    Bar(GLOBAL_MINUS, "disjoint", 3, "miou", "low edge", 0.08),
    Bar(TEXT_MINUS, "unseen-shape", 1, "clip_i", "low edge", 0.10),
)
SAME_ON_HOSTS = ("identity", "miou")  # of ours, within diffusers' interval on the same scenes


@dataclass(frozen=True)
class Checked:
    """A bar held against its row: `found` None where there is nothing to hold it against."""

    name: str
    found: float | None
    row: Row | None
    passed: bool

    def __str__(self) -> str:
        row, facts = self.row, []
        if row and row.value is not None:
            facts.append(f"raw {row.value:.3f} ({row.low:.3f} to {row.high:.3f})")
        if row and row.reason:
            facts.append(row.reason)
        found = "not measured" if self.found is None else f"{self.found:.3f}"
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {', '.join((found, *facts))}"


def check_bars(suite: str, rows: list[Row]) -> list[Checked]:
    """The gates of the quick suite; of any other the aims whose cells it has, and on a WebUI that it does as diffusers."""
    made = {(row.mode, row.layout, row.subjects) for row in rows}
    bars = GATES if suite == QUICK else tuple(bar for bar in AIMS if (bar.mode, bar.layout, bar.subjects) in made)
    return [*(check(bar, rows) for bar in bars), *_same_on_hosts(rows)]


def check(bar: Bar, rows: list[Row]) -> Checked:
    """One bar. What was not measured has not passed."""
    place = (bar.mode, bar.layout, bar.subjects, bar.metric)
    row = next((r for r in rows if (r.mode, r.layout, r.subjects, r.metric) == place and r.adapter in (None, bar.adapter)), None)
    found = QUANTITIES[bar.quantity](row) if row else None
    passed = found is not None and (found <= bar.asked if bar.most else found >= bar.asked)
    return Checked(str(bar), found, row, passed)


def _same_on_hosts(rows: list[Row]) -> list[Checked]:
    checked = []
    for theirs in (row for row in rows if row.mode == ON_DIFFUSERS and row.metric in SAME_ON_HOSTS):
        place = (OURS, theirs.layout, theirs.subjects, theirs.adapter, theirs.metric)
        ours = next((r for r in rows if (r.mode, r.layout, r.subjects, r.adapter, r.metric) == place), None)
        if ours is None or ours.value is None or theirs.low is None or theirs.high is None:
            continue
        words = f"{theirs.metric} of {OURS}, {theirs.layout} {theirs.subjects}"
        name = f"{words}: within diffusers' {theirs.low:.3f} to {theirs.high:.3f}"
        checked.append(Checked(name, ours.value, ours, theirs.low <= ours.value <= theirs.high))
    return checked


assert {bar.metric for bar in (*AIMS, *GATES)} <= set(METRICS)

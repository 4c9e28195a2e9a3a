"""Intervals are as wide as they should be, differences are paired, bars fail where they must, and the report says all of it."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lib_anyms.errors import Refused
from lib_anyms.standalone.evaluation import evaluate as evaluating
from lib_anyms.standalone.evaluation.bars import AIMS, GATES, Bar, check, check_bars
from lib_anyms.standalone.evaluation.cells import BASE, OURS, PEER, REAL, SUITES, TEXT, Cell, cells_of
from lib_anyms.standalone.evaluation.files import Files
from lib_anyms.standalone.evaluation.metrics import METRICS
from lib_anyms.standalone.evaluation.painting import Settings
from lib_anyms.standalone.evaluation.records import Scores, label
from lib_anyms.standalone.evaluation.report import WIDTH, table
from lib_anyms.standalone.evaluation.results import Row, best_global, minus, rows_of
from lib_anyms.standalone.evaluation.scoring import NO_CLIP
from lib_anyms.standalone.evaluation.statistics import difference, estimate
from lib_anyms.standalone.evaluation.work import Evaluation

BAD = {"leakage", "missing"}
# What each mode is worth in a world where everything holds.
WORTH = {REAL: 0.97, OURS: 0.93, TEXT: 0.2, "masked-sum": 0.75, PEER: 0.85}


def planted(cell: Cell, **values: float) -> Scores:
    """Scores around the mode's worth, a little off in each scene, alike in all modes."""
    told = {}
    for scene in range(cell.scenes):
        off = Random(f"{cell.place} {scene}").uniform(-0.03, 0.03)
        worth = WORTH.get(cell.mode, 0.4) + off
        told[scene] = {name: values.get(name, 0.02 if name in BAD else worth) for name in METRICS if name != "clip_t"}
        told[scene] |= {"background": 0.9 + off}
    return told


def rows_with(suite: str, change: Callable[[Cell], dict[str, float]] = lambda cell: {}) -> list[Row]:
    cells = cells_of(SUITES[suite])
    return rows_of(cells, lambda cell: planted(cell, **change(cell)), {"clip_t": "a reason"})


def row_of(rows: list[Row], mode: str, metric: str, layout: str = "disjoint", subjects: int = 3) -> Row:
    place = (mode, layout, subjects, metric)
    return next(row for row in rows if (row.mode, row.layout, row.subjects, row.metric) == place)


def test_intervals_are_as_wide_as_theory_says() -> None:
    random = Random(0)
    told = estimate({scene: float(random.random() < 0.5) for scene in range(400)})
    assert told is not None
    assert told.n == 400
    half = 1.96 * math.sqrt(0.25 / 400)
    assert told.high - told.value == pytest.approx(half, rel=0.12)
    assert told.value - told.low == pytest.approx(half, rel=0.12)
    certain = estimate({3: 0.7, 9: 0.7})
    assert certain is not None
    assert certain.low == certain.value == certain.high == pytest.approx(0.7)
    assert estimate({}) is None


def test_the_same_values_give_the_same_interval() -> None:
    values = {scene: Random(scene).random() for scene in range(30)}
    assert estimate(values) == estimate(dict(reversed(values.items())))


def test_differences_are_paired() -> None:
    easy = {scene: Random(scene).random() for scene in range(50)}
    better = {scene: value + 0.1 + Random(scene + 1000).uniform(-0.01, 0.01) for scene, value in easy.items()}
    paired = estimate(difference(better, easy))
    alone = estimate(better)
    assert paired is not None
    assert alone is not None
    assert paired.value == pytest.approx(0.1, abs=0.005)
    assert paired.high - paired.low < 0.01 < 0.1 < alone.high - alone.low
    assert difference({1: 1.0, 2: 1.0}, {2: 0.25, 3: 0.0}) == {2: 0.75}


def test_rows_have_shares_of_real_renderings_of_the_same_scenes() -> None:
    rows = rows_with("disjoint")
    row = row_of(rows, OURS, "identity")
    assert row.value is not None
    assert row.share == pytest.approx(row.value / 0.97, abs=0.01)
    assert row.chance == 0.05
    assert row.n == 200
    leak = row_of(rows, OURS, "leakage")
    assert leak.share == pytest.approx(1)
    few = row_of(rows, PEER, "miou")
    assert few.n == 50
    assert row_of(rows, "real", "identity").share == 1
    unknown = row_of(rows, OURS, "clip_t")
    assert unknown.value is unknown.share is None
    assert unknown.reason == "a reason"


def test_the_best_global_form_is_the_one_with_the_highest_identity() -> None:
    forms = {mode: {0: {"identity": value}} for mode, value in (("global-sum", 0.2), ("one-softmax", 0.5), ("global-mean", 0.3))}
    assert best_global(forms) == "one-softmax"
    assert best_global({"global-sum": {0: {"clip_i": 0.2}}, "global-mean": {0: {"clip_i": 0.3}}}) == "global-mean"
    assert best_global({}) is None
    rows = rows_with("disjoint", lambda cell: {"identity": 0.6} if cell.mode == "global-mean" else {})
    assert row_of(rows, minus("best global"), "identity").value == pytest.approx(0.33, abs=0.01)
    assert row_of(rows, minus(TEXT), "identity").value == pytest.approx(0.73, abs=0.01)


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_bars_hold_where_everything_holds(suite: str) -> None:
    checked = check_bars(suite, rows_with(suite))
    assert all(bar.passed for bar in checked), [str(bar) for bar in checked if not bar.passed]
    if suite == "full":
        assert len(checked) == len(AIMS) == 21
    if suite == "quick":
        assert len(checked) == len(GATES)


# A bad score of ours somewhere, and the only bar that must see it.
FAULTS: list[tuple[str, str, int, str, float]] = [
    ("single", "single", 1, "identity", 0.80),
    ("disjoint", "disjoint", 4, "miou", 0.70),
    ("disjoint", "disjoint", 2, "missing", 0.06),
    ("scaling", "disjoint", 3, "leakage", 0.07),
    ("scaling", "disjoint", 7, "identity", 0.60),
    ("priority", "overlap-30", 3, "identity_top", 0.78),
    ("quick", "disjoint", 3, "miou", 0.20),
]


@pytest.mark.parametrize(("suite", "layout", "subjects", "metric", "value"), FAULTS)
def test_a_bad_score_fails_its_bar(suite: str, layout: str, subjects: int, metric: str, value: float) -> None:
    def change(cell: Cell) -> dict[str, float]:
        return {metric: value} if (cell.mode, *cell.place, cell.adapter) == (OURS, layout, subjects, BASE) else {}

    failed = [bar for bar in check_bars(suite, rows_with(suite, change)) if not bar.passed]
    assert len(failed) == 1
    assert all(word in str(failed[0]) for word in ("FAIL", metric, f"{layout} {subjects}"))


def test_a_bar_without_a_value_has_not_passed() -> None:
    bar = Bar(OURS, "disjoint", 3, "identity", "share", 0.8)
    assert not check(bar, []).passed
    null = Row(OURS, "disjoint", 3, BASE, "identity", None, None, None, None, 0.05, 0, "the oracle knows sprites only")
    checked = check(bar, [null])
    assert not checked.passed
    assert "not measured, the oracle knows sprites only" in str(checked)


def test_what_is_best_at_nought_has_a_share_of_what_is_free_of_it() -> None:
    assert METRICS["leakage"].share(0.1, 0.0) == pytest.approx(0.9)
    assert METRICS["identity"].share(0.5, 0.0) is None


def test_the_table_fits_a_terminal() -> None:
    rows = rows_with("full")
    lines = list(table(rows))
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) > 100
    for word in ("crop-merge", "unseen-colour", "best global", "a reason"):
        assert any(word in line for line in lines)


@pytest.fixture
def evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    """Files that nothing reads, because the work is done already."""
    for name in ("checkpoint", "adapter", "plus", "encoder"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    files = Files(tmp_path / "checkpoint", {"base": tmp_path / "adapter", "plus": tmp_path / "plus"}, tmp_path / "encoder")
    monkeypatch.setattr(evaluating, "reasons_of", lambda _: {"clip_t": NO_CLIP})
    monkeypatch.setattr(evaluating, "work", lambda evaluation, cells, say: {evaluation.key(c): planted(c) for c in cells})
    return Evaluation(files, Settings(seed=3), tmp_path / "out")


def test_the_report_of_a_whole_suite(evaluation: Evaluation) -> None:
    evaluation.out.mkdir()
    outcome = evaluating.evaluate(evaluation, "full", None, lambda _: None)
    told: dict[str, Any] = json.loads((evaluation.out / "results.json").read_text(encoding="utf-8"))
    assert set(told) == {"suite", "versions", "seconds", "rows"}
    assert told["suite"] == "full"
    assert set(told["versions"]["files"]) == {"checkpoint", "encoder", "adapter-base", "adapter-plus"}
    assert told["versions"]["settings"]["seed"] == 3
    named = {"mode", "layout", "subjects", "adapter", "metric", "value", "low", "high", "share", "chance", "n"}
    for row in told["rows"]:
        assert set(row) == (named if row["value"] is not None else named | {"reason"})
        assert row["value"] is None or row["low"] <= row["value"] <= row["high"]
    assert {row["metric"] for row in told["rows"]} == set(METRICS)
    assert {path.name for path in outcome.written} == {"results.json", "by-layout.png", "by-subjects.png"}
    assert all(path.stat().st_size > 1000 for path in outcome.written)
    assert all(bar.passed for bar in outcome.bars)


def test_the_keys_of_scores_tell_what_made_them(evaluation: Evaluation) -> None:
    cell = Cell(OURS, "disjoint", 3, "base", 5)
    other = {
        "mode": Cell("masked-sum", "disjoint", 3, "base", 5),
        "layout": Cell(OURS, "touching", 3, "base", 5),
        "adapter": Cell(OURS, "disjoint", 3, "plus", 5),
    }
    keys = {evaluation.key(cell), *(evaluation.key(one) for one in other.values())}
    changed = Settings(seed=3, steps=21), Settings(seed=4), Settings(seed=3, host="http://127.0.0.1:1")
    keys |= {Evaluation(evaluation.files, settings, evaluation.out).key(cell) for settings in changed}
    assert len(keys) == 7
    assert evaluation.key(Cell(OURS, "disjoint", 3, "base", 500)) == evaluation.key(cell)
    real = Cell(REAL, "disjoint", 3, None, 5)
    assert Evaluation(evaluation.files, changed[0], evaluation.out).key(real) == evaluation.key(real)
    assert label(cell) == "crop-merge disjoint 3 base"


def test_a_refusal_comes_through_from_another_process() -> None:
    refusal = Refused("host_lacks", host="http://127.0.0.1:1")
    again = pickle.loads(pickle.dumps(refusal))
    assert type(again) is Refused
    assert again.cause == "host_lacks"
    assert str(again) == str(refusal)

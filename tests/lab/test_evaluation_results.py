"""Intervals have the right width, differences are paired, bars fail where they must, and the table is complete."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from lib_anyms.lab.charts import write_plots
from lib_anyms.lab.evaluation.results import (
    BARS,
    QUICK_GATES,
    WIDTH,
    Bar,
    Result,
    Scores,
    best_global,
    check,
    check_bars,
    minus,
    results_of,
    table,
)
from lib_anyms.lab.evaluation.scoring import METRICS, difference, estimate
from lib_anyms.lab.evaluation.suites import BASE, OURS, PEER, REAL, SUITES, TEXT, Cell, cells_of

BAD = {"leakage", "missing"}
# The score of each mode in a world where every bar passes.
WORTH = {REAL: 0.97, OURS: 0.93, TEXT: 0.2, "masked-sum": 0.75, PEER: 0.85}


def planted(cell: Cell, **values: float) -> Scores:
    """Scores around the mode's worth, a little off in each scene, alike in all modes."""
    scores = {}
    for scene in range(cell.scenes):
        off = Random(f"{cell.key} {scene}").uniform(-0.03, 0.03)
        worth = WORTH.get(cell.mode, 0.4) + off
        scores[scene] = {name: values.get(name, 0.02 if name in BAD else worth) for name in METRICS if name != "clip_t"}
        scores[scene] |= {"background": 0.9 + off}
    return scores


def results_with(suite: str, change: Callable[[Cell], dict[str, float]] = lambda cell: {}) -> list[Result]:
    cells = cells_of(SUITES[suite])
    return results_of(cells, lambda cell: planted(cell, **change(cell)), {"clip_t": "a reason"})


def result_of(results: list[Result], mode: str, metric: str, layout: str = "disjoint", subjects: int = 3) -> Result:
    return next(result for result in results if result.key == (mode, layout, subjects, metric))


def test_intervals_are_as_wide_as_theory_says() -> None:
    random = Random(0)
    estimated = estimate({scene: float(random.random() < 0.5) for scene in range(400)})
    assert estimated is not None
    assert estimated.n == 400
    half = 1.96 * math.sqrt(0.25 / 400)
    assert estimated.high - estimated.value == pytest.approx(half, rel=0.12)
    assert estimated.value - estimated.low == pytest.approx(half, rel=0.12)
    certain = estimate({3: 0.7, 9: 0.7})
    assert certain is not None
    assert certain.low == certain.value == certain.high == pytest.approx(0.7)
    assert estimate({}) is None
    values = {scene: Random(scene).random() for scene in range(30)}
    assert estimate(values) == estimate(dict(reversed(values.items())))


def test_differences_are_paired() -> None:
    easy = {scene: Random(scene).random() for scene in range(50)}
    better = {scene: value + 0.1 + Random(scene + 1000).uniform(-0.01, 0.01) for scene, value in easy.items()}
    paired, alone = estimate(difference(better, easy)), estimate(better)
    assert paired is not None
    assert alone is not None
    assert paired.value == pytest.approx(0.1, abs=0.005)
    assert paired.high - paired.low < 0.01 < 0.1 < alone.high - alone.low
    assert difference({1: 1.0, 2: 1.0}, {2: 0.25, 3: 0.0}) == {2: 0.75}


def test_results_have_shares_of_real_renderings_of_the_same_scenes() -> None:
    results = results_with("disjoint")
    ours = result_of(results, OURS, "identity")
    assert ours.value is not None
    assert ours.share == pytest.approx(ours.value / 0.97, abs=0.01)
    assert (ours.chance, ours.n) == (0.05, 96)
    assert result_of(results, OURS, "leakage").share == pytest.approx(1)
    assert result_of(results, PEER, "miou").n == 48
    assert result_of(results, REAL, "identity").share == 1
    unknown = result_of(results, OURS, "clip_t")
    assert unknown.value is unknown.share is None
    assert unknown.reason == unknown.to_json()["reason"] == "a reason"
    assert "reason" not in ours.to_json()
    assert METRICS["leakage"].share(0.1, 0.0) == pytest.approx(0.9)
    assert METRICS["identity"].share(0.5, 0.0) is None


def test_the_best_global_form_is_the_one_with_the_highest_identity() -> None:
    forms = {
        mode: {0: {"identity": value}}
        for mode, value in (("global-sum", 0.2), ("one-softmax", 0.5), ("global-mean", 0.3))
    }
    assert best_global(forms) == "one-softmax"
    assert best_global({"global-sum": {0: {"clip_i": 0.2}}, "global-mean": {0: {"clip_i": 0.3}}}) == "global-mean"
    assert best_global({"global-sum": {}}) is None
    results = results_with("disjoint", lambda cell: {"identity": 0.6} if cell.mode == "global-mean" else {})
    assert result_of(results, minus("best global"), "identity").value == pytest.approx(0.33, abs=0.01)
    assert result_of(results, minus(TEXT), "identity").value == pytest.approx(0.73, abs=0.01)


@pytest.mark.parametrize("suite", ["quick", "full", "single", "disjoint", "priority", "scaling", "demo"])
def test_bars_pass_for_good_scores(suite: str) -> None:
    checked = check_bars(suite, results_with(suite))
    assert all(bar.passed for bar in checked), [str(bar) for bar in checked if not bar.passed]
    assert checked
    if suite in ("quick", "full"):
        assert len(checked) == len(QUICK_GATES if suite == "quick" else BARS)


# A bad score of AnyMS, and the only bar that must fail.
FAULTS: list[tuple[str, str, int, str, float]] = [
    ("single", "single", 1, "pattern", 0.80),
    ("scaling", "disjoint", 1, "missing", 0.20),
    ("disjoint", "disjoint", 3, "miou", 0.40),
    ("scaling", "disjoint", 7, "identity", 0.20),
    ("priority", "overlap-30", 3, "identity_top", 0.78),
    ("demo", "demo", 3, "all_right", 0.25),
    ("quick", "disjoint", 3, "miou", 0.20),
]


@pytest.mark.parametrize(("suite", "layout", "subjects", "metric", "value"), FAULTS)
def test_a_bad_score_fails_its_bar(suite: str, layout: str, subjects: int, metric: str, value: float) -> None:
    def change(cell: Cell) -> dict[str, float]:
        return {metric: value} if (cell.mode, *cell.key, cell.adapter) == (OURS, layout, subjects, BASE) else {}

    failed = [bar for bar in check_bars(suite, results_with(suite, change)) if not bar.passed]
    assert len(failed) == 1
    assert all(word in str(failed[0]) for word in ("FAIL", metric, f"{layout} {subjects}"))


def test_a_bar_without_a_value_has_not_passed() -> None:
    bar = Bar(OURS, "disjoint", 3, "identity", "share", 0.8)
    assert not check(bar, []).passed
    null = Result(OURS, "disjoint", 3, BASE, "identity", None, None, None, None, 0.05, 0, "another model")
    checked = check(bar, [null])
    assert not checked.passed
    assert "not measured, another model" in str(checked)


def test_bars_are_of_known_metrics_and_cells() -> None:
    for suite, bars in (("quick", QUICK_GATES), ("full", BARS)):
        places = {(cell.layout, cell.subjects) for cell in cells_of(SUITES[suite])}
        assert {bar.metric for bar in bars} <= set(METRICS)
        assert {(bar.layout, bar.subjects) for bar in bars} <= places


def test_the_table_fits_a_terminal() -> None:
    lines = list(table(results_with("full")))
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) > 100
    for word in ("crop-merge", "unseen-colour", "best global", "a reason"):
        assert any(word in line for line in lines)


@pytest.mark.parametrize("suite", ["full", "words"])
def test_every_mode_of_a_suite_is_plotted(suite: str, tmp_path: Path) -> None:
    """There are more modes than colours."""
    written = write_plots(tmp_path, results_with(suite, lambda cell: {"identity": 0.5, "miou": 0.5}))
    assert [path.name for path in written] == ["by-layout.png", "by-subjects.png"]

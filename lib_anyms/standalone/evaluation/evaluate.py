"""One evaluation from files to report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lib_anyms.standalone.evaluation.bars import Checked, check_bars
from lib_anyms.standalone.evaluation.cells import MODES, OURS, SUITES, Cell, cells_of, with_adapter
from lib_anyms.standalone.evaluation.painting import DIFFUSERS
from lib_anyms.standalone.evaluation.plots import write_plots
from lib_anyms.standalone.evaluation.records import Scores
from lib_anyms.standalone.evaluation.report import versions, write_json
from lib_anyms.standalone.evaluation.results import ON_DIFFUSERS, Row, rows_of
from lib_anyms.standalone.evaluation.scoring import reasons_of
from lib_anyms.standalone.evaluation.sheet import write_sheets
from lib_anyms.standalone.evaluation.webui import WebUIPainter
from lib_anyms.standalone.evaluation.work import SHOWN, Evaluation, Say, picture_path, work

RESULTS = "results.json"
Work = Callable[[Evaluation, list[Cell], Say], dict[str, Scores]]


@dataclass(frozen=True)
class Outcome:
    """All rows, the bars held against them, and the files written."""

    rows: list[Row]
    bars: list[Checked]
    written: list[Path]


def evaluate(evaluation: Evaluation, suite: str, json_file: Path | None, say: Say, cells: list[Cell] | None = None) -> Outcome:
    """Make what is missing of the suite (or of `cells`), write the report into the evaluation's folder. Raises Refused."""
    began = time.perf_counter()
    files, settings, out = evaluation.files, evaluation.settings, evaluation.out
    cells = possible(evaluation, cells_of(SUITES[suite]) if cells is None else cells, say)
    loaded = {}
    if settings.host != DIFFUSERS:
        webui = WebUIPainter(files, settings)
        loaded = {"loaded": webui.checkpoint}
        if webui.advice:
            say(webui.advice)
    scores = work(evaluation, cells, say)

    def scores_of(cell: Cell) -> Scores:
        return scores.get(evaluation.key(cell), {})

    reasons = reasons_of(files)
    rows = rows_of(cells, scores_of, reasons, settings.seed)
    if settings.host != DIFFUSERS:
        rows += beside(evaluation, cells, scores, settings.seed)
    written = [json_file or out / RESULTS]
    made_by = versions(files.hashes(), {**asdict(settings), **loaded})
    write_json(written[0], suite, made_by, time.perf_counter() - began, rows)
    written += write_sheets(out, cells, lambda cell, n: picture_path(out, evaluation.key(cell), n), SHOWN, settings.seed)
    written += write_plots(out, rows)
    return Outcome(rows, check_bars(suite, rows), written)


def possible(evaluation: Evaluation, cells: list[Cell], say: Say) -> list[Cell]:
    """The cells that these files and this host can make; says which are left out."""
    kinds = tuple(evaluation.files.adapters)
    kept = with_adapter(cells, kinds)
    if len(kept) < len(cells):
        say(f"left out: {len(cells) - len(kept)} cells of an adapter that is not there (there is: {', '.join(kinds)})")
    if evaluation.settings.host == DIFFUSERS:
        return kept
    here = [cell for cell in kept if MODES[cell.mode].on_hosts]
    if len(here) < len(kept):
        names = dict.fromkeys(cell.mode for cell in kept if not MODES[cell.mode].on_hosts)
        say(f"left out: {', '.join(names)}, which a WebUI with AnyMS cannot make")
    return here


def beside(evaluation: Evaluation, cells: list[Cell], scores: dict[str, Scores], seed: int) -> list[Row]:
    """Ours on diffusers, as far as the same folder holds it: a WebUI's numbers must lie within its intervals."""
    own = replace(evaluation, settings=replace(evaluation.settings, host=DIFFUSERS))
    ours = [cell for cell in cells if cell.mode == OURS and scores.get(own.key(cell))]
    rows = rows_of(ours, lambda cell: scores[own.key(cell)], {}, seed)
    return [replace(row, mode=ON_DIFFUSERS) for row in rows if row.mode == OURS]

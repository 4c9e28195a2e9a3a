"""One evaluation from files to report: pictures made and scored by one or several processes, and what is written of
them.

Every scored picture is a line of scores.jsonl, so an evaluation resumes where it was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from lib_anyms import __version__
from lib_anyms.lab.evaluation.pictures import DIFFUSERS, DiffusersPainter, Files, Settings, WebUIPainter
from lib_anyms.lab.evaluation.results import (
    ON_DIFFUSERS,
    Checked,
    Result,
    Scores,
    check_bars,
    results_of,
    versions,
    write_json,
)
from lib_anyms.lab.evaluation.scenes import BASE, MODES, OURS, REAL, SUITES, Cell, cells_of, make_task, with_adapter
from lib_anyms.lab.evaluation.scoring import Judge, reasons_of
from lib_anyms.standalone.drawing import COLOURS

RULES = 2  # raised when scenes or scores change their meaning: older scores are then not used
SCORES, RESULTS, PICTURES = "scores.jsonl", "results.json", "pictures"
KEPT = 8  # scenes of a cell whose pictures are kept
PICTURE_SECONDS = 2.3  # on one core of a CPU with the small world, scored
_PROGRESS_SECONDS = 15.0  # between two lines of progress
_SHEET_SIDE, _SHEET_GAP, _SHEET_HEAD = 192, 4, 16  # pixels
_PLOTTED = {"identity": "identity (of 20)", "miou": "mIoU with the boxes"}
_INK = dict(zip(MODES, ("#bbbbbb", *COLOURS)))

Say = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """The files and settings of an evaluation, and the folder it writes to."""

    files: Files
    settings: Settings
    out: Path
    processes: int = 1

    def key(self, cell: Cell) -> str:
        """16 digits of all that decides a cell's pictures and scores. The number of scenes and the device do not."""
        files, settings = self.files.hashes(), self.settings
        used: dict[str, Any] = {"rules": RULES, "version": __version__, "cell": label(cell), "seed": settings.seed}
        roles = {"encoder", "clip", f"adapter-{cell.adapter}"}
        if cell.mode != REAL:
            roles.add("checkpoint")
            used |= {name: getattr(settings, name) for name in ("steps", "guidance", "scale", "host", "dtype")}
        used["files"] = {role: digits for role, digits in files.items() if role in roles}
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:16]

    def picture(self, cell: Cell, number: int) -> Path:
        """The file of a kept picture."""
        return self.out / PICTURES / f"{self.key(cell)}-{number}.png"


def label(cell: Cell) -> str:
    """A cell in words, without its number of scenes."""
    return " ".join((cell.mode, cell.layout, str(cell.subjects), *([cell.adapter] if cell.adapter else [])))


@dataclass(frozen=True)
class Record:
    """One picture's values by metric; `key` is that of its cell, files and settings."""

    key: str
    cell: str
    scene: int
    values: dict[str, float]


def read_records(folder: Path) -> dict[str, Scores]:
    """All scores by key. A line that an interrupted process left incomplete is ignored."""
    scores: dict[str, Scores] = {}
    path = folder / SCORES
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError):
            continue
        scores.setdefault(record.key, {})[record.scene] = record.values
    return scores


def append_record(folder: Path, record: Record) -> None:
    """Add a line, apart from an incomplete one before it."""
    with (folder / SCORES).open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(asdict(record)).encode() + b"\n")


class Worker:
    """Makes and scores one picture after the other; loads the models when they are first needed."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    @cached_property
    def _painter(self) -> DiffusersPainter | WebUIPainter:
        evaluation = self._evaluation
        kind = DiffusersPainter if evaluation.settings.host == DIFFUSERS else WebUIPainter
        return kind(evaluation.files, evaluation.settings)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self._evaluation.files)

    def score(self, cell: Cell, number: int) -> Record:
        """One picture; the first few are kept."""
        task = make_task(cell.layout, cell.subjects, number, self._evaluation.settings.seed)
        picture = task.rendering() if cell.mode == REAL else self._painter.paint(task, cell.mode, cell.adapter)
        if number < KEPT:
            picture.save(self._evaluation.picture(cell, number))
        return Record(self._evaluation.key(cell), label(cell), number, self._judge.score(picture, task))


def score_cells(evaluation: Evaluation, cells: Sequence[Cell], say: Say) -> dict[str, Scores]:
    """Make what is missing of the cells -> all scores by key. Interrupted, it leaves what is done."""
    (evaluation.out / PICTURES).mkdir(parents=True, exist_ok=True)
    scores = read_records(evaluation.out)
    jobs = missing_jobs(evaluation, cells, scores)
    pictures = sum(cell.mode != REAL for cell, _ in jobs)
    processes = min(evaluation.processes, max(1, len(jobs)))
    minutes = pictures * PICTURE_SECONDS / processes / 60
    forecast = f"; with the small world on a CPU about {minutes:.0f} minutes" if minutes >= 1 else ""
    say(f"{len(jobs) - pictures} renderings and {pictures} pictures to make in {processes} processes{forecast}")
    start = last = time.monotonic()
    for count, record in enumerate(_records(evaluation, jobs, processes), 1):
        append_record(evaluation.out, record)
        scores.setdefault(record.key, {})[record.scene] = record.values
        now = time.monotonic()
        if now - last > _PROGRESS_SECONDS:
            last = now
            rest = (now - start) / count * (len(jobs) - count)
            say(f"{count} of {len(jobs)}, {(now - start) / 60:.1f} minutes, about {rest / 60:.0f} more")
    return scores


def missing_jobs(evaluation: Evaluation, cells: Sequence[Cell], scores: dict[str, Scores]) -> list[tuple[Cell, int]]:
    """The pictures without a score, scene by scene: interrupted, there is something of every cell."""
    jobs = []
    for cell in cells:
        done = scores.get(evaluation.key(cell), {})
        jobs += [(cell, number) for number in range(cell.scenes) if number not in done]
    return sorted(jobs, key=lambda job: job[1])


def _records(evaluation: Evaluation, jobs: Sequence[tuple[Cell, int]], processes: int) -> Iterator[Record]:
    if processes <= 1:
        worker = Worker(evaluation)
        yield from (worker.score(cell, number) for cell, number in jobs)
        return
    executor = ProcessPoolExecutor(processes, get_context("spawn"), _start_process, (evaluation,))
    try:
        for done in as_completed([executor.submit(_score, cell, number) for cell, number in jobs]):
            yield done.result()
    finally:
        executor.shutdown(cancel_futures=True)


_worker: Worker | None = None  # of a process of the pool


def _start_process(evaluation: Evaluation) -> None:
    global _worker
    import torch

    for number in (signal.SIGINT, signal.SIGTERM):  # they are meant for the parent process, which ends this one
        signal.signal(number, signal.SIG_IGN)
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    _worker = Worker(evaluation)


def _score(cell: Cell, number: int) -> Record:
    assert _worker is not None
    return _worker.score(cell, number)


@dataclass(frozen=True)
class Outcome:
    """All results, the checked bars, and the files written."""

    results: list[Result]
    bars: list[Checked]
    files: list[Path]


def evaluate(
    evaluation: Evaluation, suite: str, json_file: Path | None, say: Say, cells: Sequence[Cell] | None = None
) -> Outcome:
    """Make what is missing of the suite (or of `cells`), write the report into the evaluation's folder.

    Raises Refused.
    """
    start = time.perf_counter()
    settings, out = evaluation.settings, evaluation.out
    cells = possible_cells(evaluation, cells_of(SUITES[suite]) if cells is None else cells, say)
    facts = asdict(settings)
    if settings.host != DIFFUSERS:
        webui = WebUIPainter(evaluation.files, settings)
        facts["loaded"] = webui.checkpoint
        if webui.advice:
            say(webui.advice)
    scores = score_cells(evaluation, cells, say)
    reasons = reasons_of(evaluation.files)
    results = results_of(cells, lambda cell: scores.get(evaluation.key(cell), {}), reasons, settings.seed)
    if settings.host != DIFFUSERS:
        results += _on_diffusers(evaluation, cells, scores)
    path = json_file or out / RESULTS
    write_json(path, suite, versions(evaluation.files.hashes(), facts), time.perf_counter() - start, results)
    return Outcome(
        results, check_bars(suite, results), [path, *write_sheets(evaluation, cells), *write_plots(out, results)]
    )


def possible_cells(evaluation: Evaluation, cells: Sequence[Cell], say: Say) -> list[Cell]:
    """The cells that these files and this host can make; the others are named."""
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


def _on_diffusers(evaluation: Evaluation, cells: Sequence[Cell], scores: dict[str, Scores]) -> list[Result]:
    """Ours on diffusers, as far as the same folder has it: a WebUI's numbers must lie within its intervals."""
    there = replace(evaluation, settings=replace(evaluation.settings, host=DIFFUSERS))
    ours = [cell for cell in cells if cell.mode == OURS and scores.get(there.key(cell))]
    results = results_of(ours, lambda cell: scores[there.key(cell)], {}, evaluation.settings.seed)
    return [replace(result, mode=ON_DIFFUSERS) for result in results if result.mode == OURS]


def write_sheets(evaluation: Evaluation, cells: Sequence[Cell]) -> list[Path]:
    """A contact sheet for each layout and number of subjects with a kept picture -> the files."""
    written = []
    for layout, subjects in dict.fromkeys(cell.place for cell in cells):
        columns = [cell for cell in cells if cell.place == (layout, subjects) and evaluation.picture(cell, 0).is_file()]
        if columns:
            written.append(evaluation.out / f"sheet-{layout}-{subjects}.png")
            _sheet(evaluation, columns).save(written[-1])
    return written


def _sheet(evaluation: Evaluation, columns: Sequence[Cell]) -> Image.Image:
    """Rows are scenes, columns modes, with the boxes as thin lines."""
    step, rows = _SHEET_SIDE + _SHEET_GAP, min(KEPT, max(cell.scenes for cell in columns))
    sheet = Image.new("RGB", (len(columns) * step, _SHEET_HEAD + rows * step), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for column, cell in enumerate(columns):
        draw.text((column * step + 2, 2), f"{cell.mode} {cell.adapter or ''}", fill="black", font=font)
        for number in range(rows):
            path, corner = evaluation.picture(cell, number), (column * step, _SHEET_HEAD + number * step)
            if path.is_file():
                with Image.open(path) as file:
                    picture = file.convert("RGB").resize((_SHEET_SIDE, _SHEET_SIDE), Image.Resampling.LANCZOS)
                task = make_task(cell.layout, cell.subjects, number, evaluation.settings.seed)
                for box, colour in zip(task.boxes, COLOURS * 2):
                    edges = [edge * _SHEET_SIDE for edge in (box.x0, box.y0, box.x1, box.y1)]
                    ImageDraw.Draw(picture).rectangle((edges[0], edges[1], edges[2] - 1, edges[3] - 1), outline=colour)
                sheet.paste(picture, corner)
    return sheet


def write_plots(folder: Path, results: Sequence[Result]) -> list[Path]:
    """by-layout.png, and by-subjects.png where the disjoint layout has several numbers of subjects -> the files."""
    plotted = [one for one in results if one.mode in MODES and one.metric in _PLOTTED and one.value is not None]
    plotted = [one for one in plotted if one.adapter in (None, BASE)]
    disjoint = [one for one in plotted if one.layout == "disjoint"]
    written = []
    if plotted:
        written.append(folder / "by-layout.png")
        _by_layout(plotted).savefig(written[-1])
    if len({one.subjects for one in disjoint}) > 1:
        written.append(folder / "by-subjects.png")
        _by_subjects(disjoint).savefig(written[-1])
    return written


def _by_layout(results: Sequence[Result]) -> Figure:
    """Bars with intervals; of the disjoint layout 3 subjects, where there are others too."""
    places = list(dict.fromkeys((one.layout, one.subjects) for one in results))
    places = [place for place in places if place[0] != "disjoint" or place[1] == 3] or places
    modes = [mode for mode in MODES if any(one.mode == mode for one in results)]
    width = 0.85 / len(modes)
    figure = Figure(figsize=(max(6.0, 1.6 * len(places) + 2), 7.0), layout="constrained")
    for axes, metric in zip(figure.subplots(len(_PLOTTED), 1, sharex=True), _PLOTTED):
        for number, mode in enumerate(modes):
            bars = [
                one for one in results if one.key[:3] in [(mode, *place) for place in places] and one.metric == metric
            ]
            middles = [
                places.index((one.layout, one.subjects)) + (number - (len(modes) - 1) / 2) * width for one in bars
            ]
            heights = [one.value or 0.0 for one in bars]
            axes.bar(middles, heights, width, yerr=_errors(bars), color=_INK[mode], label=mode, ecolor="#444444")
        axes.set_xticks(range(len(places)), [f"{layout}\nS = {subjects}" for layout, subjects in places], fontsize=8)
        _finish(axes, metric)
    figure.axes[0].legend(ncols=4, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _by_subjects(results: Sequence[Result]) -> Figure:
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(_PLOTTED)), _PLOTTED):
        for mode in MODES:
            points = sorted(
                (one for one in results if (one.mode, one.metric) == (mode, metric)), key=lambda one: one.subjects
            )
            numbers, values = [one.subjects for one in points], [one.value or 0.0 for one in points]
            if len(points) > 1:
                axes.errorbar(numbers, values, _errors(points), color=_INK[mode], marker=".", label=mode)
        axes.set_xlabel("subjects, disjoint boxes")
        _finish(axes, metric)
    figure.axes[0].legend(fontsize=7)
    return figure


def _finish(axes: Axes, metric: str) -> None:
    axes.set(ylabel=_PLOTTED[metric], ylim=(0, 1.02))


def _errors(results: Sequence[Result]) -> list[list[float]]:
    """How far the intervals reach down and up."""
    down = [max(0.0, (one.value or 0.0) - (one.low or 0.0)) for one in results]
    return [down, [max(0.0, (one.high or 0.0) - (one.value or 0.0)) for one in results]]

"""One evaluation from files to report: one or several processes make and score images, then the report is written.

Every scored image is a line of scores.jsonl, so an evaluation resumes where it was interrupted.
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

from PIL import Image, ImageDraw, ImageFont

from lib_anyms import __version__
from lib_anyms.lab.charts import write_plots
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
from lib_anyms.lab.evaluation.scenes import make_task
from lib_anyms.lab.evaluation.scoring import Judge, reasons_of
from lib_anyms.lab.evaluation.suites import MODES, OURS, REAL, SUITES, Cell, cells_of, with_adapter
from lib_anyms.standalone.drawing import draw_layout

RULES = 2  # increase when scenes or scores change their meaning: older scores are then ignored
SCORES, RESULTS, PICTURES = "scores.jsonl", "results.json", "pictures"
KEPT = 8  # images saved of each cell, the first ones
PICTURE_SECONDS = 2.0  # to make and score an image of the small world on one CPU core
_PROGRESS_SECONDS = 15.0  # between two progress lines
_SHEET_SIDE, _SHEET_GAP, _SHEET_HEAD = 192, 4, 16  # pixels

Say = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """The files and settings of an evaluation, and the folder it writes to."""

    files: Files
    settings: Settings
    out: Path
    processes: int = 1

    def key(self, cell: Cell) -> str:
        """A hash of all that decides a cell's images and scores: not the number of scenes, not the device."""
        files, settings = self.files.hashes(), self.settings
        used: dict[str, Any] = {"rules": RULES, "version": __version__, "cell": label(cell), "seed": settings.seed}
        roles = {"encoder", "clip", f"adapter-{cell.adapter}"}
        if cell.mode != REAL:
            roles.add("checkpoint")
            used |= {name: getattr(settings, name) for name in ("steps", "guidance", "scale", "fade", "host", "dtype")}
        used["files"] = {role: digits for role, digits in files.items() if role in roles}
        return hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()[:16]

    def picture(self, cell: Cell, number: int) -> Path:
        """The file of a saved image."""
        return self.out / PICTURES / f"{self.key(cell)}-{number}.png"


def label(cell: Cell) -> str:
    """A cell's name, without its number of scenes."""
    return " ".join((cell.mode, cell.layout, str(cell.subjects), *([cell.adapter] if cell.adapter else [])))


@dataclass(frozen=True)
class Record:
    """One image's values by metric; `key`: see Evaluation.key."""

    key: str
    cell: str
    scene: int
    values: dict[str, float]


def read_records(folder: Path) -> dict[str, Scores]:
    """All scores by key. Ignores a line that an interrupted process left incomplete."""
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
    """Add a line; first end an incomplete one."""
    with (folder / SCORES).open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(asdict(record)).encode() + b"\n")


class Worker:
    """Makes and scores images; loads the models when first needed."""

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
        """Make and score one image; saves the first few."""
        task = make_task(cell.layout, cell.subjects, number, self._evaluation.settings.seed)
        image = task.rendering() if cell.mode == REAL else self._painter.paint(task, cell.mode, cell.adapter)
        if number < KEPT:
            image.save(self._evaluation.picture(cell, number))
        return Record(self._evaluation.key(cell), label(cell), number, self._judge.score(image, task))


def score_cells(evaluation: Evaluation, cells: Sequence[Cell], say: Say) -> dict[str, Scores]:
    """Make the missing images of the cells -> all scores by key. An interrupt keeps the finished ones."""
    (evaluation.out / PICTURES).mkdir(parents=True, exist_ok=True)
    scores = read_records(evaluation.out)
    jobs = missing_jobs(evaluation, cells, scores)
    images = sum(cell.mode != REAL for cell, _ in jobs)
    processes = min(evaluation.processes, max(1, len(jobs)))
    minutes = images * PICTURE_SECONDS / processes / 60
    forecast = f"; with the small world on a CPU about {minutes:.0f} minutes" if minutes >= 1 else ""
    say(f"making {len(jobs) - images} renderings and {images} images in {processes} processes{forecast}")
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
    """The images without a score, scene by scene: so an interrupted evaluation has some of every cell."""
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

    for number in (signal.SIGINT, signal.SIGTERM):  # the parent process handles them and ends this one
        signal.signal(number, signal.SIG_IGN)
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    _worker = Worker(evaluation)


def _score(cell: Cell, number: int) -> Record:
    assert _worker is not None
    return _worker.score(cell, number)


@dataclass(frozen=True)
class Outcome:
    """All results, the checked bars, and the written files."""

    results: list[Result]
    bars: list[Checked]
    files: list[Path]


def evaluate(
    evaluation: Evaluation, suite: str, json_file: Path | None, say: Say, cells: Sequence[Cell] | None = None
) -> Outcome:
    """Make the missing images of the suite (or of `cells`), and write the report into the evaluation's folder.

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
    files = [path, *write_sheets(evaluation, cells), *write_plots(out, results)]
    return Outcome(results, check_bars(suite, results), files)


def possible_cells(evaluation: Evaluation, cells: Sequence[Cell], say: Say) -> list[Cell]:
    """The cells that these files and this host can make; names the others."""
    kinds = tuple(evaluation.files.adapters)
    possible = with_adapter(cells, kinds)
    if len(possible) < len(cells):
        say(f"left out: {len(cells) - len(possible)} cells of a missing adapter (present: {', '.join(kinds)})")
    if evaluation.settings.host == DIFFUSERS:
        return possible
    here = [cell for cell in possible if MODES[cell.mode].on_hosts]
    if len(here) < len(possible):
        names = dict.fromkeys(cell.mode for cell in possible if not MODES[cell.mode].on_hosts)
        say(f"left out: {', '.join(names)}, which a WebUI with AnyMS cannot make")
    return here


def _on_diffusers(evaluation: Evaluation, cells: Sequence[Cell], scores: dict[str, Scores]) -> list[Result]:
    """Our results on diffusers from the same folder, if any: a WebUI's numbers must lie within their intervals."""
    there = replace(evaluation, settings=replace(evaluation.settings, host=DIFFUSERS))
    ours = [cell for cell in cells if cell.mode == OURS and scores.get(there.key(cell))]
    results = results_of(ours, lambda cell: scores[there.key(cell)], {}, evaluation.settings.seed)
    return [replace(result, mode=ON_DIFFUSERS) for result in results if result.mode == OURS]


def write_sheets(evaluation: Evaluation, cells: Sequence[Cell]) -> list[Path]:
    """A contact sheet for each layout and number of subjects with a saved image -> the files."""
    written = []
    for layout, subjects in dict.fromkeys(cell.key for cell in cells):
        columns = [cell for cell in cells if cell.key == (layout, subjects) and evaluation.picture(cell, 0).is_file()]
        if columns:
            written.append(evaluation.out / f"sheet-{layout}-{subjects}.png")
            _sheet(evaluation, columns).save(written[-1])
    return written


def _sheet(evaluation: Evaluation, columns: Sequence[Cell]) -> Image.Image:
    """Lines are scenes, columns modes; every image shows its boxes."""
    step, lines = _SHEET_SIDE + _SHEET_GAP, min(KEPT, max(cell.scenes for cell in columns))
    sheet = Image.new("RGB", (len(columns) * step, _SHEET_HEAD + lines * step), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for column, cell in enumerate(columns):
        draw.text((column * step + 2, 2), f"{cell.mode} {cell.adapter or ''}", fill="black", font=font)
        for number in range(lines):
            path = evaluation.picture(cell, number)
            if path.is_file():
                with Image.open(path) as file:
                    image = file.convert("RGB").resize((_SHEET_SIDE, _SHEET_SIDE), Image.Resampling.LANCZOS)
                task = make_task(cell.layout, cell.subjects, number, evaluation.settings.seed)
                sheet.paste(draw_layout(image, task.layout), (column * step, _SHEET_HEAD + number * step))
    return sheet

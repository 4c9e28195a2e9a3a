"""Making and scoring the pictures: in this process, or shared out between several, each with one thread and its own pipeline."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

from lib_anyms.standalone.evaluation.cells import REAL, Cell
from lib_anyms.standalone.evaluation.files import Files
from lib_anyms.standalone.evaluation.painting import DIFFUSERS, DiffusersPainter, Painter, Settings
from lib_anyms.standalone.evaluation.records import Record, Scores, append, key_of, label, missing, read_records
from lib_anyms.standalone.evaluation.scenes import ask
from lib_anyms.standalone.evaluation.scoring import Judge
from lib_anyms.standalone.evaluation.webui import WebUIPainter

SHOWN = 4  # scenes of a cell whose pictures are kept
PICTURES = "pictures"
PICTURE_SECONDS = 4.0  # on one core of a CPU with the small world, scored; 3 to 7 were seen
_EVERY = 15.0  # seconds between two lines of progress

Say = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and where to."""

    files: Files
    settings: Settings
    out: Path
    processes: int = 1

    def key(self, cell: Cell) -> str:
        return key_of(cell, self.files, self.settings)


class Bench:
    """Makes and scores one picture after the other; loads what that takes when it is first needed."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    @cached_property
    def _painter(self) -> Painter:
        evaluation = self._evaluation
        kind = DiffusersPainter if evaluation.settings.host == DIFFUSERS else WebUIPainter
        return kind(evaluation.files, evaluation.settings)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self._evaluation.files)

    def score(self, cell: Cell, number: int) -> Record:
        """One picture; the first few are kept."""
        asked = ask(cell.layout, cell.subjects, number, self._evaluation.settings.seed)
        picture = asked.rendering() if cell.mode == REAL else self._painter.paint(asked, cell.mode, cell.adapter)
        key = self._evaluation.key(cell)
        if number < SHOWN:
            picture.save(picture_path(self._evaluation.out, key, number))
        return Record(key, label(cell), number, self._judge.score(picture, asked))


def picture_path(out: Path, key: str, number: int) -> Path:
    """Where a picture is kept."""
    return out / PICTURES / f"{key}-{number}.png"


def work(evaluation: Evaluation, cells: list[Cell], say: Say) -> dict[str, Scores]:
    """Make what is missing of the cells -> all scores by key. Interrupted, it leaves what is done."""
    (evaluation.out / PICTURES).mkdir(parents=True, exist_ok=True)
    told = read_records(evaluation.out)
    jobs = jobs_of(evaluation, cells, told)
    made = sum(cell.mode != REAL for cell, _ in jobs)
    processes = min(evaluation.processes, max(1, len(jobs)))
    say(f"{len(jobs) - made} renderings and {made} pictures to make in {processes} processes{_forecast(made, processes)}")
    began = said = time.monotonic()
    for count, record in enumerate(_scored(evaluation, jobs, processes), 1):
        append(evaluation.out, record)
        told.setdefault(record.key, {})[record.scene] = record.values
        now = time.monotonic()
        if now - said > _EVERY:
            said = now
            rest = (now - began) / count * (len(jobs) - count)
            say(f"{count} of {len(jobs)}, {(now - began) / 60:.1f} minutes, about {rest / 60:.0f} more")
    return told


def jobs_of(evaluation: Evaluation, cells: list[Cell], told: dict[str, Scores]) -> list[tuple[Cell, int]]:
    """What is still to be made, scene by scene, so that what is broken off has something of every cell."""
    jobs = [(cell, number) for cell in cells for number in missing(told.get(evaluation.key(cell), ()), cell.scenes)]
    return sorted(jobs, key=lambda job: job[1])


def _forecast(made: int, processes: int) -> str:
    minutes = made * PICTURE_SECONDS / processes / 60
    return f"; with the small world on a CPU about {minutes:.0f} minutes" if minutes >= 1 else ""


def _scored(evaluation: Evaluation, jobs: list[tuple[Cell, int]], processes: int) -> Iterator[Record]:
    if processes <= 1:
        bench = Bench(evaluation)
        yield from (bench.score(cell, number) for cell, number in jobs)
        return
    executor = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (evaluation,))
    try:
        for done in as_completed([executor.submit(_score, cell, number) for cell, number in jobs]):
            yield done.result()
    finally:
        executor.shutdown(cancel_futures=True)


_bench: Bench | None = None  # of a process of its own


def _begin(evaluation: Evaluation) -> None:
    global _bench
    import torch

    for ending in (signal.SIGINT, signal.SIGTERM):  # meant for the process that shares the work out: it ends this one
        signal.signal(ending, signal.SIG_IGN)
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    _bench = Bench(evaluation)


def _score(cell: Cell, number: int) -> Record:
    assert _bench is not None
    return _bench.score(cell, number)

"""Every scored picture as a line of a file, so that an evaluation goes on where it was broken off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib_anyms import __version__
from lib_anyms.standalone.evaluation.cells import REAL, Cell
from lib_anyms.standalone.evaluation.files import Files
from lib_anyms.standalone.evaluation.painting import Settings
from lib_anyms.standalone.evaluation.statistics import Values

RULES = 1  # raised when scenes or scores change their meaning: what was scored before is then made again
SCORES = "scores.jsonl"

Scores = dict[int, dict[str, float]]  # scene number -> metric -> value


@dataclass(frozen=True)
class Record:
    """One picture's values by metric; `key` is that of its cell, files and settings."""

    key: str
    cell: str
    scene: int
    values: dict[str, float]


def key_of(cell: Cell, files: Files, settings: Settings) -> str:
    """What decides a cell's pictures and scores, as 16 digits; the number of scenes and the device do not."""
    used: dict[str, Any] = {"rules": RULES, "version": __version__, "cell": label(cell), "seed": settings.seed}
    hashes = files.hashes(cell.adapter) if cell.adapter else {n: h for n, h in files.hashes().items() if "adapter" not in n}
    if cell.mode == REAL:
        del hashes["checkpoint"]
    else:
        used |= {name: getattr(settings, name) for name in ("steps", "guidance", "scale", "host", "dtype")}
    return hashlib.sha256(json.dumps({**used, "files": hashes}, sort_keys=True).encode()).hexdigest()[:16]


def label(cell: Cell) -> str:
    """A cell in words, without its number of scenes."""
    return " ".join((cell.mode, cell.layout, str(cell.subjects), *([cell.adapter] if cell.adapter else [])))


def read_records(folder: Path) -> dict[str, Scores]:
    """By key what is there; a line that was cut off when the process ended is passed over."""
    told: dict[str, Scores] = {}
    path = folder / SCORES
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError):
            continue
        told.setdefault(record.key, {})[record.scene] = record.values
    return told


def append(folder: Path, record: Record) -> None:
    """Add a line; one that was cut off before stays a line of its own."""
    with (folder / SCORES).open("a+b") as file:
        cut = file.tell() > 0 and _last_byte(file) != b"\n"
        file.write(b"\n" * cut + json.dumps(asdict(record)).encode() + b"\n")


def values_of(scores: Scores, metric: str, scenes: int) -> Values:
    """A metric's value in each of the first `scenes` scenes that has one."""
    return {number: told[metric] for number, told in scores.items() if metric in told and number < scenes}


def missing(scores: Iterable[int], scenes: int) -> list[int]:
    """The scenes that are still to be made."""
    return [number for number in range(scenes) if number not in set(scores)]


def _last_byte(file: Any) -> bytes:
    file.seek(-1, 2)
    last = file.read(1)
    file.seek(0, 2)
    return bytes(last)

"""What an evaluation found, to read and to keep: two printed tables and a JSON file."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lib_anyms import __version__
from lib_anyms.standalone.evaluation.cells import OURS
from lib_anyms.standalone.evaluation.metrics import METRICS
from lib_anyms.standalone.evaluation.results import Row

WIDTH = 130
_NARROW, _WIDE = 5, 17  # columns of a value; of a difference with its interval
_LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")
# Heading -> metric; of the first kind the interval and the share are printed too, of the second the value alone.
_WITH_INTERVAL = {"identity": "identity", "mIoU": "miou"}
_ALONE = {
    "top": "identity_top",
    "AP50": "ap50",
    "leak": "leakage",
    "miss": "missing",
    "in": "ground_inside",
    "back": "background",
    "cnt": "count",
    "C-I": "clip_i",
    "C-T": "clip_t",
}
_DIFFERENCES = {"identity": "identity", "top": "identity_top", "mIoU": "miou", "leak": "leakage", "back": "background"}
Place = tuple[str, int, str, str]  # layout, subjects, mode, adapter


def versions(hashes: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    """What made the numbers."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"anyms": __version__, "python": platform.python_version(), **libraries, "files": hashes, "settings": settings}


def write_json(path: Path, suite: str, made_by: dict[str, Any], seconds: float, rows: list[Row]) -> None:
    """{suite, versions, seconds, rows}."""
    told = {"suite": suite, "versions": made_by, "seconds": round(seconds, 1), "rows": [row.to_json() for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def table(rows: list[Row]) -> Iterator[str]:
    """The cells' values, then the differences; no line is longer than WIDTH."""
    cells = _by_place(row for row in rows if " minus " not in row.mode)
    wide = [f"{heading + ' share':>21}" for heading in _WITH_INTERVAL]
    yield _line("layout", "S", "mode", "adapt", "n", *wide, *(f"{heading:>{_NARROW}}" for heading in _ALONE))
    for place, found in cells.items():
        values = [_value(found.get(metric)) for metric in _ALONE.values()]
        with_interval = [_shared(found.get(metric)) for metric in _WITH_INTERVAL.values()]
        yield _line(*_words(place), _count(found), *with_interval, *values)
    yield "share: of real renderings'; top: identity of the topmost; in, back: right ground in the boxes, in all; C-I, C-T: CLIP"
    for reason in dict.fromkeys(row.reason for row in rows if row.reason):
        names = list(dict.fromkeys(row.metric for row in rows if row.reason == reason))
        yield f"not measured: {', '.join(names)}: {reason}"[:WIDTH]
    differences = _by_place(row for row in rows if " minus " in row.mode)
    if differences:
        yield ""
        yield f"{OURS} minus the mode named, on the same scenes; 95 % intervals"
        yield _line("layout", "S", "mode", "adapt", "n", *(f"{heading:>{_WIDE}}" for heading in _DIFFERENCES))
    for (layout, subjects, mode, adapter), found in differences.items():
        words = _words((layout, subjects, mode.partition(" minus ")[2], adapter))
        yield _line(*words, _count(found), *(_changed(found.get(metric)) for metric in _DIFFERENCES.values()))


def _by_place(rows: Iterable[Row]) -> dict[Place, dict[str, Row]]:
    told: dict[Place, dict[str, Row]] = {}
    for row in rows:
        told.setdefault((row.layout, row.subjects, row.mode, row.adapter or ""), {})[row.metric] = row
    return told


def _words(place: Place) -> tuple[str, str, str, str]:
    layout, subjects, mode, adapter = place
    return layout, str(subjects), mode, adapter


def _line(layout: str, subjects: str, mode: str, adapter: str, count: str, *values: str) -> str:
    return f"{layout:<13}{subjects:>3} {mode:<15.15} {adapter:<5}{count:>4}{''.join(values)}"


def _count(found: dict[str, Row]) -> str:
    return str(max(row.n for row in found.values()))


def _value(row: Row | None) -> str:
    return f"{'' if row is None or row.value is None else _short(row.value):>{_NARROW}}"


def _shared(row: Row | None) -> str:
    """Value, interval and share."""
    if row is None or row.value is None or row.low is None or row.high is None:
        return " " * 21
    share = "" if row.share is None else _short(row.share)
    return f"{_short(row.value):>6} {_short(row.low):>4}-{_short(row.high):<4}{share:>5}"


def _changed(row: Row | None) -> str:
    """A difference and its interval."""
    if row is None or row.value is None or row.low is None or row.high is None:
        return " " * _WIDE
    return f"{_short(row.value, '+')} ({_short(row.low, '+')} {_short(row.high, '+')})".rjust(_WIDE)


def _short(value: float, sign: str = "") -> str:
    """Two digits, without the nought before them."""
    text = format(value, f"{sign}.2f")
    return text.replace("0.", ".", 1)


assert set(_WITH_INTERVAL.values()) | set(_ALONE.values()) | set(_DIFFERENCES.values()) <= set(METRICS)

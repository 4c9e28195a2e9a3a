"""What is compared: modes, and the suites as tables of cells. Standard library only; the layouts are drawn in scenes.py.

A cell is one mode on the scenes of one layout and number of subjects. All modes get the same scenes, so their differences are
paired. Suites vary one thing at a time around disjoint boxes, 3 subjects and the 4-token adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

REAL, TEXT, OURS, PEER = "real", "text-only", "crop-merge", "diffusers-masks"
GLOBALS = ("global-sum", "global-mean", "one-softmax")
BASE, PLUS = "base", "plus"  # 4 and 16 tokens


@dataclass(frozen=True)
class Mode:
    """How a picture is made. `stream`: AnyMS's mode, "" without AnyMS; `adapter`: whether reference pictures take part."""

    help: str
    stream: str = ""
    adapter: bool = True
    on_hosts: bool = True  # a WebUI with AnyMS can make it


MODES = {
    REAL: Mode("the scene as the world draws it: the ceiling", adapter=False),
    TEXT: Mode("the prompt alone, AnyMS off", "off", adapter=False),
    "global-sum": Mode("every subject over the whole picture, summed", "global-sum"),
    "global-mean": Mode("the same, averaged", "global-mean"),
    "one-softmax": Mode("all subjects' tokens in one softmax over the whole picture", "one-softmax"),
    "masked-sum": Mode("every subject cut to its box, summed where boxes overlap", "masked-sum"),
    PEER: Mode("diffusers' own IP-Adapter, with its masks where there are several boxes", on_hosts=False),
    OURS: Mode("AnyMS", "crop-merge"),
}


@dataclass(frozen=True)
class Cell:
    """`scenes` pictures of one mode; `adapter` is None where none takes part."""

    mode: str
    layout: str
    subjects: int
    adapter: str | None
    scenes: int

    @property
    def place(self) -> tuple[str, int]:
        """What shares its scenes."""
        return self.layout, self.subjects


@dataclass(frozen=True)
class Group:
    """Cells of some numbers of subjects in one layout: how many scenes each mode gets."""

    layout: str
    subjects: tuple[int, ...]
    scenes: Mapping[str, int]
    adapters: tuple[str, ...] = (BASE,)


def _each(modes: tuple[str, ...], scenes: int) -> dict[str, int]:
    return dict.fromkeys(modes, scenes)


_FEW, _SOME, _MANY = 24, 50, 200  # _MANY where a bar is asked for
_OVERLAPPED = {OURS: _SOME, "masked-sum": _SOME, **_each((TEXT, "one-softmax", PEER), _FEW)}

_SINGLE = (Group("single", (1,), {OURS: _MANY, TEXT: _SOME, PEER: _SOME}),)
_DISJOINT = (
    Group("disjoint", (2, 3, 4), {**_each((OURS, TEXT, *GLOBALS), _MANY), **_each(("masked-sum", PEER), _FEW)}),
    Group("disjoint", (3,), _each(("masked-sum", PEER), _SOME)),
)
_PRIORITY = (Group("overlap-30", (3,), {**_OVERLAPPED, **_each((OURS, "masked-sum"), _MANY)}),)
_ADAPTERS = (
    Group("single", (1,), {OURS: _SOME}, (BASE, PLUS)),
    Group("disjoint", (3,), {**_each((OURS, TEXT), _SOME), "one-softmax": _FEW}, (BASE, PLUS)),
    Group("overlap-30", (3,), _each((OURS, "masked-sum"), _FEW), (BASE, PLUS)),
    Group("unseen-shape", (3,), {OURS: _SOME, TEXT: _FEW}, (BASE, PLUS)),
    Group("unseen-colour", (3,), {OURS: _SOME, TEXT: _FEW}, (BASE, PLUS)),
)
_OVERLAP = (
    Group("overlap-10", (3,), _OVERLAPPED),
    Group("overlap-30", (3,), _OVERLAPPED),
    Group("overlap-50", (3,), _OVERLAPPED),
    Group("nested", (3,), _OVERLAPPED),
    Group("touching", (3,), {OURS: _SOME, **_each((TEXT, "one-softmax", "masked-sum"), _FEW)}),
    Group("jittered", (3,), {OURS: _SOME, "one-softmax": _FEW}),
)
_SCALING = (
    Group("disjoint", (1, 12), {OURS: _SOME, TEXT: _FEW}),
    Group("disjoint", (2, 3, 4), {OURS: _SOME, **_each((TEXT, *GLOBALS), _FEW)}),
    Group("disjoint", (7,), {OURS: _MANY, TEXT: _SOME}),
    Group("disjoint", (7, 12), _each((*GLOBALS, PEER), _FEW)),
)
_QUICK = (
    Group("disjoint", (3,), _each((OURS, TEXT, *GLOBALS), 21)),
    Group("overlap-30", (3,), _each((OURS, "masked-sum"), 12)),
    Group("single", (1,), {OURS: 10}),
    Group("unseen-shape", (1,), _each((OURS, TEXT), 10)),
)
_HOSTS = tuple(replace(group, scenes={OURS: group.scenes[OURS]}) for group in _QUICK)  # AnyMS's cells of it
QUICK, FULL, HOSTS = "quick", "full", "hosts"
SUITES: dict[str, tuple[Group, ...]] = {
    QUICK: _QUICK,
    HOSTS: _HOSTS,
    FULL: (*_SINGLE, *_DISJOINT, *_PRIORITY, *_ADAPTERS, *_OVERLAP, *_SCALING),
    "single": _SINGLE,
    "disjoint": _DISJOINT,
    "priority": _PRIORITY,
    "adapters": _ADAPTERS,
    "overlap": _OVERLAP,
    "scaling": _SCALING,
}


def cells_of(groups: tuple[Group, ...]) -> list[Cell]:
    """The cells of a suite, each once with the most scenes any group asks for, and real renderings of all their scenes."""
    most: dict[tuple[str, int, str, str | None], int] = {}
    for group in groups:
        for subjects in group.subjects:
            for mode, scenes in group.scenes.items():
                for adapter in group.adapters if MODES[mode].adapter else (None,):
                    _raise(most, (group.layout, subjects, mode, adapter), scenes)
                _raise(most, (group.layout, subjects, REAL, None), scenes)
    cells = [Cell(mode, layout, subjects, adapter, scenes) for (layout, subjects, mode, adapter), scenes in most.items()]
    order = list(MODES)
    places = list(dict.fromkeys(cell.place for cell in cells))
    return sorted(cells, key=lambda cell: (places.index(cell.place), order.index(cell.mode), cell.adapter or ""))


def with_adapter(cells: list[Cell], kinds: tuple[str, ...]) -> list[Cell]:
    """The cells that adapters of these kinds can make; where there is no 4-token one, the other takes its place."""
    if BASE in kinds:
        return [cell for cell in cells if cell.adapter is None or cell.adapter in kinds]
    kept = [cell for cell in cells if cell.adapter in (None, BASE)]
    return [cell if cell.adapter is None else replace(cell, adapter=kinds[0]) for cell in kept]


def _raise(most: dict[tuple[str, int, str, str | None], int], key: tuple[str, int, str, str | None], scenes: int) -> None:
    most[key] = max(scenes, most.get(key, 0))

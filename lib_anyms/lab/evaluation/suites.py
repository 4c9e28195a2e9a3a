"""The comparison: modes, cells and suites.

A cell is one mode on the scenes of one layout and number of subjects. All modes get the same scenes, so their
differences are paired. Suites vary one thing at a time around disjoint boxes, 3 subjects and the 4-token adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lib_anyms.standalone import default_scene

REAL, TEXT, OURS, PEER = "real", "text-only", "crop-merge", "diffusers-masks"
WORDS, BACKGROUND = "words", "background"
GLOBALS = ("global-sum", "global-mean", "one-softmax")
BASE, PLUS = "base", "plus"  # adapters of 4 and 16 tokens
QUICK, HOSTS, FULL, DEMO = "quick", "hosts", "full", "demo"

DEMO_SEEDS = 24


@dataclass(frozen=True)
class Mode:
    """How an image is made. stream: AnyMS's mode, "" without AnyMS. adapter: whether reference images take part."""

    help: str
    stream: str = ""
    adapter: bool = True
    on_hosts: bool = True  # a WebUI with AnyMS can make it
    words: float = 0.0  # share of local text: each subject's own prompt in its box
    elsewhere: str = ""  # "background": the background's words outside the boxes; "auto"; "" for the main prompt
    joined: bool = False  # the main prompt stands before each of these, in one softmax


MODES = {
    REAL: Mode("the scene as the world draws it: the ceiling", adapter=False),
    TEXT: Mode("the prompt alone, AnyMS off", "off", adapter=False),
    "global-sum": Mode("every subject over the whole image, summed", "global-sum"),
    "global-mean": Mode("the same, averaged", "global-mean"),
    "one-softmax": Mode("all subjects' tokens in one softmax over the whole image", "one-softmax"),
    "masked-sum": Mode("every subject masked to its box, summed where boxes overlap", "masked-sum"),
    PEER: Mode("diffusers' own IP-Adapter, with its masks where there are several boxes", on_hosts=False),
    OURS: Mode("AnyMS", "crop-merge"),
    WORDS: Mode("AnyMS, each subject's own prompt in its box, background elsewhere", OURS, True, True, 1, BACKGROUND),
    "words-auto": Mode("the same, elsewhere the main prompt without the subjects", OURS, True, True, 1, "auto"),
    "words-half": Mode("the same as words, with half of the text stream", OURS, True, True, 0.5, BACKGROUND),
    "words-inside": Mode("own prompts in the boxes, the main prompt elsewhere", OURS, True, True, 1),
    "words-joined": Mode(
        "the same as words, each in one softmax with the main prompt", OURS, True, True, 1, BACKGROUND, joined=True
    ),
    "words-only": Mode("the local text of words, and no image stream", OURS, False, True, 1, BACKGROUND),
}


CellKey = tuple[str, int]  # layout, number of subjects


@dataclass(frozen=True)
class Cell:
    """`scenes` images of one mode; `adapter` is None where none takes part."""

    mode: str
    layout: str
    subjects: int
    adapter: str | None
    scenes: int

    @property
    def key(self) -> CellKey:
        """Cells of one key have the same scenes."""
        return self.layout, self.subjects


@dataclass(frozen=True)
class SuiteRow:
    """One layout with several numbers of subjects: how many scenes each mode gets."""

    layout: str
    subjects: tuple[int, ...]
    scenes: Mapping[str, int]
    adapters: tuple[str, ...] = (BASE,)

    def cells(self) -> Iterator[Cell]:
        """With real renderings of all scenes."""
        for subjects in self.subjects:
            yield Cell(REAL, self.layout, subjects, None, max(self.scenes.values()))
            for mode, scenes in self.scenes.items():
                for adapter in self.adapters if MODES[mode].adapter else (None,):
                    yield Cell(mode, self.layout, subjects, adapter, scenes)


def _each(modes: tuple[str, ...], scenes: int) -> dict[str, int]:
    """The same number of scenes for each mode."""
    return dict.fromkeys(modes, scenes)


_FEW, _SOME, _MANY = 24, 48, 96  # _MANY where a bar is a paired difference
_OVERLAPPED = {OURS: _SOME, "masked-sum": _SOME, **_each((TEXT, "one-softmax", PEER), _FEW)}
_SINGLE = (SuiteRow("single", (1,), {OURS: _MANY, TEXT: _SOME, PEER: _SOME}),)
_DISJOINT = (
    SuiteRow("disjoint", (2, 3, 4), {**_each((OURS, TEXT, *GLOBALS), _MANY), **_each(("masked-sum", PEER), _FEW)}),
    SuiteRow("disjoint", (3,), _each(("masked-sum", PEER), _SOME)),
)
_PRIORITY = (SuiteRow("overlap-30", (3,), {**_OVERLAPPED, **_each((OURS, "masked-sum"), _MANY)}),)
_ADAPTERS = (
    SuiteRow("single", (1,), {OURS: _SOME}, (BASE, PLUS)),
    SuiteRow("disjoint", (3,), {**_each((OURS, TEXT), _SOME), "one-softmax": _FEW}, (BASE, PLUS)),
    SuiteRow("overlap-30", (3,), _each((OURS, "masked-sum"), _FEW), (BASE, PLUS)),
    SuiteRow("unseen-shape", (3,), {OURS: _SOME, TEXT: _FEW}, (BASE, PLUS)),
    SuiteRow("unseen-colour", (3,), {OURS: _SOME, TEXT: _FEW}, (BASE, PLUS)),
)
_OVERLAP = (
    SuiteRow("overlap-10", (3,), _OVERLAPPED),
    SuiteRow("overlap-30", (3,), _OVERLAPPED),
    SuiteRow("overlap-50", (3,), _OVERLAPPED),
    SuiteRow("nested", (2,), _OVERLAPPED),
    SuiteRow("touching", (3,), {OURS: _SOME, **_each((TEXT, "one-softmax", "masked-sum"), _FEW)}),
    SuiteRow("jittered", (3,), {OURS: _SOME, "one-softmax": _FEW}),
)
_SCALING = (
    SuiteRow("disjoint", (1, 12), {OURS: _SOME, TEXT: _FEW}),
    SuiteRow("disjoint", (2, 3, 4), {OURS: _SOME, **_each((TEXT, *GLOBALS), _FEW)}),
    SuiteRow("disjoint", (7,), {OURS: _SOME, TEXT: _SOME}),
    SuiteRow("disjoint", (7, 12), _each((*GLOBALS, PEER), _FEW)),
)
_LOCAL_TEXT = (SuiteRow("disjoint", (1, 3), _each((OURS, TEXT, *(name for name in MODES if MODES[name].words)), _FEW)),)
_DEMO = (SuiteRow(DEMO, (len(default_scene.IDENTITIES),), {OURS: DEMO_SEEDS}),)
_QUICK = (
    SuiteRow("disjoint", (3,), _each((OURS, TEXT, *GLOBALS), 12)),
    SuiteRow("overlap-30", (3,), _each((OURS, "masked-sum"), 5)),  # no gate: few scenes show whether it works
    SuiteRow("single", (1,), {OURS: 4}),
    SuiteRow("unseen-shape", (1,), _each((OURS, TEXT), 7)),
)
SUITES: dict[str, tuple[SuiteRow, ...]] = {
    QUICK: _QUICK,
    # Only ours: a WebUI makes one image at a time.
    HOSTS: tuple(replace(row, scenes={OURS: row.scenes[OURS]}) for row in _QUICK),
    FULL: (*_SINGLE, *_DISJOINT, *_PRIORITY, *_ADAPTERS, *_OVERLAP, *_SCALING, *_LOCAL_TEXT, *_DEMO),
    "single": _SINGLE,
    "disjoint": _DISJOINT,
    "priority": _PRIORITY,
    "adapters": _ADAPTERS,
    "overlap": _OVERLAP,
    "scaling": _SCALING,
    WORDS: _LOCAL_TEXT,
    DEMO: _DEMO,
}


def cells_of(rows: Sequence[SuiteRow]) -> list[Cell]:
    """The cells of a suite, each once, with the most scenes that any row has for it."""
    most: dict[Cell, int] = {}
    for row in rows:
        for cell in row.cells():
            unsized = replace(cell, scenes=0)
            most[unsized] = max(cell.scenes, most.get(unsized, 0))
    order = list(MODES)
    keys = list(dict.fromkeys(cell.key for cell in most))
    cells = [replace(cell, scenes=scenes) for cell, scenes in most.items()]
    return sorted(cells, key=lambda cell: (keys.index(cell.key), order.index(cell.mode), cell.adapter or ""))


def with_adapter(cells: Sequence[Cell], kinds: Sequence[str]) -> list[Cell]:
    """The cells that adapters of these kinds can make. Without a 4-token one, the other replaces it."""
    if BASE in kinds:
        return [cell for cell in cells if cell.adapter is None or cell.adapter in kinds]
    base = [cell for cell in cells if cell.adapter in (None, BASE)]
    return [replace(cell, adapter=kinds[0]) if cell.adapter else cell for cell in base]

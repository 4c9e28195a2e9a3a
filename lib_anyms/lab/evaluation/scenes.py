"""What is compared: modes, layouts and suites; and the scenes of each layout.

A cell is one mode on the scenes of one layout and number of subjects. All modes get the same scenes, so their
differences are paired. Suites vary one thing at a time around disjoint boxes, 3 subjects and the 4-token adapter. All
identities are held out of every training; the unseen layouts have shapes or colours that no training picture shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from PIL import Image

from lib_anyms.job.request import Pictures, Request
from lib_anyms.lab.world.captions import ANYTHING, prompt
from lib_anyms.lab.world.draw import draw, draw_reference, to_image
from lib_anyms.lab.world.identity import SHAPES, UNSEEN_SHAPES, Identity, held_out_identity, unseen_identity
from lib_anyms.lab.world.scene import (
    EDGE,
    GROUNDS,
    RADII,
    Figure,
    Scene,
    common_area,
    place_anywhere,
    place_apart,
    pose,
)
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject
from lib_anyms.standalone import default_scene

REAL, TEXT, OURS, PEER = "real", "text-only", "crop-merge", "diffusers-masks"
GLOBALS = ("global-sum", "global-mean", "one-softmax")
BASE, PLUS = "base", "plus"  # adapters of 4 and 16 tokens
QUICK, HOSTS, FULL, DEMO = "quick", "hosts", "full", "demo"

_TRIES = 60
_JITTER = 0.05  # of the picture, for each edge of a box
_REFERENCE_SIDE = 128  # pixels
_DEMO_SUBJECTS, DEMO_SEEDS = len(default_scene.IDENTITIES), 24


@dataclass(frozen=True)
class Mode:
    """How a picture is made. stream: AnyMS's mode, "" without AnyMS. adapter: whether reference pictures take part."""

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
        """Cells of one place have the same scenes."""
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
_DEMO = (SuiteRow(DEMO, (_DEMO_SUBJECTS,), {OURS: DEMO_SEEDS}),)
_QUICK = (
    SuiteRow("disjoint", (3,), _each((OURS, TEXT, *GLOBALS), 18)),
    SuiteRow("overlap-30", (3,), _each((OURS, "masked-sum"), 10)),
    SuiteRow("single", (1,), {OURS: 8}),
    SuiteRow("unseen-shape", (1,), _each((OURS, TEXT), 7)),
)
SUITES: dict[str, tuple[SuiteRow, ...]] = {
    QUICK: _QUICK,
    HOSTS: tuple(
        replace(row, scenes={OURS: row.scenes[OURS]}) for row in _QUICK
    ),  # a WebUI makes one picture at a time
    FULL: (*_SINGLE, *_DISJOINT, *_PRIORITY, *_ADAPTERS, *_OVERLAP, *_SCALING, *_DEMO),
    "single": _SINGLE,
    "disjoint": _DISJOINT,
    "priority": _PRIORITY,
    "adapters": _ADAPTERS,
    "overlap": _OVERLAP,
    "scaling": _SCALING,
    DEMO: _DEMO,
}


def cells_of(rows: Sequence[SuiteRow]) -> list[Cell]:
    """The cells of a suite, each once, with the most scenes that any row has for it."""
    most: dict[Cell, int] = {}
    for row in rows:
        for cell in row.cells():
            key = replace(cell, scenes=0)
            most[key] = max(cell.scenes, most.get(key, 0))
    order = list(MODES)
    places = list(dict.fromkeys(cell.place for cell in most))
    cells = [replace(cell, scenes=scenes) for cell, scenes in most.items()]
    return sorted(cells, key=lambda cell: (places.index(cell.place), order.index(cell.mode), cell.adapter or ""))


def with_adapter(cells: Sequence[Cell], kinds: Sequence[str]) -> list[Cell]:
    """The cells that adapters of these kinds can make. Without a 4-token one, the other takes its place."""
    if BASE in kinds:
        return [cell for cell in cells if cell.adapter is None or cell.adapter in kinds]
    base = [cell for cell in cells if cell.adapter in (None, BASE)]
    return [replace(cell, adapter=kinds[0]) if cell.adapter else cell for cell in base]


Figures = tuple[Figure, ...]
Placing = Callable[[Figures, Random], "Figures | None"]  # None: these figures do not fit, draw others


@dataclass(frozen=True)
class Task:
    """A scene, and what a model gets of it: the prompt, each figure's box and reference picture, and the seed of the
    noise.

    anywhere: the box is the whole picture, so the figure may stand at any place.
    """

    scene: Scene
    layout: Layout
    prompt: str
    number: int
    noise: int
    anywhere: bool = False
    demo: bool = False

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes that the model gets."""
        return tuple(subject.box for subject in self.layout.subjects)

    def references(self) -> Pictures:
        """One picture of each figure alone, in another pose, on white or light grey."""
        if self.demo:
            return default_scene.pictures()
        pictures = []
        for place, figure in enumerate(self.scene.figures):
            random = Random(f"reference {self.noise} {place}")
            pictures.append((to_image(draw_reference(figure.identity, random, _REFERENCE_SIDE)),))
        return tuple(pictures)

    def request(self, stream: str, scale: float) -> Request:
        """AnyMS's request in its mode `stream`."""
        return Request(self.layout, self.references(), mode=stream, scale=scale)

    def rendering(self, side: int = 256) -> Image.Image:
        """The scene as the world draws it, `side` pixels wide."""
        return to_image(draw(self.scene, side))


@dataclass(frozen=True)
class LayoutKind:
    """How figures are placed. first, others: radii in latent cells, where not by the number of figures.

    like: the layout whose scenes these are. jitter: how far each edge of the model's boxes is off, as a share of the
    picture.
    """

    placing: Placing
    help: str
    first: tuple[float, float] | None = None
    others: tuple[float, float] | None = None
    unseen: str = ""  # "shape" or "colour"
    like: str = ""
    jitter: float = 0.0
    anywhere: bool = False


def make_task(layout: str, subjects: int, number: int, seed: int = 0) -> Task:
    """Scene `number` of a layout; the arguments decide it, so that it is the same for every mode."""
    if layout == DEMO:
        return _demo_task(number, seed)
    kind = LAYOUTS[layout]
    random = Random(f"{seed} {kind.like or layout} {subjects} {number}")
    noise = random.getrandbits(31)
    figures = None
    while figures is None:
        figures = kind.placing(_posed(kind, subjects, random), random)
    scene = Scene(random.choice(GROUNDS), figures)
    names = [ANYTHING if figure.identity.shape in UNSEEN_SHAPES else figure.identity.shape for figure in figures]
    boxes = [Box(0, 0, 1, 1) if kind.anywhere else _jittered(figure.box, kind.jitter, random) for figure in figures]
    placed = Layout(tuple(Subject(name, box) for name, box in zip(names, boxes)))
    return Task(scene, placed, prompt(names, scene.ground), number, noise, kind.anywhere)


def _demo_task(number: int, seed: int) -> Task:
    """The scene of `demo` with noise number `number`, its own seed left out."""
    noise = seed * DEMO_SEEDS + number
    noise += noise >= default_scene.SEED
    boxes = [subject.box for subject in default_scene.LAYOUT.subjects]
    figures = tuple(_filling(Identity(*words), box) for words, box in zip(default_scene.IDENTITIES, boxes))
    return Task(
        Scene(default_scene.GROUND, figures), default_scene.LAYOUT, default_scene.PROMPT, number, noise, demo=True
    )


def _filling(identity: Identity, box: Box) -> Figure:
    """An upright figure as large as the box allows, in its middle."""
    width, height = Figure(identity, radius=1.0).size
    radius = min((box.x1 - box.x0) / width, (box.y1 - box.y0) / height)
    left, top = (box.x0 + box.x1 - width * radius) / 2, (box.y0 + box.y1 - height * radius) / 2
    return Figure(identity, radius=radius).moved_to(left, top)


def _posed(kind: LayoutKind, count: int, random: Random) -> Figures:
    """Figures with pose and size, not placed yet; of different shapes as far as there are enough."""
    shapes: list[str] = []
    figures: list[Figure] = []
    known = len(UNSEEN_SHAPES if kind.unseen == "shape" else SHAPES)
    while len(figures) < count:
        identity = unseen_identity(random, kind.unseen) if kind.unseen else held_out_identity(random)
        if shapes.count(identity.shape) <= len(shapes) // known:
            radii = (kind.others if figures else kind.first) or RADII[count]
            shapes.append(identity.shape)
            figures.append(pose(identity, radii, random))
    return tuple(figures)


def _touching(figures: Figures, random: Random) -> Figures | None:
    """Each but the first shares an edge with one before it, and area with none."""
    return _built(
        figures, random, lambda figure, placed: _beside(figure, random.choice(placed).box, random), apart_from=0
    )


def _overlapping(share: float) -> Placing:
    """All lie on the first and cover that share of the smaller box, and nothing of each other."""

    def placing(figures: Figures, random: Random) -> Figures | None:
        return _built(figures, random, lambda figure, placed: _over(figure, placed[0].box, share, random), apart_from=1)

    return placing


def _nested(figures: Figures, random: Random) -> Figures | None:
    """All lie wholly inside the first one's box."""

    def inside(figure: Figure, placed: list[Figure]) -> Figure | None:
        (width, height), outer = figure.size, placed[0].box
        right, bottom = outer.x1 - width, outer.y1 - height
        if right < outer.x0 or bottom < outer.y0:
            return None
        return figure.moved_to(random.uniform(outer.x0, right), random.uniform(outer.y0, bottom))

    return _built(figures, random, inside, apart_from=1)


def _built(
    figures: Figures, random: Random, put: Callable[[Figure, list[Figure]], Figure | None], apart_from: int
) -> Figures | None:
    """The first figure anywhere, each other one where `put` moves it, apart from the placed ones from number
    `apart_from` on.
    """
    placed = [place_anywhere(figures[0], random)]
    for figure in figures[1:]:
        for _ in range(_TRIES):
            moved = put(figure, placed)
            if (
                moved
                and _is_inside(moved)
                and all(overlap(moved.box, other.box) < 1e-6 for other in placed[apart_from:])
            ):
                placed.append(moved)
                break
        else:
            return None
    return tuple(placed)


def _beside(figure: Figure, box: Box, random: Random) -> Figure:
    """At one of the box's four edges, along at least a third of the shorter of the two."""
    width, height = figure.size
    least_x, least_y = min(width, box.x1 - box.x0) / 3, min(height, box.y1 - box.y0) / 3
    x = random.uniform(box.x0 - width + least_x, box.x1 - least_x)
    y = random.uniform(box.y0 - height + least_y, box.y1 - least_y)
    return figure.moved_to(*random.choice(((box.x1, y), (box.x0 - width, y), (x, box.y1), (x, box.y0 - height))))


def _over(figure: Figure, box: Box, share: float, random: Random) -> Figure | None:
    """Across a corner or an edge of the box, with that share of the smaller box in common."""
    width, height = figure.size
    widest, highest = min(width, box.x1 - box.x0), min(height, box.y1 - box.y0)
    area = share * min(width * height, box.area)
    if area > widest * highest:
        return None
    down = random.uniform(area / widest, highest)
    across = area / down
    x = random.choice((box.x0 + across - width, box.x1 - across))
    return figure.moved_to(x, random.choice((box.y0 + down - height, box.y1 - down)))


def _is_inside(figure: Figure) -> bool:
    """Whether the whole figure is in the picture: its box is cut at the edge."""
    x0, y0, x1, y1 = figure.offsets
    return min(figure.x + x0, figure.y + y0) >= EDGE and max(figure.x + x1, figure.y + y1) <= 1 - EDGE


def overlap(one: Box, other: Box) -> float:
    """The common area as a share of the smaller box."""
    return common_area(one, other) / min(one.area, other.area)


def _jittered(box: Box, jitter: float, random: Random) -> Box:
    if not jitter:
        return box
    return Box(*(edge + random.uniform(-jitter, jitter) for edge in (box.x0, box.y0, box.x1, box.y1)))


_BACK, _FRONT = (5.8, 7.0), (4.0, 4.8)  # radii of overlapping figures
LAYOUTS = {
    "single": LayoutKind(place_apart, "one large subject, its box the whole picture", first=(5.5, 7.2), anywhere=True),
    "disjoint": LayoutKind(place_apart, "boxes apart"),
    "unseen-shape": LayoutKind(place_apart, "disjoint, of shapes no training showed", unseen="shape"),
    "unseen-colour": LayoutKind(place_apart, "disjoint, of colours no training showed", unseen="colour"),
    "touching": LayoutKind(_touching, "boxes that share edges"),
    "overlap-10": LayoutKind(_overlapping(0.1), "10 % of the smaller box covered", _BACK, _FRONT),
    "overlap-30": LayoutKind(_overlapping(0.3), "30 % of the smaller box covered", _BACK, _FRONT),
    "overlap-50": LayoutKind(_overlapping(0.5), "50 % of the smaller box covered", _BACK, _FRONT),
    "nested": LayoutKind(_nested, "the other wholly inside the first", (7.0, 7.4), (3.4, 3.8)),
    "jittered": LayoutKind(place_apart, "disjoint, the model's boxes up to 5 % off", like="disjoint", jitter=_JITTER),
}

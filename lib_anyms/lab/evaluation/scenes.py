"""The scenes of each layout, and what a model gets of one: prompt, boxes, references, noise.

All identities are held out of every training; the unseen layouts have shapes or colours that no training image shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from PIL import Image

from lib_anyms.job.request import Pictures, Request
from lib_anyms.lab.evaluation.suites import BACKGROUND, DEMO, DEMO_SEEDS, Mode
from lib_anyms.lab.world.captions import ANYTHING, prompt
from lib_anyms.lab.world.draw import draw, draw_reference, to_image
from lib_anyms.lab.world.identity import SHAPES, UNSEEN_SHAPES, Identity, held_out_identity, unseen_identity
from lib_anyms.lab.world.scene import (
    BACKGROUNDS,
    EDGE,
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

_TRIES = 60
_JITTER = 0.05  # of the image, for each edge of a box
_REFERENCE_SIDE = 128  # pixels

Figures = tuple[Figure, ...]
Placing = Callable[[Figures, Random], "Figures | None"]  # None: these figures do not fit, draw other ones


@dataclass(frozen=True)
class Task:
    """A scene, and what a model gets of it: prompt, boxes, reference images, the seed of the noise.

    anywhere: the box is the whole image, so the figure may stand at any place.
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
        """One image of each figure alone, in another pose, on white or light grey."""
        if self.demo:
            return default_scene.pictures()
        pictures = []
        for place, figure in enumerate(self.scene.figures):
            random = Random(f"reference {self.noise} {place}")
            pictures.append((to_image(draw_reference(figure.identity, random, _REFERENCE_SIDE)),))
        return tuple(pictures)

    def request(self, mode: Mode, scale: float) -> Request:
        """AnyMS's request in this mode."""
        background = self.scene.background
        prompts = [prompt([subject.name], background) for subject in self.layout.subjects]
        if mode.joined:
            background, *prompts = joined(self.prompt, (background, *prompts))
        return request_of(mode, scale, self.layout, self.references(), prompts, background)

    def rendering(self, side: int = 256) -> Image.Image:
        """The scene as the world draws it, `side` pixels wide."""
        return to_image(draw(self.scene, side))


def joined(main: str, texts: Sequence[str]) -> list[str]:
    """Each text after the main prompt, for one softmax over both."""
    return [f"{main} BREAK {text}" for text in texts]


def request_of(
    mode: Mode, scale: float, layout: Layout, pictures: Pictures, prompts: Sequence[str], background: str
) -> Request:
    """AnyMS's request in this mode. prompts: each subject's own one, for modes with words. background: elsewhere."""
    elsewhere = mode.elsewhere
    if mode.words:
        layout = Layout(tuple(replace(one, prompt=own) for one, own in zip(layout.subjects, prompts)))
        elsewhere = background if elsewhere == BACKGROUND else elsewhere
    scale = scale if mode.adapter else 0.0
    return Request(layout, pictures, mode=mode.stream, scale=scale, words=mode.words or 1.0, elsewhere=elsewhere)


@dataclass(frozen=True)
class LayoutKind:
    """How figures are placed.

    first, others: radii in latent cells; by default RADII gives them. like: the layout whose scenes these are.
    jitter: the largest error of each edge of the model's boxes, as a share of the image.
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
    """Scene `number` of a layout. The arguments alone decide it, so every mode gets the same scene."""
    if layout == DEMO:
        return _demo_task(number, seed)
    kind = LAYOUTS[layout]
    random = Random(f"{seed} {kind.like or layout} {subjects} {number}")
    noise = random.getrandbits(31)
    figures = None
    while figures is None:
        figures = kind.placing(_posed(kind, subjects, random), random)
    scene = Scene(random.choice(BACKGROUNDS), figures)
    names = [ANYTHING if figure.identity.shape in UNSEEN_SHAPES else figure.identity.shape for figure in figures]
    boxes = [Box(0, 0, 1, 1) if kind.anywhere else _jittered(figure.box, kind.jitter, random) for figure in figures]
    placed = Layout(tuple(Subject(name, box) for name, box in zip(names, boxes)))
    return Task(scene, placed, prompt(names, scene.background), number, noise, kind.anywhere)


def _demo_task(number: int, seed: int) -> Task:
    """The scene of `demo` with noise `number`; skips the demo's own seed."""
    noise = seed * DEMO_SEEDS + number
    noise += noise >= default_scene.SEED
    boxes = [subject.box for subject in default_scene.LAYOUT.subjects]
    figures = tuple(_filling(Identity(*words), box) for words, box in zip(default_scene.IDENTITIES, boxes))
    scene = Scene(default_scene.BACKGROUND, figures)
    return Task(scene, default_scene.LAYOUT, default_scene.PROMPT, number, noise, demo=True)


def _filling(identity: Identity, box: Box) -> Figure:
    """An upright figure as large as the box allows, in its middle."""
    width, height = Figure(identity, radius=1.0).size
    radius = min((box.x1 - box.x0) / width, (box.y1 - box.y0) / height)
    left, top = (box.x0 + box.x1 - width * radius) / 2, (box.y0 + box.y1 - height * radius) / 2
    return Figure(identity, radius=radius).moved_to(left, top)


def _posed(kind: LayoutKind, count: int, random: Random) -> Figures:
    """Figures with pose and size, not placed yet; the shapes differ as far as there are enough."""
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
    """Each figure but the first shares an edge with an earlier one, and no area with any."""

    def beside(figure: Figure, placed: list[Figure]) -> Figure:
        return _beside(figure, random.choice(placed).box, random)

    return _built(figures, random, beside, apart_from=0)


def _overlapping(share: float) -> Placing:
    """All overlap the first by this share of the smaller box, and none overlaps another."""

    def placing(figures: Figures, random: Random) -> Figures | None:
        def over(figure: Figure, placed: list[Figure]) -> Figure | None:
            return _over(figure, placed[0].box, share, random)

        return _built(figures, random, over, apart_from=1)

    return placing


def _nested(figures: Figures, random: Random) -> Figures | None:
    """All lie inside the first one's box."""

    def inside(figure: Figure, placed: list[Figure]) -> Figure | None:
        (width, height), outer = figure.size, placed[0].box
        right, bottom = outer.x1 - width, outer.y1 - height
        if right < outer.x0 or bottom < outer.y0:
            return None
        return figure.moved_to(random.uniform(outer.x0, right), random.uniform(outer.y0, bottom))

    return _built(figures, random, inside, apart_from=1)


Put = Callable[[Figure, list[Figure]], "Figure | None"]  # (figure, placed ones) -> the figure moved


def _built(figures: Figures, random: Random, put: Put, apart_from: int) -> Figures | None:
    """Place the first figure anywhere and `put` each other one; those from number `apart_from` on must not overlap."""
    placed = [place_anywhere(figures[0], random)]
    for figure in figures[1:]:
        for _ in range(_TRIES):
            moved = put(figure, placed)
            if moved and _is_inside(moved) and _is_apart(moved, placed[apart_from:]):
                placed.append(moved)
                break
        else:
            return None
    return tuple(placed)


def _beside(figure: Figure, box: Box, random: Random) -> Figure:
    """At one of the box's edges, along at least a third of the shorter of the two edges."""
    width, height = figure.size
    least_x, least_y = min(width, box.x1 - box.x0) / 3, min(height, box.y1 - box.y0) / 3
    x = random.uniform(box.x0 - width + least_x, box.x1 - least_x)
    y = random.uniform(box.y0 - height + least_y, box.y1 - least_y)
    return figure.moved_to(*random.choice(((box.x1, y), (box.x0 - width, y), (x, box.y1), (x, box.y0 - height))))


def _over(figure: Figure, box: Box, share: float, random: Random) -> Figure | None:
    """Across a corner or an edge of the box, sharing this part of the smaller box."""
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
    """Whether the whole figure is in the image. (Its box would not show it: boxes are clipped.)"""
    x0, y0, x1, y1 = figure.offsets
    return min(figure.x + x0, figure.y + y0) >= EDGE and max(figure.x + x1, figure.y + y1) <= 1 - EDGE


def _is_apart(figure: Figure, others: list[Figure]) -> bool:
    return all(overlap(figure.box, other.box) < 1e-6 for other in others)


def overlap(one: Box, other: Box) -> float:
    """The shared area, as a share of the smaller box."""
    return common_area(one, other) / min(one.area, other.area)


def _jittered(box: Box, jitter: float, random: Random) -> Box:
    if not jitter:
        return box
    return Box(*(edge + random.uniform(-jitter, jitter) for edge in (box.x0, box.y0, box.x1, box.y1)))


_BACK, _FRONT = (5.8, 7.0), (4.0, 4.8)  # radii of overlapping figures
LAYOUTS = {
    "single": LayoutKind(place_apart, "one large subject, its box the whole image", first=(5.5, 7.2), anywhere=True),
    "disjoint": LayoutKind(place_apart, "boxes apart"),
    "unseen-shape": LayoutKind(place_apart, "disjoint, shapes that training never shows", unseen="shape"),
    "unseen-colour": LayoutKind(place_apart, "disjoint, colours that training never shows", unseen="colour"),
    "touching": LayoutKind(_touching, "boxes that share edges"),
    "overlap-10": LayoutKind(_overlapping(0.1), "10 % of the smaller box covered", _BACK, _FRONT),
    "overlap-30": LayoutKind(_overlapping(0.3), "30 % of the smaller box covered", _BACK, _FRONT),
    "overlap-50": LayoutKind(_overlapping(0.5), "50 % of the smaller box covered", _BACK, _FRONT),
    "nested": LayoutKind(_nested, "the other wholly inside the first", (7.0, 7.4), (3.4, 3.8)),
    "jittered": LayoutKind(place_apart, "disjoint, the model's boxes up to 5 % off", like="disjoint", jitter=_JITTER),
}

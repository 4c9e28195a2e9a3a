"""A scene before it is drawn: which sprites, where, in what pose, on what ground. Decided by a seed alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import numpy as np

from lib_anyms.geometry import Box
from lib_anyms.standalone.sprites.identity import Identity
from lib_anyms.standalone.sprites.shapes import outline

BACKGROUNDS = tuple("snow sand stone sky sunset night grass waves bricks tiles".split())
REFERENCE_GROUNDS = ("paper", "studio")  # white and grey, named by no caption
ACTIONS = ("leaning", "jumping")
SIZES = ("tiny", "huge")
MAX_SUBJECTS = 12

# Longest side of a sprite's box, as a share of the picture's, by the number of sprites.
LONG_SIDES = {
    1: (0.36, 0.82),
    2: (0.32, 0.55),
    3: (0.28, 0.46),
    4: (0.26, 0.40),
    5: (0.23, 0.35),
    6: (0.21, 0.32),
    7: (0.20, 0.30),
    8: (0.19, 0.28),
    9: (0.18, 0.26),
    10: (0.17, 0.24),
    11: (0.16, 0.23),
    12: (0.16, 0.22),
}
NAMED_LONG_SIDES = {"tiny": {1: (0.18, 0.26), 2: (0.16, 0.22), 3: (0.15, 0.20)}, "huge": {1: (0.86, 0.96), 2: (0.60, 0.70)}}
_POSE, _TILT = 6.0, (24.0, 40.0)  # degrees
_STRETCH = 0.08
_SHADOW_DROP = 0.22  # how far below a jumping sprite its shadow may reach, in its longest sides
_EDGE = 0.015
_TRIES = 60


@dataclass(frozen=True)
class Placed:
    """One sprite of a scene: `box` is that of its silhouette, `angle` in degrees clockwise, `shade` a factor on its colours."""

    identity: Identity
    box: Box
    angle: float = 0.0
    flipped: bool = False
    shade: float = 1.0
    action: str = ""
    size: str = ""

    @property
    def long_side(self) -> float:
        return max(self.box.x1 - self.box.x0, self.box.y1 - self.box.y0)


@dataclass(frozen=True)
class Scene:
    """Sprites, back to front, on a ground; `seed` decides what is left open of the ground."""

    background: str
    subjects: tuple[Placed, ...]
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """What scenes to draw: how many sprites of which identities, how large, how far they may overlap, what else may happen."""

    identity: Callable[[Random], Identity]
    counts: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    weights: tuple[float, ...] = (4, 4, 4, 3, 2, 1.5, 1.5, 1.5)
    long_sides: tuple[float, float] | None = None  # None: by the number of sprites
    overlap: float = 0.12  # of the smaller box
    happenings: float = 0.35  # share of the sprites with an action or a size word, where there is room for it


def draw_scene(recipe: Recipe, seed: int) -> Scene:
    """The scene of this seed."""
    random = Random(seed)
    count = random.choices(recipe.counts, recipe.weights[: len(recipe.counts)])[0]
    while True:
        subjects = tuple(_pose(recipe.identity(random), count, recipe, random) for _ in range(count))
        placed = place(subjects, recipe.overlap, random)
        if placed is not None:
            return Scene(random.choice(BACKGROUNDS), placed, random.getrandbits(31))


def reference_scene(identity: Identity, seed: int) -> Scene:
    """A reference picture: the sprite alone, large, on a plain ground, now and then on another one; pose a little off."""
    random = Random(seed)
    ground = random.choices((*REFERENCE_GROUNDS, random.choice(BACKGROUNDS)), (6, 2, 2))[0]
    turned, flipped = random.uniform(-8, 8), random.random() < 0.5
    pose = _sized(Placed(identity, Box(0, 0, 1, 1), turned, flipped, _shade(random)), random.uniform(0.62, 0.94), random)
    placed = place((pose,), 0.0, random)
    assert placed is not None
    return Scene(ground, placed, random.getrandbits(31))


def place(subjects: Sequence[Placed], overlap: float, random: Random) -> tuple[Placed, ...] | None:
    """The sprites moved to where their boxes overlap by at most that share of the smaller; None if that was not found."""
    order = sorted(range(len(subjects)), key=lambda i: -subjects[i].long_side)
    done: dict[int, Placed] = {}
    for i in order:
        found = next((p for p in (_moved(subjects[i], random) for _ in range(_TRIES)) if _fits(p, done.values(), overlap)), None)
        if found is None:
            return None
        done[i] = found
    return tuple(done[i] for i in range(len(subjects)))


def extent(shape: str, angle: float, flipped: bool) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the silhouette in this pose, in its own units."""
    points = _points(shape)
    x, y = (-points[:, 0] if flipped else points[:, 0]), points[:, 1]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    u, v = x * cos - y * sin, x * sin + y * cos
    return float(u.min()), float(v.min()), float(u.max()), float(v.max())


@cache
def _points(shape: str) -> np.ndarray:
    return outline(shape).numpy()


def _pose(identity: Identity, count: int, recipe: Recipe, random: Random) -> Placed:
    """A sprite with pose and size, not yet moved to its place."""
    low, high = recipe.long_sides or LONG_SIDES[count]
    action = size = ""
    if random.random() < recipe.happenings:
        size = random.choice(("", *SIZES)) if recipe.long_sides is None else ""
        low, high = NAMED_LONG_SIDES.get(size, {}).get(count, (low, high))
        size = size if count in NAMED_LONG_SIDES.get(size, {}) else ""
        action = "" if size else random.choice(ACTIONS)
    angle = random.uniform(*_TILT) * random.choice((-1, 1)) if action == "leaning" else random.uniform(-_POSE, _POSE)
    if action == "jumping":
        high = min(high, 0.7)
    posed = Placed(identity, Box(0, 0, 1, 1), angle, random.random() < 0.5, _shade(random), action, size)
    return _sized(posed, random.uniform(low, max(low, high)), random)


def _shade(random: Random) -> float:
    return random.uniform(0.93, 1.05)


def _sized(subject: Placed, long_side: float, random: Random) -> Placed:
    """With a box of that longest side at the origin, its proportions a little off the silhouette's own."""
    x0, y0, x1, y1 = extent(subject.identity.shape, subject.angle, subject.flipped)
    width, height = (x1 - x0) * random.uniform(1 - _STRETCH, 1 + _STRETCH), y1 - y0
    scale = long_side / max(width, height)
    return replace(subject, box=Box(0, 0, width * scale, height * scale))


def _moved(subject: Placed, random: Random) -> Placed:
    width, height = subject.box.x1 - subject.box.x0, subject.box.y1 - subject.box.y0
    below = _SHADOW_DROP * subject.long_side if subject.action == "jumping" else 0.0
    x, y = (random.uniform(_EDGE, max(_EDGE, 1 - _EDGE - side)) for side in (width, height + below))
    return replace(subject, box=Box(x, y, min(1.0, x + width), min(1.0, y + height)))


def _fits(subject: Placed, others: Iterable[Placed], overlap: float) -> bool:
    return all(_shared(_footprint(subject), _footprint(other)) <= overlap for other in others)


def _footprint(subject: Placed) -> tuple[float, float, float, float]:
    """The box, with the room for the shadow."""
    box = subject.box
    return box.x0, box.y0, box.x1, box.y1 + (_SHADOW_DROP * subject.long_side if subject.action == "jumping" else 0.0)


def _shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """The common area as a share of the smaller one."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))

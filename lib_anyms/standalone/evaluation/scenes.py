"""The scenes of each layout: decided by (seed, layout, subjects, number) alone, so the same for every mode.

All identities are held out of every training; the unseen layouts have shapes or colours that no training showed at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from PIL import Image

from lib_anyms.geometry import Box
from lib_anyms.layout import Layout, Subject
from lib_anyms.request import Pictures, Request
from lib_anyms.standalone.sprites.identity import UNSEEN_SHAPES, Identity, held_out_identity, unseen_identity
from lib_anyms.standalone.sprites.scene import (
    BACKGROUNDS,
    LONG_SIDES,
    REFERENCE_GROUNDS,
    Placed,
    Recipe,
    Scene,
    draw_scene,
    place,
    reference_scene,
)
from lib_anyms.standalone.sprites.world import draw, to_image

Sprites = tuple[Placed, ...]
Placing = Callable[[Sprites, Random], "Sprites | None"]  # None: these do not fit, draw others
LongSides = tuple[float, float]

_MARGIN = 0.015  # between sprites and the picture's edge
_TRIES = 60
_JITTER = 0.05  # of the picture, a side
_REFERENCE = 128  # pixels
ANYTHING = "creature"  # what the base model calls a sprite of any shape


@dataclass(frozen=True)
class Asked:
    """A scene, and what of it is told to a model: a prompt, and for each sprite its box and a reference picture.

    `anywhere`: the box is the whole picture, so the sprite may be at any place. `number` picks the line-ups, `noise` the seed.
    """

    scene: Scene
    boxes: tuple[Box, ...]
    prompt: str
    number: int
    noise: int
    anywhere: bool

    def references(self) -> Pictures:
        """A picture of each sprite alone, in another pose, on white or grey."""
        told = []
        for place_, sprite in enumerate(self.scene.subjects):
            random = Random(f"reference {self.noise} {place_}")
            alone = reference_scene(sprite.identity, random.getrandbits(62))
            plain = replace(alone, background=random.choice(REFERENCE_GROUNDS))
            told.append((to_image(draw([plain], _REFERENCE).pictures[0]),))
        return tuple(told)

    def request(self, stream: str, scale: float) -> Request:
        """What AnyMS is asked for in its mode `stream`."""
        names = [noun(sprite.identity) for sprite in self.scene.subjects]
        layout = Layout(tuple(Subject(name, box) for name, box in zip(names, self.boxes)))
        return Request(layout, self.references(), mode=stream, scale=scale)

    def rendering(self, side: int = 256) -> Image.Image:
        """The scene as the world draws it."""
        return to_image(draw([self.scene], side).pictures[0])


@dataclass(frozen=True)
class LayoutKind:
    """How sprites are put; `like`: the same scenes as that layout's, `jitter`: how far the boxes told are off."""

    placing: Placing
    help: str
    back: LongSides | None = None  # the longest side of the first sprite, and of the others; None: by their number
    front: LongSides | None = None
    identity: Callable[[Random], Identity] = held_out_identity
    like: str = ""
    jitter: float = 0.0
    anywhere: bool = False


def ask(layout: str, subjects: int, number: int, seed: int = 0) -> Asked:
    """Scene `number` of a layout."""
    kind = LAYOUTS[layout]
    random = Random(f"{seed} {kind.like or layout} {subjects} {number}")
    noise = random.getrandbits(31)
    placed = None
    while placed is None:
        placed = kind.placing(_sprites(kind, subjects, random), random)
    scene = Scene(random.choice(BACKGROUNDS), placed, random.getrandbits(31))
    boxes = tuple(_off(sprite.box, kind.jitter, random) for sprite in placed)
    if kind.anywhere:
        boxes = (Box(0, 0, 1, 1),)
    return Asked(scene, boxes, prompt(scene), number, noise, kind.anywhere)


def prompt(scene: Scene) -> str:
    """What a user of such a tool writes: what is there, and on what."""
    words = [f"a {noun(sprite.identity)}" for sprite in scene.subjects]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{listed} on {scene.background}"


def noun(identity: Identity) -> str:
    """What the prompt calls a sprite."""
    return ANYTHING if identity.shape in UNSEEN_SHAPES else identity.shape


def _sprites(kind: LayoutKind, count: int, random: Random) -> Sprites:
    """Sprites of different shapes, with pose and size, not yet put anywhere."""
    chosen: list[Identity] = []
    while len(chosen) < count:
        identity = kind.identity(random)
        if identity.shape not in {other.shape for other in chosen}:
            chosen.append(identity)
    sides = LONG_SIDES[count]
    return tuple(_posed(identity, (kind.front if n else kind.back) or sides, random) for n, identity in enumerate(chosen))


def _posed(identity: Identity, long_sides: LongSides, random: Random) -> Placed:
    alone = Recipe(lambda _: identity, counts=(1,), weights=(1,), long_sides=long_sides, happenings=0.0)
    return draw_scene(alone, random.getrandbits(62)).subjects[0]


def _apart(sprites: Sprites, random: Random) -> Sprites | None:
    return place(sprites, 0.0, random)


def _touching(sprites: Sprites, random: Random) -> Sprites | None:
    """Each but the first shares an edge with one before it, and area with none."""
    return _built(sprites, random, lambda sprite, done: _beside(sprite, random.choice(done), random))


def _overlapping(share: float) -> Placing:
    """All lie on the first and cover that share of the smaller box, and none of each other."""

    def placing(sprites: Sprites, random: Random) -> Sprites | None:
        return _built(sprites, random, lambda sprite, done: _over(sprite, done[0], share, random), on_first=True)

    return placing


def _nested(sprites: Sprites, random: Random) -> Sprites | None:
    """All lie wholly inside the first."""

    def inside(sprite: Placed, done: list[Placed]) -> Box | None:
        (width, height), outer = _size(sprite), done[0].box
        free = outer.x1 - outer.x0 - width, outer.y1 - outer.y0 - height
        if min(free) <= 0:
            return None
        return _at(sprite, outer.x0 + random.uniform(0, free[0]), outer.y0 + random.uniform(0, free[1]))

    return _built(sprites, random, inside, on_first=True)


def _built(
    sprites: Sprites, random: Random, put: Callable[[Placed, list[Placed]], Box | None], on_first: bool = False
) -> Sprites | None:
    """One sprite after the other where `put` says, free of the ones before it (with `on_first`, but for the first)."""
    first = place(sprites[:1], 0.0, random)
    assert first is not None  # alone it fits
    done = [*first]
    for sprite in sprites[1:]:
        others = done[1:] if on_first else done
        boxes = (put(sprite, done) for _ in range(_TRIES))
        found = next((box for box in boxes if box and all(common(box, other.box) < 1e-9 for other in others)), None)
        if found is None:
            return None
        done.append(replace(sprite, box=found))
    return tuple(done)


def _beside(sprite: Placed, other: Placed, random: Random) -> Box | None:
    """An edge shared, over at least a third of the shorter one."""
    (width, height), box = _size(sprite), other.box
    along_x, along_y = (
        random.uniform(low - side + least, high - least)
        for low, high, side in ((box.x0, box.x1, width), (box.y0, box.y1, height))
        for least in (min(side, high - low) / 3,)
    )
    sides = ((box.x1, along_y), (box.x0 - width, along_y), (along_x, box.y1), (along_x, box.y0 - height))
    return _at(sprite, *random.choice(sides))


def _over(sprite: Placed, other: Placed, share: float, random: Random) -> Box | None:
    """Across a corner or an edge of `other`, with that share of the smaller box in common."""
    (width, height), box = _size(sprite), other.box
    widest, highest = min(width, box.x1 - box.x0), min(height, box.y1 - box.y0)
    area = share * min(sprite.box.area, box.area)
    if area > widest * highest:
        return None
    down = random.uniform(area / widest, highest)
    across = area / down
    x = random.choice((box.x0 + across - width, box.x1 - across))
    y = random.choice((box.y0 + down - height, box.y1 - down))
    return _at(sprite, x, y)


def _size(sprite: Placed) -> tuple[float, float]:
    return sprite.box.x1 - sprite.box.x0, sprite.box.y1 - sprite.box.y0


def _at(sprite: Placed, x: float, y: float) -> Box | None:
    """Its box there, unless that is not inside the picture."""
    width, height = _size(sprite)
    if min(x, y) < _MARGIN or max(x + width, y + height) > 1 - _MARGIN:
        return None
    return Box(x, y, x + width, y + height)


def common(one: Box, other: Box) -> float:
    """The common area as a share of the smaller box."""
    width, height = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height) / min(one.area, other.area)


def _off(box: Box, jitter: float, random: Random) -> Box:
    """Each edge moved by up to `jitter`, within the picture."""
    if not jitter:
        return box
    edges = [edge + random.uniform(-jitter, jitter) for edge in (box.x0, box.y0, box.x1, box.y1)]
    x0, y0, x1, y1 = (min(1.0, max(0.0, edge)) for edge in edges)
    return Box(x0, y0, x1, y1)


def _unseen(what: str) -> Callable[[Random], Identity]:
    return lambda random: unseen_identity(random, what)


_BACK, _FRONT = (0.42, 0.56), (0.26, 0.36)
LAYOUTS = {
    "single": LayoutKind(_apart, "one large subject, its box the whole picture", back=(0.5, 0.85), anywhere=True),
    "disjoint": LayoutKind(_apart, "boxes apart"),
    "unseen-shape": LayoutKind(_apart, "disjoint, of shapes no training showed", identity=_unseen("shape")),
    "unseen-colour": LayoutKind(_apart, "disjoint, of colours no training showed", identity=_unseen("colour")),
    "touching": LayoutKind(_touching, "boxes that share edges"),
    "overlap-10": LayoutKind(_overlapping(0.1), "10 % of the smaller box covered", _BACK, _FRONT),
    "overlap-30": LayoutKind(_overlapping(0.3), "30 % of the smaller box covered", _BACK, _FRONT),
    "overlap-50": LayoutKind(_overlapping(0.5), "50 % of the smaller box covered", _BACK, _FRONT),
    "nested": LayoutKind(_nested, "the others wholly inside the first", (0.75, 0.92), (0.24, 0.34)),
    "jittered": LayoutKind(_apart, "disjoint, the boxes told up to 5 % of the picture off", like="disjoint", jitter=_JITTER),
}

"""A scene before drawing: figures, their places and sizes, the background. Lengths are shares of the image's side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

import numpy as np

from lib_anyms.lab.world.identity import Identity
from lib_anyms.lab.world.shapes import silhouette_points
from lib_anyms.layout.geometry import Box

BACKGROUNDS = ("sand", "grass", "sky", "night", "snow", "dusk", "clay", "fog")
CELLS = 32  # latent cells a side of an image of native size, 8 pixels each
TILT = math.radians(5)
EDGE = 0.008  # between a figure and the image's edge
_TRIES = 80

# (least, most) radius in latent cells for 1, 2, 3 ... 12 figures: as large as fits.
_LEAST = (4.8, 4.8, 4.8, 4.4, 4.2, 3.9, 3.8, 3.6, 3.4, 3.3, 3.2, 3.0)
_MOST = (7.2, 6.8, 6.0, 5.4, 5.0, 4.6, 4.3, 4.0, 3.8, 3.6, 3.4, 3.3)
RADII = dict(enumerate(zip(_LEAST, _MOST), 1))


@dataclass(frozen=True)
class Figure:
    """One figure: centre and radius as shares of the image's side, tilt in radians clockwise."""

    identity: Identity
    x: float = 0.5
    y: float = 0.5
    radius: float = 0.4
    tilt: float = 0.0
    flipped: bool = False

    @cached_property
    def offsets(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the silhouette, relative to the centre."""
        points = silhouette_points(self.identity.shape)
        x, y = (-points[:, 0] if self.flipped else points[:, 0]), points[:, 1]
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        u, v = (x * cos - y * sin) * self.radius, (x * sin + y * cos) * self.radius
        return float(u.min()), float(v.min()), float(u.max()), float(v.max())

    @cached_property
    def box(self) -> Box:
        """The smallest box around the silhouette, clipped at the image's edge."""
        x0, y0, x1, y1 = self.offsets
        edges = np.clip((self.x + x0, self.y + y0, self.x + x1, self.y + y1), 0, 1)
        return Box(*(float(edge) for edge in edges))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the silhouette."""
        x0, y0, x1, y1 = self.offsets
        return x1 - x0, y1 - y0

    def moved_to(self, left: float, top: float) -> Figure:
        """The same figure with the upper left corner of its box there."""
        x0, y0, _, _ = self.offsets
        return replace(self, x=left - x0, y=top - y0)


@dataclass(frozen=True)
class Scene:
    """Figures, back to front, on a background."""

    background: str
    figures: tuple[Figure, ...]


def pose(identity: Identity, radii: tuple[float, float], random: Random, cells: float = CELLS) -> Figure:
    """A slightly tilted figure with a radius in `radii` (in latent cells), not placed yet.

    The pattern "side" is never mirrored: that would exchange the two colours and make another identity.
    """
    radius, tilt = random.uniform(*radii) / cells, random.uniform(-TILT, TILT)
    flipped = random.random() < 0.5 and identity.pattern != "side"
    return Figure(identity, radius=radius, tilt=tilt, flipped=flipped)


def place_anywhere(figure: Figure, random: Random) -> Figure:
    """The figure at a random place inside the image."""
    width, height = figure.size
    left = random.uniform(EDGE, max(EDGE, 1 - EDGE - width))
    return figure.moved_to(left, random.uniform(EDGE, max(EDGE, 1 - EDGE - height)))


def place_apart(figures: Sequence[Figure], random: Random) -> tuple[Figure, ...] | None:
    """Place the figures so that no two boxes meet, the largest first; None after too many tries."""
    placed: dict[int, Figure] = {}
    for n in sorted(range(len(figures)), key=lambda n: -figures[n].radius):
        for _ in range(_TRIES):
            candidate = place_anywhere(figures[n], random)
            if all(common_area(candidate.box, other.box) == 0 for other in placed.values()):
                placed[n] = candidate
                break
        else:
            return None
    return tuple(placed[n] for n in range(len(figures)))


def scene_of(identities: Iterable[Identity], background: str, random: Random) -> Scene:
    """Place these identities apart from each other, as large as their number allows."""
    chosen = tuple(identities)
    while True:
        placed = place_apart([pose(identity, RADII[len(chosen)], random) for identity in chosen], random)
        if placed is not None:
            return Scene(background, placed)


def common_area(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width, height = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)

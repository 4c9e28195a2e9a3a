"""The identity of a figure (shape, two colours, pattern), and which identities training never shows. No torch here."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace
from random import Random

# Eight silhouettes that differ coarsely: ten latent cells are enough to distinguish them.
SHAPES = ("ball", "star", "heart", "moon", "house", "tree", "fish", "cross")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
PATTERNS = ("half", "side", "band", "spot")
UNSEEN_SHAPES = ("arrow", "drop", "box")  # in no training image of any network
UNSEEN_COLOURS = ("lime", "brown")

ALL_SHAPES, ALL_COLOURS = SHAPES + UNSEEN_SHAPES, COLOURS + UNSEEN_COLOURS
VALUES = {"shape": ALL_SHAPES, "body": ALL_COLOURS, "second": ALL_COLOURS, "pattern": PATTERNS}
KNOWN = {"shape": SHAPES, "body": COLOURS, "second": COLOURS, "pattern": PATTERNS}
HELD_OUT_SHARE = 8  # one identity in eight is held out for the evaluation


@dataclass(frozen=True)
class Identity:
    """What makes two figures the same one, whatever their size and tilt. Each field is a word of VALUES."""

    shape: str
    body: str
    second: str
    pattern: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The index of each attribute's word in VALUES."""
        return tuple(VALUES[name].index(word) for name, word in zip(ATTRIBUTES, astuple(self)))

    @property
    def possible(self) -> bool:
        """Whether the second colour is visible."""
        return self.body != self.second

    @property
    def unseen(self) -> bool:
        """Whether it has a shape or a colour that no training image shows."""
        return self.shape in UNSEEN_SHAPES or bool({self.body, self.second} & set(UNSEEN_COLOURS))

    @property
    def held_out(self) -> bool:
        """Whether this combination is held out, by a hash of its words: the same on every machine."""
        return zlib.crc32(" ".join(astuple(self)).encode()) % HELD_OUT_SHARE == 0

    @property
    def trained(self) -> bool:
        """Whether a training image may show it."""
        return self.possible and not (self.held_out or self.unseen)

    def near_miss(self, attribute: str, random: Random) -> Identity:
        """This identity with one attribute changed to another known word."""
        while True:
            changed = replace(self, **{attribute: random.choice(KNOWN[attribute])})
            if changed != self and changed.possible:
                return changed


ATTRIBUTES = tuple(field.name for field in fields(Identity))


def trained_identity(random: Random) -> Identity:
    """A random identity that training may show."""
    return _draw(random, lambda one: one.trained, SHAPES)


def held_out_identity(random: Random) -> Identity:
    """A random held-out combination of known words."""
    return _draw(random, lambda one: one.held_out, SHAPES)


def unseen_identity(random: Random, attribute: str) -> Identity:
    """A random identity whose `attribute` ("shape" or "colour") training never shows."""
    if attribute == "shape":
        return _draw(random, lambda one: one.unseen, UNSEEN_SHAPES)
    return _draw(random, lambda one: one.unseen, SHAPES, ALL_COLOURS)


def _draw(
    random: Random, fits: Callable[[Identity], bool], shapes: tuple[str, ...], colours: tuple[str, ...] = COLOURS
) -> Identity:
    while True:
        one = Identity(random.choice(shapes), random.choice(colours), random.choice(colours), random.choice(PATTERNS))
        if one.possible and fits(one):
            return one

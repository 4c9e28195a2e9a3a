"""Who a figure is: its shape, body colour, second colour and pattern, and which identities no training shows.

No torch here.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace
from random import Random

# Eight silhouettes that differ coarsely, so that they can be told apart at ten latent cells.
SHAPES = ("ball", "star", "heart", "moon", "house", "tree", "fish", "cross")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
PATTERNS = ("half", "side", "band", "spot")
UNSEEN_SHAPES = ("arrow", "drop", "box")  # in no training picture of any network
UNSEEN_COLOURS = ("lime", "brown")

ALL_SHAPES, ALL_COLOURS = SHAPES + UNSEEN_SHAPES, COLOURS + UNSEEN_COLOURS
VALUES = {"shape": ALL_SHAPES, "body": ALL_COLOURS, "second": ALL_COLOURS, "pattern": PATTERNS}
KNOWN = {"shape": SHAPES, "body": COLOURS, "second": COLOURS, "pattern": PATTERNS}
HELD_OUT_SHARE = 8  # one identity in eight is kept for the evaluation


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
        """Whether the second colour can be seen."""
        return self.body != self.second

    @property
    def unseen(self) -> bool:
        """Whether it has a shape or a colour that no training picture shows."""
        return self.shape in UNSEEN_SHAPES or bool({self.body, self.second} & set(UNSEEN_COLOURS))

    @property
    def held_out(self) -> bool:
        """Whether this combination is kept for the evaluation: by a hash of its words, so on every machine the same."""
        return zlib.crc32(" ".join(astuple(self)).encode()) % HELD_OUT_SHARE == 0

    @property
    def trained(self) -> bool:
        """Whether a training picture may show it."""
        return self.possible and not (self.held_out or self.unseen)

    def near_miss(self, attribute: str, random: Random) -> Identity:
        """This identity with one attribute changed to another known word."""
        while True:
            changed = replace(self, **{attribute: random.choice(KNOWN[attribute])})
            if changed != self and changed.possible:
                return changed


ATTRIBUTES = tuple(field.name for field in fields(Identity))


def trained_identity(random: Random, shape: str = "") -> Identity:
    """An identity that training may show, of that shape or of any."""
    return _draw(random, lambda one: one.trained, (shape,) if shape else SHAPES)


def held_out_identity(random: Random, shape: str = "") -> Identity:
    """A combination of known words that training never shows, of that shape or of any."""
    return _draw(random, lambda one: one.held_out, (shape,) if shape else SHAPES)


def unseen_identity(random: Random, what: str) -> Identity:
    """An identity whose `what` ("shape" or "colour") training never shows."""
    if what == "shape":
        return _draw(random, lambda one: one.unseen, UNSEEN_SHAPES)
    return _draw(random, lambda one: one.unseen, SHAPES, ALL_COLOURS)


def _draw(
    random: Random, fits: Callable[[Identity], bool], shapes: tuple[str, ...], colours: tuple[str, ...] = COLOURS
) -> Identity:
    while True:
        one = Identity(random.choice(shapes), random.choice(colours), random.choice(colours), random.choice(PATTERNS))
        if one.possible and fits(one):
            return one

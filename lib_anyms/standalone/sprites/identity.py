"""Who a sprite is: shape, body colour, second colour, pattern; and which of these no training step may show. No torch here."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace
from random import Random

SHAPES = tuple(
    "ball box star heart moon cloud flower drop fish cat bunny bear mushroom house tree ghost rocket butterfly duck crown cross"
    " cactus boat gear".split()
)
UNSEEN_SHAPES = ("bell", "bone", "arrow")
# What the base model and the adapters are trained on, and measured with: two cores have no time for all of it. The encoders and
# the oracle know every word.
PAINTED_SHAPES = tuple("ball star heart moon flower fish cat bunny mushroom house tree rocket".split())
PAINTED_PATTERNS = tuple("stripes dots half".split())
COLOURS = tuple("red orange yellow lime green aqua blue purple pink brown white black".split())
UNSEEN_COLOURS = ("magenta", "gray")
PATTERNS = tuple("stripes bands dots checks half ring".split())

ALL_SHAPES, ALL_COLOURS = SHAPES + UNSEEN_SHAPES, COLOURS + UNSEEN_COLOURS
VALUES = {"shape": ALL_SHAPES, "body": ALL_COLOURS, "second": ALL_COLOURS, "pattern": PATTERNS}

# Seen side by side these are hard to name even for a person, so no sprite wears both.
CLASHES = frozenset(
    frozenset(pair.split("-"))
    for pair in "red-magenta pink-magenta purple-magenta lime-green lime-yellow red-brown orange-brown gray-white".split()
)
HELD_OUT_SHARE = 8  # one identity in so many is kept for the evaluation


@dataclass(frozen=True)
class Identity:
    """What makes two sprites the same one, whatever their pose and size; each a word of VALUES."""

    shape: str
    body: str
    second: str
    pattern: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The place of each attribute's word in VALUES."""
        return tuple(VALUES[name].index(word) for name, word in zip(ATTRIBUTES, astuple(self)))

    @property
    def unseen(self) -> bool:
        """Whether it has a shape or a colour that training never shows."""
        return self.shape in UNSEEN_SHAPES or bool({self.body, self.second} & set(UNSEEN_COLOURS))

    @property
    def held_out(self) -> bool:
        """Whether this combination is kept for the evaluation; decided by a hash of its words, so the same everywhere."""
        return zlib.crc32(" ".join(astuple(self)).encode()) % HELD_OUT_SHARE == 0

    @property
    def trained(self) -> bool:
        """Whether a training step may show it."""
        return not (self.held_out or self.unseen)

    def near_miss(self, attribute: str, random: Random) -> Identity:
        """This identity with one attribute changed to another word that training knows."""
        while True:
            changed = replace(self, **{attribute: random.choice(KNOWN[attribute])})
            if changed != self and changed.possible:
                return changed

    @property
    def possible(self) -> bool:
        """Whether its two colours can be told apart."""
        return self.body != self.second and frozenset((self.body, self.second)) not in CLASHES


ATTRIBUTES = tuple(field.name for field in fields(Identity))
KNOWN = {"shape": SHAPES, "body": COLOURS, "second": COLOURS, "pattern": PATTERNS}


def trained_identity(random: Random) -> Identity:
    """Any identity that training may show, all equally likely."""
    return _drawn(random, lambda one: one.trained, SHAPES, patterns=PATTERNS)


def painted_identity(random: Random) -> Identity:
    """An identity for training the base model and the adapters."""
    return _drawn(random, lambda one: one.trained)


def held_out_identity(random: Random) -> Identity:
    """An identity of painted shapes and known colours in a combination kept for the evaluation."""
    return _drawn(random, lambda one: one.held_out)


def unseen_identity(random: Random, what: str) -> Identity:
    """An identity whose `what` ("shape" or "colour") training never shows; the rest is painted."""
    if what == "shape":
        return _drawn(random, lambda one: one.unseen, UNSEEN_SHAPES)
    return _drawn(random, lambda one: one.unseen, colours=ALL_COLOURS)


def _drawn(
    random: Random,
    fits: Callable[[Identity], bool],
    shapes: tuple[str, ...] = PAINTED_SHAPES,
    colours: tuple[str, ...] = COLOURS,
    patterns: tuple[str, ...] = PAINTED_PATTERNS,
) -> Identity:
    while True:
        one = Identity(random.choice(shapes), random.choice(colours), random.choice(colours), random.choice(patterns))
        if one.possible and fits(one):
            return one

"""Boxes in fractions of the image, and the tokens of a feature map that they cover. No torch here.

>>> box = Box(200 / 1024, 100 / 1024, 600 / 1024, 400 / 1024)
>>> box.on(TokenGrid(64, 64))
TokenRect(top=6, bottom=25, left=13, right=38)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lib_anyms.errors import Refused

LATENT_STRIDE = 8  # pixels per latent cell, for every SDXL VAE
_HALF_UP = 0.5 + 1e-9  # the float 0.7 * 45 is 31.499999999999996, the exact product 31.5
_FAR = 4  # sides of the image; a box may reach over its edge, but such numbers are percent or pixels
_TOUCHING = 1e-9  # share of a box's side; equal edges differ by less in floats


@dataclass(frozen=True)
class TokenGrid:
    """The (height, width) of one feature map, in tokens."""

    height: int
    width: int

    def halved(self) -> TokenGrid:
        """The grid one level down: a stride-2 convolution (kernel 3, padding 1) rounds up."""
        return TokenGrid((self.height + 1) // 2, (self.width + 1) // 2)

    @property
    def tokens(self) -> int:
        return self.height * self.width


def latent_grid(width: int, height: int) -> TokenGrid:
    """The latent grid of an image of `width` x `height` pixels."""
    return TokenGrid(height // LATENT_STRIDE, width // LATENT_STRIDE)


@dataclass(frozen=True)
class TokenRect:
    """Half-open rows [top, bottom) and columns [left, right) of a grid."""

    top: int
    bottom: int
    left: int
    right: int

    def indices(self, grid: TokenGrid) -> Iterator[int]:
        """The token indices inside, row-major."""
        for row in range(self.top, self.bottom):
            yield from range(row * grid.width + self.left, row * grid.width + self.right)


@dataclass(frozen=True)
class Box:
    """A subject's box B_j in fractions of the image; x points right, y down.

    Parts outside the image are clipped. Raises Refused for a box without area or wholly outside.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        edges = (self.x0, self.y0, self.x1, self.y1)
        text = ", ".join(f"{edge:g}" for edge in edges)
        if not all(math.isfinite(edge) for edge in edges):
            raise Refused("box_form", got=text)
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise Refused("box_empty", box=text)
        if self.x0 >= 1 or self.y0 >= 1 or self.x1 <= 0 or self.y1 <= 0:
            raise Refused("box_outside", box=text)
        for name, edge in zip(("x0", "y0", "x1", "y1"), edges):
            object.__setattr__(self, name, min(1.0, max(0.0, float(edge))))  # the class is frozen

    @classmethod
    def read(cls, value: Any) -> Box:
        """A box from a list of four numbers, as JSON and the command line have it. Raises Refused."""
        if not isinstance(value, (list, tuple)) or len(value) != 4:
            raise Refused("box_form", got=value)
        for number in value:
            if isinstance(number, bool) or not isinstance(number, (int, float)):  # bool is an int in Python
                raise Refused("box_form", got=value)
        if any(math.inf > abs(number) > _FAR for number in value):
            raise Refused("box_units", got=value)
        return cls(*value)

    @property
    def edges(self) -> list[float]:
        """x0, y0, x1, y1, as `read` takes them."""
        return [self.x0, self.y0, self.x1, self.y1]

    @property
    def area(self) -> float:
        """Share of the image, 0..1."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def on(self, grid: TokenGrid) -> TokenRect:
        """The tokens this box covers, at least one.

        Both ends round half up: boxes that touch share no token and leave no gap.
        """
        top, bottom = _span(self.y0, self.y1, grid.height)
        left, right = _span(self.x0, self.x1, grid.width)
        return TokenRect(top, bottom, left, right)


@dataclass(frozen=True)
class Viewport:
    """The crop of the canvas that a sampling pass renders, in fractions of the canvas; it may exceed the canvas.

    >>> Viewport(0.5, 0, 1, 1).place(Box(0.25, 0, 0.75, 1))
    Box(x0=0.0, y0=0.0, x1=0.5, y1=1.0)
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError(f"a viewport without area: {self}")

    def place(self, box: Box) -> Box | None:
        """`box` in fractions of this viewport, clipped to it; None for a box wholly outside."""
        across = _relative(box.x0, box.x1, self.x0, self.x1)
        down = _relative(box.y0, box.y1, self.y0, self.y1)
        return Box(across[0], down[0], across[1], down[1]) if across and down else None


WHOLE = Viewport(0.0, 0.0, 1.0, 1.0)


def _relative(low: float, high: float, first: float, last: float) -> tuple[float, float] | None:
    """(low, high) in fractions of (first, last), not clipped; None where the two only touch or lie apart."""
    if min(high, last) - max(low, first) <= _TOUCHING * (high - low):
        return None
    return (low - first) / (last - first), (high - first) / (last - first)


def _span(low: float, high: float, count: int) -> tuple[int, int]:
    """Half-open range of the tokens between two fractions of a side with `count` tokens."""
    first, last = math.floor(low * count + _HALF_UP), math.floor(high * count + _HALF_UP)
    if first < last:
        return first, last
    middle = min(count - 1, math.floor((low + high) / 2 * count))  # thinner than a token: the one at its centre
    return middle, middle + 1

"""Where a box lies: fractions of the picture, and the token rows and columns they cover. No torch here.

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

LATENT_STRIDE = 8  # pixels a latent cell, for every SDXL VAE
_HALF_UP = 0.5 + 1e-9  # 0.7 * 45 is 31.499999999999996 in floats and 31.5 on paper
_TOUCHING = 1e-9  # of a box's side: edges that are one on paper differ by less in floats


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
    """The latent of a picture of `width` x `height` pixels."""
    return TokenGrid(height // LATENT_STRIDE, width // LATENT_STRIDE)


@dataclass(frozen=True)
class TokenRect:
    """Half-open rows [top, bottom) and columns [left, right) of a grid."""

    top: int
    bottom: int
    left: int
    right: int

    def indices(self, grid: TokenGrid) -> Iterator[int]:
        """The row-major token numbers inside."""
        for row in range(self.top, self.bottom):
            yield from range(row * grid.width + self.left, row * grid.width + self.right)


@dataclass(frozen=True)
class Box:
    """A subject's box B_j in fractions of the picture, x to the right and y down; what hangs over the edge is clipped.

    Raises Refused for a box without area or wholly outside.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        given = (self.x0, self.y0, self.x1, self.y1)
        shown = ", ".join(f"{value:g}" for value in given)
        if not all(math.isfinite(value) for value in given):
            raise Refused("box_form", got=shown)
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise Refused("box_empty", box=shown)
        if self.x0 >= 1 or self.y0 >= 1 or self.x1 <= 0 or self.y1 <= 0:
            raise Refused("box_outside", box=shown)
        for name, value in zip(("x0", "y0", "x1", "y1"), given):
            object.__setattr__(self, name, min(1.0, max(0.0, float(value))))

    @classmethod
    def read(cls, value: Any) -> Box:
        """A box from a list of four numbers, as JSON and the command line give it."""
        numbers = isinstance(value, (list, tuple)) and all(
            isinstance(number, (int, float)) and not isinstance(number, bool) for number in value
        )
        if not numbers or len(value) != 4:
            raise Refused("box_form", got=value)
        return cls(*value)

    @property
    def area(self) -> float:
        """Share of the picture, 0..1."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def on(self, grid: TokenGrid) -> TokenRect:
        """The tokens of this box: both ends rounded half up, so that boxes that touch share no token and leave no gap."""
        top, bottom = _span(self.y0, self.y1, grid.height)
        left, right = _span(self.x0, self.x1, grid.width)
        return TokenRect(top, bottom, left, right)


@dataclass(frozen=True)
class Viewport:
    """What a sampling pass shows, in fractions of the picture the user draws on; it may reach over the picture's edges.

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
        """`box` in fractions of this viewport, what hangs over clipped; None for a box wholly outside."""
        across = _placed(box.x0, box.x1, self.x0, self.x1)
        down = _placed(box.y0, box.y1, self.y0, self.y1)
        return Box(across[0], down[0], across[1], down[1]) if across and down else None


WHOLE = Viewport(0.0, 0.0, 1.0, 1.0)


def _placed(low: float, high: float, first: float, last: float) -> tuple[float, float] | None:
    if min(high, last) - max(low, first) <= _TOUCHING * (high - low):
        return None
    return (low - first) / (last - first), (high - first) / (last - first)


def _span(low: float, high: float, count: int) -> tuple[int, int]:
    first, last = math.floor(low * count + _HALF_UP), math.floor(high * count + _HALF_UP)
    if first < last:
        return first, last
    middle = min(count - 1, math.floor((low + high) / 2 * count))
    return middle, middle + 1

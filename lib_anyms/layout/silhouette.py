"""A subject's own mask of where it is in the image, and the tokens that it covers. No torch here.

Pillow is imported where a mask is measured, so that the command line's options need the standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.layout.geometry import WHOLE, Box, TokenGrid, Viewport

MAX_SIDE = 1024  # pixels of a stored mask; feature maps have fewer tokens
_WHITE = 128  # of 255: from this brightness on a pixel, and from this share on a token, is the subject's
_PIXELS = 16  # a side of a token, for exact areas
_LONGEST = 2048  # pixels of an enlarged mask


@dataclass(frozen=True)
class Silhouette:
    """A mask of the whole image, white where the subject is, and stretched over it.

    pixels: 0 or 255 each, row by row; view: the part of the mask that the layout's image shows.

    >>> left = Silhouette(2, 1, bytes([255, 0]))
    >>> left.tokens(Box(0, 0, 1, 1), TokenGrid(2, 4))
    [0, 1, 4, 5]
    """

    width: int
    height: int
    pixels: bytes = field(repr=False)
    view: Viewport = WHOLE

    @classmethod
    def of(cls, mask: Any, name: str) -> Silhouette:
        """The silhouette of the subject `name` from a greyscale Pillow image. Raises Refused where nothing is white."""
        from PIL import Image

        scale = min(1.0, MAX_SIDE / max(mask.size))
        size = (max(1, round(mask.width * scale)), max(1, round(mask.height * scale)))
        small = mask.convert("L").resize(size, Image.Resampling.BOX).point(lambda value: 255 * (value >= _WHITE))
        if small.getbbox() is None:
            raise Refused("silhouette_black", name=name)
        return cls(small.width, small.height, small.tobytes())

    @property
    def is_white(self) -> bool:
        """Whether it is white everywhere, so that the box alone decides."""
        return 0 not in self.pixels

    @property
    def bounds(self) -> Box:
        """The box around the white part, in fractions of the mask."""
        left, top, right, bottom = self.picture().getbbox()
        return Box(left / self.width, top / self.height, right / self.width, bottom / self.height)

    def seen_in(self, viewport: Viewport) -> Silhouette:
        """The same mask for an image that shows this part of the layout's image."""
        return replace(self, view=_within(self.view, viewport))

    def on(self, grid: TokenGrid, window: Viewport = WHOLE) -> bytes:
        """The white share of each token in 255ths, row-major. window: the part of the layout's image on the grid."""
        from PIL import Image

        view = _within(self.view, window)
        left, right = view.x0 * self.width, view.x1 * self.width
        top, bottom = view.y0 * self.height, view.y1 * self.height
        column, row = math.floor(left), math.floor(top)
        part = self.picture().crop((column, row, math.ceil(right), math.ceil(bottom)))  # black beyond the mask
        exact = (left - column, top - row, right - column, bottom - row)
        times = _enlargement(part.size, min((right - left) / grid.width, (bottom - top) / grid.height))
        part = part.resize((part.width * times, part.height * times), Image.Resampling.NEAREST)
        edges = tuple(edge * times for edge in exact)
        shares: bytes = part.resize((grid.width, grid.height), Image.Resampling.BOX, box=edges).tobytes()
        return shares

    def tokens(self, box: Box, grid: TokenGrid, window: Viewport = WHOLE) -> list[int]:
        """The tokens of `box` that are white by half at least, row-major; at least one where the box has any white.

        box: in fractions of what the grid shows.
        """
        shares = self.on(grid, window)
        inside = list(box.on(grid).indices(grid))
        whitest = max(inside, key=shares.__getitem__)
        return [token for token in inside if shares[token] >= _WHITE] or [whitest] * (shares[whitest] > 0)

    def picture(self) -> Any:
        """The mask as a greyscale Pillow image."""
        from PIL import Image

        return Image.frombytes("L", (self.width, self.height), self.pixels)


def _enlargement(size: tuple[int, int], pixels: float) -> int:
    """How often to repeat each pixel where a token has so few a side: Pillow takes a pixel wholly or not at all."""
    needed = math.ceil(_PIXELS / max(pixels, 1e-9))
    return max(1, min(needed, _LONGEST // max(size)))


def _within(outer: Viewport, inner: Viewport) -> Viewport:
    """`inner`, in fractions of `outer`, in fractions of what `outer` is in."""
    width, height = outer.x1 - outer.x0, outer.y1 - outer.y0
    return Viewport(
        outer.x0 + inner.x0 * width,
        outer.y0 + inner.y0 * height,
        outer.x0 + inner.x1 * width,
        outer.y0 + inner.y1 * height,
    )

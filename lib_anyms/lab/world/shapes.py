"""Silhouettes and patterns as tests of points. Points (x, y) lie in -1..1, y points down."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

Points = np.ndarray  # float, any shape
Inside = np.ndarray  # bool, as the points


def _polygon(*corners: tuple[float, float]) -> Callable[[Points, Points], Inside]:
    """Points inside a polygon, by the even-odd rule."""

    def inside(x: Points, y: Points) -> Inside:
        result = np.zeros(np.broadcast(x, y).shape, bool)
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1]):
            if y1 != y2:
                result ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
        return result

    return inside


def _star_corners() -> list[tuple[float, float]]:
    corners = []
    for k in range(10):
        radius, angle = (1.05 if k % 2 == 0 else 0.47), k * math.pi / 5
        corners.append((radius * math.sin(angle), 0.07 - radius * math.cos(angle)))
    return corners


_STAR = _polygon(*_star_corners())
_HEART_TIP = _polygon((-0.93, -0.16), (-0.5, -0.45), (0.5, -0.45), (0.93, -0.16), (0, 0.97))
_ROOF = _polygon((-1, -0.12), (0, -1), (1, -0.12))
_CROWN = _polygon((0, -1), (0.88, 0.55), (-0.88, 0.55))
_TAIL = _polygon((0.3, 0), (0.98, -0.58), (0.98, 0.58))
_ARROW_HEAD = _polygon((0, -1), (0.9, 0.05), (-0.9, 0.05))
_DROP_TIP = _polygon((0, -1), (0.62, 0.25), (-0.62, 0.25))


def _disc(x: Points, y: Points, cx: float, cy: float, radius: float) -> Inside:
    return (x - cx) ** 2 + (y - cy) ** 2 < radius**2


def _bar(x: Points, y: Points, half_width: float, top: float, bottom: float) -> Inside:
    return (np.abs(x) < half_width) & (y > top) & (y < bottom)


SILHOUETTES: dict[str, Callable[[Points, Points], Inside]] = {
    "ball": lambda x, y: _disc(x, y, 0, 0, 1),
    "star": _STAR,
    "heart": lambda x, y: _disc(x, y, 0.48, -0.42, 0.52) | _disc(x, y, -0.48, -0.42, 0.52) | _HEART_TIP(x, y),
    "moon": lambda x, y: _disc(x, y, 0, 0, 1) & ~_disc(x, y, 0.52, -0.12, 0.74),
    "house": lambda x, y: _ROOF(x, y) | _bar(x, y, 0.74, -0.13, 0.95),
    "tree": lambda x, y: _CROWN(x, y) | _bar(x, y, 0.22, 0.5, 1),
    "fish": lambda x, y: ((x + 0.22) ** 2 / 0.74**2 + y**2 / 0.56**2 < 1) | _TAIL(x, y),
    "cross": lambda x, y: _bar(x, y, 0.36, -1, 1) | _bar(y, x, 0.36, -1, 1),
    "arrow": lambda x, y: _ARROW_HEAD(x, y) | _bar(x, y, 0.34, 0, 1),
    "drop": lambda x, y: _disc(x, y, 0, 0.32, 0.66) | _DROP_TIP(x, y),
    "box": lambda x, y: (np.abs(x) < 0.82) & (np.abs(y) < 0.82),
}
# The middle of the pattern, where the silhouette is broad.
_MIDDLES: dict[str, tuple[float, float]] = {
    "star": (0, 0.05),
    "heart": (0, -0.05),
    "moon": (-0.62, 0.1),
    "house": (0, 0.25),
}
_MIDDLES |= {"tree": (0, 0.2), "fish": (-0.25, 0), "drop": (0, 0.3)}
_SPOTS = {"moon": 0.27, "drop": 0.3}  # squared radius; elsewhere _SPOT
_SPOT = 0.36
_BAND = 0.27  # half its height


def second_part(shape: str, pattern: str, x: Points, y: Points) -> Inside:
    """Where the second colour lies; the silhouette is not applied yet."""
    mx, my = _MIDDLES.get(shape, (0, 0))
    if pattern == "half":
        return y > my
    if pattern == "side":
        return x > mx
    if pattern == "band":
        return np.abs(y - my) < _BAND
    return (x - mx) ** 2 + (y - my) ** 2 < _SPOTS.get(shape, _SPOT)


@cache
def silhouette_points(shape: str) -> np.ndarray:
    """(n, 2): points that fill the silhouette; they give its extent under any tilt."""
    axis = np.linspace(-1.1, 1.1, 111)
    x, y = np.meshgrid(axis, axis)
    inside = SILHOUETTES[shape](x, y)
    return np.stack((x[inside], y[inside]), 1)

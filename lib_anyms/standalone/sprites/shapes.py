"""The silhouettes: a signed distance for each shape, negative inside, x to the right and y down, roughly within -1..1.

Distances are exact or a little short of it (a minimum of two, an ellipse), which is enough for edges one pixel wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch

Field = torch.Tensor  # a value for each point of a grid
Shape = Callable[[Field, Field], Field]
_REACH, _FINE = 1.4, 256  # half-width and side of the grid a silhouette is traced on


def circle(x: Field, y: Field, cx: float, cy: float, radius: float) -> Field:
    """Distance to a circle's edge."""
    return torch.hypot(x - cx, y - cy) - radius


def ellipse(x: Field, y: Field, cx: float, cy: float, rx: float, ry: float) -> Field:
    """Distance to an axis-parallel ellipse, good to first order near its edge."""
    u, v = (x - cx) / rx, (y - cy) / ry
    radius = torch.hypot(u, v)
    slope = torch.hypot(u / rx, v / ry).clamp(min=1e-3)
    return (radius * (radius - 1)) / slope


def rectangle(x: Field, y: Field, cx: float, cy: float, hx: float, hy: float, rounded: float = 0.05) -> Field:
    """Distance to a rectangle of half-sides hx, hy with rounded corners."""
    dx, dy = (x - cx).abs() - (hx - rounded), (y - cy).abs() - (hy - rounded)
    return torch.hypot(dx.clamp(min=0), dy.clamp(min=0)) + torch.maximum(dx, dy).clamp(max=0) - rounded


def capsule(x: Field, y: Field, ax: float, ay: float, bx: float, by: float, radius: float) -> Field:
    """Distance to a line from a to b, `radius` thick on every side."""
    dx, dy = bx - ax, by - ay
    along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return torch.hypot(x - ax - along * dx, y - ay - along * dy) - radius


def convex(x: Field, y: Field, corners: Sequence[tuple[float, float]], grown: float = 0.02) -> Field:
    """Distance to a convex polygon, corners clockwise as seen, grown by a little on every side."""
    distance: Field | None = None
    for (ax, ay), (bx, by) in zip(corners, (*corners[1:], corners[0])):
        length = math.hypot(bx - ax, by - ay)
        side = (x - ax) * ((by - ay) / length) - (y - ay) * ((bx - ax) / length)
        distance = side if distance is None else torch.maximum(distance, side)
    assert distance is not None
    return distance - grown


def folded(x: Field, y: Field, times: int, start: float = 0.0) -> tuple[Field, Field]:
    """The point turned into one of `times` equal sectors around the direction `start` (radians), mirrored in its middle."""
    turn = 2 * math.pi / times
    angle = torch.remainder(torch.atan2(y, x) - start + turn / 2, turn) - turn / 2
    radius = torch.hypot(x, y)
    return radius * torch.cos(angle), radius * torch.sin(angle).abs()


def union(*distances: Field) -> Field:
    """Inside any of them."""
    joined = distances[0]
    for distance in distances[1:]:
        joined = torch.minimum(joined, distance)
    return joined


def without(distance: Field, removed: Field) -> Field:
    """Inside the first and outside the second."""
    return torch.maximum(distance, -removed)


def _star(x: Field, y: Field) -> Field:
    u, v = folded(x, y, 5, -math.pi / 2)
    tip, notch = (1.0, 0.0), (0.5 * math.cos(math.pi / 5), 0.5 * math.sin(math.pi / 5))
    dx, dy = notch[0] - tip[0], notch[1] - tip[1]
    return ((u - tip[0]) * -dy + (v - tip[1]) * dx) / -math.hypot(dx, dy) - 0.02


def _heart(x: Field, y: Field) -> Field:
    x = x.abs()
    return union(circle(x, y, 0.46, -0.35, 0.5), convex(x, y, ((-0.2, -0.45), (0.45, -0.55), (0.87, -0.07), (0.0, 0.9))))


def _moon(x: Field, y: Field) -> Field:
    return without(circle(x, y, 0, 0, 1), circle(x, y, 0.72, -0.12, 0.78))


def _cloud(x: Field, y: Field) -> Field:
    puffs = ((-0.6, 0.12, 0.4), (-0.15, -0.22, 0.5), (0.42, -0.05, 0.45), (0.72, 0.2, 0.3))
    return union(*(circle(x, y, *puff) for puff in puffs), rectangle(x, y, 0, 0.3, 0.9, 0.22, 0.2))


def _flower(x: Field, y: Field) -> Field:
    u, v = folded(x, y, 6, math.pi / 6)
    return union(circle(u, v, 0.64, 0, 0.36), circle(u, v, 0, 0, 0.55))


def _drop(x: Field, y: Field) -> Field:
    return union(circle(x, y, 0, 0.3, 0.7), convex(x.abs(), y, ((-0.3, 0.2), (0.02, -1.05), (0.62, -0.02), (0.5, 0.3))))


def _fish(x: Field, y: Field) -> Field:
    tail = convex(x, y.abs(), ((0.3, -0.2), (0.6, -0.2), (1.0, 0.62), (0.8, 0.66), (0.3, 0.12)))
    return union(ellipse(x, y, -0.2, 0, 0.78, 0.62), tail, convex(x, y, ((-0.45, -0.4), (0.1, -0.88), (0.2, -0.3))))


def _cat(x: Field, y: Field) -> Field:
    ear = convex(x.abs(), y, ((0.12, -0.35), (0.78, -1.0), (0.86, -0.05), (0.5, 0.2)))
    return union(ellipse(x, y, 0, 0.2, 0.95, 0.75), ear)


def _bunny(x: Field, y: Field) -> Field:
    return union(circle(x, y, 0, 0.42, 0.6), capsule(x.abs(), y, 0.24, 0.2, 0.36, -0.82, 0.19))


def _bear(x: Field, y: Field) -> Field:
    return union(circle(x, y, 0, 0.14, 0.8), circle(x.abs(), y, 0.64, -0.56, 0.33))


def _mushroom(x: Field, y: Field) -> Field:
    cap = torch.maximum(ellipse(x, y, 0, 0.05, 1.0, 0.95), y - 0.12)
    return union(cap, rectangle(x, y, 0, 0.45, 0.42, 0.5, 0.18))


def _house(x: Field, y: Field) -> Field:
    roof = convex(x, y, ((-1.0, -0.12), (0.0, -1.0), (1.0, -0.12)))
    return union(roof, rectangle(x, y, 0, 0.42, 0.74, 0.56), rectangle(x, y, 0.55, -0.65, 0.14, 0.3))


def _tree(x: Field, y: Field) -> Field:
    tiers = ((-1.0, -0.3, 0.5), (-0.65, 0.15, 0.68), (-0.25, 0.65, 0.85))
    return union(*(convex(x, y, ((-w, b), (0.0, t), (w, b))) for t, b, w in tiers), rectangle(x, y, 0, 0.8, 0.18, 0.22))


def _ghost(x: Field, y: Field) -> Field:
    waves = 0.75 + 0.16 * torch.cos(x * (3 * math.pi / 0.74))
    return torch.maximum(union(circle(x, y, 0, -0.2, 0.76), rectangle(x, y, 0, 0.4, 0.76, 0.6, 0.02)), (y - waves) * 0.6)


def _rocket(x: Field, y: Field) -> Field:
    x = x.abs()
    hull = without(torch.maximum(circle(x, y, -0.62, 0.1, 1.12), y - 0.8), circle(x, y, 0, 3.0, 0.1))
    return union(hull, convex(x, y, ((0.25, 0.15), (0.4, 0.15), (0.78, 0.6), (0.78, 1.0), (0.3, 0.75))))


def _butterfly(x: Field, y: Field) -> Field:
    x = x.abs()
    upper = ellipse(x * 0.8 - y * 0.6, x * 0.6 + y * 0.8, 0.68, -0.02, 0.6, 0.46)
    return union(upper, circle(x, y, 0.42, 0.46, 0.42), capsule(x, y, 0, -0.4, 0, 0.8, 0.14))


def _duck(x: Field, y: Field) -> Field:
    beak = convex(x, y, ((-0.6, -0.58), (-0.6, -0.2), (-1.1, -0.3)))
    tail = convex(x, y, ((0.4, 0.25), (1.0, -0.25), (0.8, 0.6)))
    return union(ellipse(x, y, 0.15, 0.42, 0.78, 0.5), circle(x, y, -0.32, -0.34, 0.46), beak, tail)


def _crown(x: Field, y: Field) -> Field:
    x = x.abs()
    side = convex(x, y, ((0.3, 0.4), (0.95, -0.55), (0.85, 0.7), (0.2, 0.7)))
    peak = convex(x, y, ((-0.45, 0.5), (0.0, -0.75), (0.45, 0.5), (0.3, 0.7), (-0.3, 0.7)))
    return union(side, peak, circle(x, y, 0.0, -0.72, 0.15), circle(x, y, 0.9, -0.52, 0.14))


def _cross(x: Field, y: Field) -> Field:
    return union(rectangle(x, y, 0, 0, 1, 0.42, 0.12), rectangle(x, y, 0, 0, 0.42, 1, 0.12))


def _cactus(x: Field, y: Field) -> Field:
    left = union(capsule(x, y, -0.3, 0.3, -0.68, 0.3, 0.17), capsule(x, y, -0.68, 0.3, -0.68, -0.2, 0.17))
    right = union(capsule(x, y, 0.3, 0.05, 0.68, 0.05, 0.17), capsule(x, y, 0.68, 0.05, 0.68, -0.45, 0.17))
    return union(rectangle(x, y, 0, 0.0, 0.38, 1.0, 0.36), rectangle(x, y, 0, 0.7, 0.38, 0.3), left, right)


def _boat(x: Field, y: Field) -> Field:
    hull = convex(x, y, ((-1.0, 0.3), (1.0, 0.3), (0.6, 0.9), (-0.6, 0.9)))
    return union(hull, convex(x, y, ((-0.62, 0.12), (0.1, -0.95), (0.1, 0.12))), rectangle(x, y, 0.18, -0.3, 0.09, 0.66))


def _gear(x: Field, y: Field) -> Field:
    u, v = folded(x, y, 8)
    return union(circle(x, y, 0, 0, 0.76), rectangle(u, v, 0.8, 0, 0.22, 0.17))


def _bell(x: Field, y: Field) -> Field:
    flare = convex(x.abs(), y, ((-0.3, 0.1), (0.55, -0.1), (0.95, 0.62), (-0.3, 0.62)))
    return union(circle(x, y, 0, -0.25, 0.6), flare, circle(x, y, 0, 0.72, 0.24), circle(x, y, 0, -0.86, 0.16))


def _bone(x: Field, y: Field) -> Field:
    return union(circle(x.abs(), y.abs(), 0.68, 0.28, 0.33), rectangle(x, y, 0, 0, 0.7, 0.26))


def _arrow(x: Field, y: Field) -> Field:
    return union(convex(x, y, ((0.0, -0.9), (1.0, 0.0), (0.0, 0.9))), rectangle(x, y, -0.4, 0, 0.6, 0.42))


SIGNED_DISTANCES: dict[str, Shape] = {
    "ball": lambda x, y: circle(x, y, 0, 0, 1),
    "box": lambda x, y: rectangle(x, y, 0, 0, 0.9, 0.9, 0.14),
    "star": _star,
    "heart": _heart,
    "moon": _moon,
    "cloud": _cloud,
    "flower": _flower,
    "drop": _drop,
    "fish": _fish,
    "cat": _cat,
    "bunny": _bunny,
    "bear": _bear,
    "mushroom": _mushroom,
    "house": _house,
    "tree": _tree,
    "ghost": _ghost,
    "rocket": _rocket,
    "butterfly": _butterfly,
    "duck": _duck,
    "crown": _crown,
    "cross": _cross,
    "cactus": _cactus,
    "boat": _boat,
    "gear": _gear,
    "bell": _bell,
    "bone": _bone,
    "arrow": _arrow,
}


@cache
def outline(shape: str) -> torch.Tensor:
    """Points all around the silhouette, (points, 2) as x, y: enough to tell its extent in any pose."""
    axis = (torch.arange(_FINE) + 0.5) / _FINE * 2 * _REACH - _REACH
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    inside = SIGNED_DISTANCES[shape](x, y) < 0
    first, last = inside.to(torch.uint8).argmax(1), _FINE - 1 - inside.flip(1).to(torch.uint8).argmax(1)
    rows = inside.any(1).nonzero()[:, 0]
    step = _REACH / _FINE
    ends = [torch.stack((axis[edge[rows]] + side, axis[rows]), 1) for edge, side in ((first, -step), (last, step))]
    return torch.cat(ends)

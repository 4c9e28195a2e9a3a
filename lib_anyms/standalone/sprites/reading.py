"""Who a sprite in a box is, without training: every identity there is, in a few poses, held against the picture at once.

A pixel is a mix of ground, body, border, second colour and face whose shares depend on shape, pattern and pose alone. So the
squared distance to every pair of colours is a quadratic form in them, of sums that a few matrix products give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import product

import torch
import torch.nn.functional as F

from lib_anyms.geometry import Box
from lib_anyms.standalone.sprites.identity import ALL_COLOURS, ALL_SHAPES, ATTRIBUTES, PATTERNS, VALUES, Identity
from lib_anyms.standalone.sprites.scene import Placed
from lib_anyms.standalone.sprites.world import RGB, border_colour, layers

_SIDE = 40  # pixels of the box, as compared
_ANGLES = (-32.0, -4.0, 4.0, 32.0)
_LEANS = 15.0  # degrees from which a pose is called leaning
_RING = 5  # pixels around the box: of the ground, and room for a box a little off
_SHIFTS = ((0, 0), (-2, 0), (2, 0), (0, -2), (0, 2))
# How a box is fitted: each edge and the whole moved by a share of a side, so many times; from the second time on with few poses.
_FITTING, _FITTED = ((0.15, 1), (0.08, 3), (0.04, 3), (0.02, 3)), 24
_SMALLEST = 0.03  # side of a box
_FLAT = 1e-3  # mean squared distance to the ground of a box with nothing in it
_DARKENED = 0.86  # brightness of a shadow against the ground beside it


@dataclass(frozen=True)
class Reading:
    """errors: the distance to every identity in its best pose, (shapes, bodies, seconds, patterns); action: a word or ""."""

    errors: torch.Tensor
    action: str

    def best(self, candidates: Sequence[Identity]) -> int:
        """Which candidate is nearest."""
        return int(torch.stack([self.errors[candidate.numbers] for candidate in candidates]).argmin())

    @property
    def identity(self) -> Identity:
        """The nearest identity of all."""
        places = torch.unravel_index(self.errors.argmin(), self.errors.shape)
        return Identity(*(VALUES[name][int(place)] for name, place in zip(ATTRIBUTES, places)))


@dataclass(frozen=True)
class _Templates:
    """For K poses (of all shapes, or of some), Q patterns, N pixels: what a picture is held against, and its inner products.

    rows (K, 3 Q + 4, N): the basis (shares of body, border and second colour) for every pattern, the ground's share, and what the
    face adds in red, green and blue. basis_free (K, Q, 3) and basis_face (K, Q, 3, colours): the basis with these. fixed: the
    squared distances as far as no picture decides them, (K, Q, bodies, seconds). free_free (K), free_face (K, colours),
    face_face (K). angles (K).
    """

    rows: torch.Tensor
    basis_free: torch.Tensor
    basis_face: torch.Tensor
    fixed: torch.Tensor
    free_free: torch.Tensor
    free_face: torch.Tensor
    face_face: torch.Tensor
    angles: torch.Tensor

    def only(self, poses: torch.Tensor) -> _Templates:
        """Some of the poses."""
        return _Templates(*(getattr(self, field.name)[poses] for field in fields(self)))


def read_sprite(picture: torch.Tensor, box: Box) -> Reading:
    """Read the sprite in the box of a picture (3, h, w) in 0..1."""
    templates = _templates()
    cut = _cut(picture, [box])[0]
    windows = [cut[:, _RING + dy : _RING + dy + _SIDE, _RING + dx : _RING + dx + _SIDE] for dx, dy in _SHIFTS]
    ground = _grounds(cut[None]).expand(len(windows), 3)
    best = _errors(torch.stack(windows).flatten(2), ground, templates).amin(0)
    by_pose = best.masked_fill(~_possible(), math.inf).amin((1, 2, 3))
    angle = float(templates.angles[int(by_pose.argmin())])
    action = "leaning" if abs(angle) > _LEANS else "jumping" if _shadowed(picture, box) else ""
    by_shape = best.unflatten(0, (len(ALL_SHAPES), -1)).amin(1)
    return Reading(by_shape.permute(0, 2, 3, 1).masked_fill(~_possible()[None, :, :, None], math.inf), action)


def fit_box(picture: torch.Tensor, box: Box, close: bool = False) -> tuple[Box, float]:
    """(a box near that one in which a sprite fits best, what share of what is not ground it leaves unexplained).

    Edges and places are moved in turn. `close`: the box is known to be little off.
    """
    templates = _templates()
    left = math.inf
    for step, moves in ((0.0, 1), *_FITTING[1:]) if close else _FITTING:
        for _ in range(moves):
            tried = [box, *(_neighbours(box, step) if step else ())]
            cuts = _cut(picture, tried)
            windows, grounds = _windows(cuts), _grounds(cuts)
            errors = _errors(windows, grounds, templates).masked_fill(~_possible(), math.inf).amin((2, 3, 4))
            there = (windows - grounds[..., None]).square().mean((1, 2)).clamp(min=_FLAT)
            shares = errors / there[:, None]  # of plain errors the least are in boxes with much ground
            best = int(shares.amin(1).argmin())
            box, left = tried[best], float(shares[best].min())
            if len(templates.angles) > _FITTED:
                templates = templates.only(shares.amin(0).topk(_FITTED, largest=False).indices)
            elif best == 0:
                break
    return box, left


def _neighbours(box: Box, step: float) -> list[Box]:
    """The box with one edge moved, and as a whole moved, by a share of its side; those that are still boxes in the picture."""
    dx, dy = step * (box.x1 - box.x0), step * (box.y1 - box.y0)
    moves = [(dx, 0, 0, 0), (0, dy, 0, 0), (0, 0, dx, 0), (0, 0, 0, dy), (dx, 0, dx, 0), (0, dy, 0, dy)]
    made = [
        (box.x0 + sign * a, box.y0 + sign * b, box.x1 + sign * c, box.y1 + sign * d) for a, b, c, d in moves for sign in (-1, 1)
    ]
    inside = [[min(1.0, max(0.0, edge)) for edge in edges] for edges in made]
    return [Box(x0, y0, x1, y1) for x0, y0, x1, y1 in inside if x1 - x0 > _SMALLEST and y1 - y0 > _SMALLEST]


def _errors(windows: torch.Tensor, grounds: torch.Tensor, templates: _Templates) -> torch.Tensor:
    """Mean squared distance, (W, K, Q, bodies, seconds), of windows (W, 3, N) over grounds (W, 3)."""
    count, pixels = len(windows), windows[0].numel()
    along = (templates.rows.flatten(0, 1) @ windows.flatten(0, 1).T).unflatten(1, (count, 3)).permute(1, 0, 2)
    along = along.unflatten(1, (len(templates.rows), -1))  # (W, K, 3 Q + 4, 3)
    basis, free, face = along[:, :, :-4].unflatten(2, (-1, 3)), along[:, :, -4], along[:, :, -3:]
    # of what is left of the windows when ground and face are taken off: its square, and its products with the basis
    rest = windows.square().sum((1, 2))[:, None] - 2 * (free * grounds[:, None]).sum(-1)
    rest = rest - 2 * face.diagonal(dim1=-2, dim2=-1).sum(-1) + templates.free_free * grounds.square().sum(1, keepdim=True)
    rest = rest + 2 * grounds @ templates.free_face.T + templates.face_face
    products = basis - templates.basis_free[..., None] * grounds[:, None, None, None] - templates.basis_face
    linear = products.flatten(-2) @ _colours().flatten(2).flatten(0, 1).T
    linear = linear.unflatten(-1, (len(ALL_COLOURS), -1))
    return (rest[..., None, None, None] - 2 * linear + templates.fixed) / pixels


@cache
def _templates() -> _Templates:
    basis, free, face, angles = [], [], [], []
    white, dark = (torch.tensor(RGB[name])[:, None] / 255 * gain for name, gain in (("white", 1.0), ("black", 0.6)))
    for shape, angle, flipped in product(ALL_SHAPES, _ANGLES, (False, True)):
        posed = Placed(Identity(shape, "red", "blue", "half"), Box(0, 0, 1, 1), angle, flipped)
        parts = layers(posed, _SIDE, torch.device("cpu"), PATTERNS)[2]
        cover, eyes, smile = parts.cover.flatten(), parts.eyes.flatten(), parts.dark.flatten()
        bare = cover * (1 - eyes) * (1 - smile)
        inner, border = bare * (1 - parts.border.flatten()), bare * parts.border.flatten()
        seconds = [parts.patterns[name].flatten() for name in PATTERNS]
        basis.append(torch.stack([torch.stack((inner * (1 - q), border, inner * q)) for q in seconds]))
        free.append(1 - cover)
        face.append(cover * ((1 - smile) * eyes * white + smile * dark))
        angles.append(angle)
    whole, bare_ground, faces = (torch.stack(part) for part in (basis, free, face))
    squares = torch.einsum("bdkc,bdlc->bdkl", _colours(), _colours())
    return _Templates(
        torch.cat((whole.flatten(1, 2), bare_ground[:, None], faces), 1),
        torch.einsum("kqbn,kn->kqb", whole, bare_ground),
        torch.einsum("kqbn,kcn->kqbc", whole, faces),
        torch.einsum("kqij,bdij->kqbd", whole @ whole.transpose(-1, -2), squares),
        bare_ground.square().sum(-1),
        torch.einsum("kn,kcn->kc", bare_ground, faces),
        faces.square().sum((1, 2)),
        torch.tensor(angles),
    )


@cache
def _colours() -> torch.Tensor:
    """(bodies, seconds, 3 of the basis, 3): the colours of body, border and pattern."""
    body = torch.tensor([RGB[name] for name in ALL_COLOURS]) / 255
    border = torch.tensor([border_colour(name) for name in ALL_COLOURS])
    count = len(ALL_COLOURS)
    first = torch.stack((body, border), 1)[:, None].expand(count, count, 2, 3)
    return torch.cat((first, body[None, :, None].expand(count, count, 1, 3)), 2)


@cache
def _possible() -> torch.Tensor:
    """(bodies, seconds): which two colours a sprite can wear."""
    shape, pattern = ALL_SHAPES[0], PATTERNS[0]
    return torch.tensor([[Identity(shape, body, second, pattern).possible for second in ALL_COLOURS] for body in ALL_COLOURS])


@cache
def _ring() -> torch.Tensor:
    ring = torch.ones(_SIDE + 2 * _RING, _SIDE + 2 * _RING, dtype=torch.bool)
    ring[_RING // 2 : -_RING // 2, _RING // 2 : -_RING // 2] = False
    return ring


def _windows(cuts: torch.Tensor) -> torch.Tensor:
    """The boxes out of cuts, (n, 3, side * side)."""
    return cuts[..., _RING : _RING + _SIDE, _RING : _RING + _SIDE].flatten(2)


def _grounds(cuts: torch.Tensor) -> torch.Tensor:
    """(n, 3): the colour around each box."""
    return cuts[:, :, _ring()].median(2).values


def _cut(picture: torch.Tensor, boxes: Sequence[Box]) -> torch.Tensor:
    """Boxes of about one size with a ring around each, (boxes, 3, side + 2 ring, side + 2 ring)."""
    steps = (torch.arange(-_RING, _SIDE + _RING) + 0.5) / _SIDE
    edges = torch.tensor([(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0) for box in boxes])
    x, y = (edges[:, i, None] + edges[:, i + 2, None] * steps for i in (0, 1))
    count = len(steps)
    grid = torch.stack((x[:, None].expand(-1, count, -1), y[:, :, None].expand(-1, -1, count)), -1) * 2 - 1
    longest = float(edges[0, 2:].max()) * picture.shape[-1]
    halvings = 2 if longest > 4 * _SIDE else 1 if longest > 2 * _SIDE else 0
    reduced = F.avg_pool2d(picture, 2**halvings) if halvings else picture  # lest pixels between the samples be left out
    wide = reduced[None].expand(len(boxes), -1, -1, -1)
    return F.grid_sample(wide, grid, padding_mode="border", align_corners=False)


def _shadowed(picture: torch.Tensor, box: Box) -> bool:
    """Whether there is a shadow below the box: the ground there is darker than at the same height to its sides."""
    height, width = picture.shape[-2:]
    long_side, middle, half = max(box.x1 - box.x0, box.y1 - box.y0), (box.x0 + box.x1) / 2, (box.x1 - box.x0) / 2
    low = box.y1 + 0.15 * long_side
    if low + 0.02 > 1:
        return False
    rows = slice(int((low - 0.02 * long_side) * height), int((low + 0.02 * long_side) * height) + 1)

    def brightness(x0: float, x1: float) -> float | None:
        columns = slice(int(max(0.0, x0) * width), int(min(1.0, x1) * width))
        return float(picture[:, rows, columns].mean()) if columns.stop - columns.start > 1 else None

    sides = [brightness(middle - 1.7 * half, middle - 1.25 * half), brightness(middle + 1.25 * half, middle + 1.7 * half)]
    beside = [value for value in sides if value is not None]
    under = brightness(middle - 0.45 * half, middle + 0.45 * half)
    return bool(beside) and under is not None and under < _DARKENED * sum(beside) / len(beside)

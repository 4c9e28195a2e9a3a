"""Who a sprite in a box is, without training: every identity there is, in a few poses, held against the picture at once.

A pixel is a mix of ground, body, border, second colour and face whose shares depend on shape, pattern and pose alone. So the
squared distance to every pair of colours is a quadratic form in them, of sums that a few matrix products give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

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
    """For P poses of each shape, S shapes, Q patterns, N pixels. basis (S, P, Q, 3, N): shares of body, border and second colour.

    free (S, P, N): shares of the ground; face (S, P, 3, N): what the face adds; gram (S, P, Q, 3, 3): the basis's inner products.
    """

    basis: torch.Tensor
    free: torch.Tensor
    face: torch.Tensor
    gram: torch.Tensor
    angles: torch.Tensor


def read_sprite(picture: torch.Tensor, box: Box) -> Reading:
    """Read the sprite in the box of a picture (3, h, w) in 0..1."""
    templates, colours = _templates(), _colours()
    cut = _cut(picture, box)
    ground = cut[:, _ring()].median(1).values
    best: torch.Tensor | None = None
    for dx, dy in _SHIFTS:
        window = cut[:, _RING + dy : _RING + dy + _SIDE, _RING + dx : _RING + dx + _SIDE].flatten(1)
        errors = _errors(window, ground, templates, colours)
        best = errors if best is None else torch.minimum(best, errors)
    assert best is not None
    by_pose = best.masked_fill(~_possible(), math.inf).amin((0, 2, 3, 4))
    angle = float(templates.angles[int(by_pose.argmin())])
    action = "leaning" if abs(angle) > _LEANS else "jumping" if _shadowed(picture, box) else ""
    return Reading(best.min(1).values.permute(0, 2, 3, 1).masked_fill(~_possible()[None, :, :, None], math.inf), action)


def _errors(window: torch.Tensor, ground: torch.Tensor, templates: _Templates, colours: torch.Tensor) -> torch.Tensor:
    """Mean squared distance, (S, P, Q, bodies, seconds). colours (bodies, seconds, 3 of the basis, 3)."""
    rest = window - templates.free[:, :, None] * ground[:, None] - templates.face  # (S, P, 3, N)
    along = torch.einsum("spqkn,spcn->spqkc", templates.basis, rest)
    squares = torch.einsum("bdkc,bdlc->bdkl", colours, colours)
    linear = torch.einsum("spqkc,bdkc->spqbd", along, colours)
    quadratic = torch.einsum("spqkl,bdkl->spqbd", templates.gram, squares)
    total = rest.square().sum((2, 3))[:, :, None, None, None] - 2 * linear + quadratic
    return total / window.numel()


@cache
def _templates() -> _Templates:
    basis, free, face = [], [], []
    poses = [(angle, flipped) for angle in _ANGLES for flipped in (False, True)]
    for shape in ALL_SHAPES:
        posed = [Placed(Identity(shape, "red", "blue", "half"), Box(0, 0, 1, 1), angle, flipped) for angle, flipped in poses]
        drawn = [layers(one, _SIDE, torch.device("cpu"), PATTERNS)[2] for one in posed]
        white, dark = (torch.tensor(RGB[name])[:, None] / 255 * gain for name, gain in (("white", 1.0), ("black", 0.6)))
        for parts in drawn:
            cover, eyes, smile = parts.cover.flatten(), parts.eyes.flatten(), parts.dark.flatten()
            bare = cover * (1 - eyes) * (1 - smile)
            inner, border = bare * (1 - parts.border.flatten()), bare * parts.border.flatten()
            seconds = [parts.patterns[name].flatten() for name in PATTERNS]
            basis.append(torch.stack([torch.stack((inner * (1 - q), border, inner * q)) for q in seconds]))
            free.append(1 - cover)
            face.append(cover * ((1 - smile) * eyes * white + smile * dark))
    shape_and_pose = (len(ALL_SHAPES), len(poses))
    whole = torch.stack(basis).unflatten(0, shape_and_pose)
    return _Templates(
        whole,
        torch.stack(free).unflatten(0, shape_and_pose),
        torch.stack(face).unflatten(0, shape_and_pose),
        whole @ whole.transpose(-1, -2),
        torch.tensor([angle for angle, _ in poses]),
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


def _cut(picture: torch.Tensor, box: Box) -> torch.Tensor:
    """The box with a ring around it, (3, side + 2 ring, side + 2 ring)."""
    steps = (torch.arange(-_RING, _SIDE + _RING) + 0.5) / _SIDE
    x, y = box.x0 + (box.x1 - box.x0) * steps, box.y0 + (box.y1 - box.y0) * steps
    grid = torch.stack((x[None].expand(len(steps), -1), y[:, None].expand(-1, len(steps))), -1) * 2 - 1
    longest = max(box.x1 - box.x0, box.y1 - box.y0) * picture.shape[-1]
    halvings = 2 if longest > 4 * _SIDE else 1 if longest > 2 * _SIDE else 0
    reduced = F.avg_pool2d(picture, 2**halvings) if halvings else picture  # lest pixels between the samples be left out
    return F.grid_sample(reduced[None], grid[None], padding_mode="border", align_corners=False)[0]


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

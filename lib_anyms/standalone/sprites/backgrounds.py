"""The grounds of scenes. Plain, graded and textured; no detail finer than a latent cell, paler than the sprites."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from random import Random

import torch

Colour = tuple[int, int, int]
_MARGIN = 1.5  # a texture is drawn so much larger than the picture and cut out somewhere


def ground(name: str, seed: int, size: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(3, size, size), 0..1: a cut of the texture at a place, and of a brightness, that the seed decides."""
    random = Random(seed)
    canvas = _canvas(name, size, torch.device(device))
    room = canvas.shape[-1] - size
    left = random.randint(0, room)
    top = room // 2 if name in _GRADED else random.randint(0, room)
    return canvas[:, top : top + size, left : left + size] * random.uniform(0.95, 1.03)


@cache
def _canvas(name: str, size: int, device: torch.device) -> torch.Tensor:
    side = int(size * _MARGIN)
    axis = (torch.arange(side, dtype=torch.float32) + 0.5) / size
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return _PAINTERS[name](x, y).clamp(0, 0.97).contiguous().to(device)


def _flat(colour: Colour, like: torch.Tensor) -> torch.Tensor:
    return (torch.tensor(colour, dtype=torch.float32) / 255)[:, None, None].expand(3, *like.shape)


def _mix(first: Colour, second: Colour, share: torch.Tensor) -> torch.Tensor:
    """`second` where share is 1."""
    return torch.lerp(_flat(first, share), _flat(second, share), share.clamp(0, 1))


def _plain(colour: Colour) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda x, y: _flat(colour, x)


def _graded(top: Colour, bottom: Colour) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda x, y: _mix(top, bottom, (y - 0.25).clamp(0, 1))


def _bumps(x: torch.Tensor, y: torch.Tensor, count: int, low: float, high: float, seed: int) -> torch.Tensor:
    """Round soft spots, scattered: 1 in their middle."""
    random = Random(seed)
    spots = torch.zeros_like(x)
    for _ in range(count):
        cx, cy, radius = random.uniform(0, _MARGIN), random.uniform(0, _MARGIN), random.uniform(low, high)
        spots = torch.maximum(spots, (1.5 - torch.hypot(x - cx, y - cy) / radius).clamp(0, 1))
    return spots


def _sand(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    dunes = torch.sin(2 * math.pi * (5 * y + 0.5 * torch.sin(2 * math.pi * 1.3 * x)))
    return _mix((232, 212, 170), (219, 196, 150), 0.5 + 0.5 * dunes)


def _night(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    sky = _mix((34, 38, 78), (66, 66, 118), y / _MARGIN)
    return torch.lerp(sky, _flat((236, 232, 190), x), 0.9 * _bumps(x, y, 60, 0.012, 0.022, 5))


def _grass(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    tufts = torch.sin(2 * math.pi * (11 * x + 0.35 * torch.sin(2 * math.pi * 3 * y))) * torch.sin(2 * math.pi * (6 * y + 2.5 * x))
    return _mix((158, 200, 120), (120, 172, 92), 0.5 + 1.2 * tufts)


def _waves(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    crests = torch.sin(2 * math.pi * (7 * y + 0.22 * torch.sin(2 * math.pi * 4 * x)))
    return _mix((118, 168, 208), (178, 212, 232), 0.5 + 1.5 * (crests - 0.35))


def _bricks(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    rows = 8.0
    shifted = x * rows / 2 + 0.5 * torch.remainder((y * rows).floor(), 2)
    gap = torch.minimum(_from_line(y * rows) / rows, _from_line(shifted) * 2 / rows)
    return _mix((226, 214, 204), (190, 142, 122), (gap - 0.008) * 256)


def _tiles(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    checks = torch.remainder((x * 6).floor() + (y * 6).floor(), 2)
    return _mix((205, 200, 216), (172, 166, 190), checks)


def _stone(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _mix((182, 184, 184), (164, 166, 168), _bumps(x, y, 70, 0.03, 0.07, 9))


def _from_line(value: torch.Tensor) -> torch.Tensor:
    """Distance to the next whole number."""
    return (value - value.round()).abs()


_GRADED = {"sky", "sunset"}
_PAINTERS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "paper": _plain((247, 247, 247)),
    "studio": _plain((196, 196, 196)),
    "snow": _plain((232, 240, 247)),
    "sand": _sand,
    "stone": _stone,
    "sky": _graded((112, 176, 236), (214, 234, 246)),
    "sunset": _graded((246, 172, 120), (168, 128, 176)),
    "night": _night,
    "grass": _grass,
    "waves": _waves,
    "bricks": _bricks,
    "tiles": _tiles,
}

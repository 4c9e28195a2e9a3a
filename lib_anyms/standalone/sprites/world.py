"""Sprites drawn: scenes in, pictures and silhouettes out, on any device. One sprite is one patch of signed distances."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from lib_anyms.standalone.sprites.backgrounds import ground
from lib_anyms.standalone.sprites.scene import Placed, Scene, extent
from lib_anyms.standalone.sprites.shapes import SIGNED_DISTANCES, Field

RGB = {
    "red": (218, 38, 44),
    "orange": (246, 134, 20),
    "yellow": (252, 222, 50),
    "lime": (166, 224, 40),
    "green": (34, 136, 62),
    "aqua": (56, 208, 214),
    "blue": (40, 82, 212),
    "purple": (128, 56, 178),
    "pink": (248, 152, 196),
    "brown": (128, 78, 42),
    "white": (246, 246, 246),
    "black": (44, 42, 50),
    "magenta": (220, 30, 150),
    "gray": (140, 142, 146),
}
# x, y and scale of the face, in the shape's own units; where nothing is said, in the middle.
FACES = {
    "star": (0.0, 0.02, 0.85),
    "heart": (0.0, -0.2, 1.0),
    "moon": (-0.58, 0.0, 0.62),
    "cloud": (-0.05, 0.05, 0.95),
    "drop": (0.0, 0.3, 1.0),
    "fish": (-0.5, -0.08, 0.75),
    "cat": (0.0, 0.18, 1.1),
    "bunny": (0.0, 0.38, 0.95),
    "bear": (0.0, 0.12, 1.1),
    "mushroom": (0.0, 0.45, 0.75),
    "house": (0.0, 0.36, 1.05),
    "tree": (0.0, 0.28, 0.9),
    "ghost": (0.0, -0.24, 1.05),
    "rocket": (0.0, -0.02, 0.75),
    "butterfly": (0.0, -0.24, 0.8),
    "duck": (-0.36, -0.4, 0.7),
    "crown": (0.0, 0.36, 0.85),
    "cactus": (0.0, -0.42, 0.72),
    "boat": (0.0, 0.54, 0.75),
    "bell": (0.0, 0.02, 0.95),
    "bone": (0.0, 0.0, 0.7),
    "arrow": (0.3, 0.0, 0.9),
}
_BORDER = 0.075
# Of a jumping sprite's shadow: half its width in widths of the box, its height and its depth below the box in longest sides.
_SHADOW = (0.55, 0.10, 0.15)


@dataclass(frozen=True)
class Drawn:
    """pictures: (scenes, 3, size, size) in 0..1. owners: (scenes, size, size), uint8: the topmost sprite's number, 0 = none.

    silhouettes: for each scene (sprites, size, size), bool: the whole sprites, also where others cover them.
    """

    pictures: torch.Tensor
    owners: torch.Tensor
    silhouettes: list[torch.Tensor]


def draw(scenes: Sequence[Scene], size: int = 256, device: torch.device | str = "cpu") -> Drawn:
    """Draw the scenes, `size` pixels square."""
    pictures = torch.empty(len(scenes), 3, size, size, device=device)
    owners = torch.zeros(len(scenes), size, size, dtype=torch.uint8, device=device)
    silhouettes = []
    for picture, owner, scene in zip(pictures, owners, scenes):
        picture.copy_(ground(scene.background, scene.seed, size, device))
        for subject in scene.subjects:
            if subject.action == "jumping":
                _shadow(picture, subject)
        whole = torch.zeros(len(scene.subjects), size, size, dtype=torch.bool, device=device)
        for number, subject in enumerate(scene.subjects):
            rows, columns, parts = layers(subject, size, torch.device(device))
            picture[:, rows, columns].lerp_(_coloured(subject, parts), parts.cover)
            inside = parts.cover > 0.5
            whole[number, rows, columns] = inside
            owner[rows, columns][inside] = number + 1
        silhouettes.append(whole)
    return Drawn(pictures, owners, silhouettes)


def to_image(picture: torch.Tensor) -> Image.Image:
    """(3, height, width) in 0..1 -> an 8-bit picture."""
    bytes_ = (picture.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(bytes_.permute(1, 2, 0).cpu().numpy())


@dataclass(frozen=True)
class Layers:
    """A sprite before its colours, all (h, w) in 0..1: what it covers, and of that the border, the eyes, pupils and smile.

    patterns: for each pattern where the second colour is.
    """

    cover: Field
    border: Field
    eyes: Field
    dark: Field
    patterns: dict[str, Field]


def layers(subject: Placed, size: int, device: torch.device, patterns: Sequence[str] = ()) -> tuple[slice, slice, Layers]:
    """(rows, columns) of the sprite's patch in a picture of `size` pixels, and its layers there: of these patterns or its own."""
    box, shape = subject.box, subject.identity.shape
    rows, columns = _span(box.y0, box.y1, size), _span(box.x0, box.x1, size)
    x0, y0, x1, y1 = extent(shape, subject.angle, subject.flipped)
    across, down = (x1 - x0) / (box.x1 - box.x0), (y1 - y0) / (box.y1 - box.y0)  # own units a picture
    u = x0 + ((torch.arange(columns.start, columns.stop, device=device) + 0.5) / size - box.x0) * across
    v = y0 + ((torch.arange(rows.start, rows.stop, device=device) + 0.5) / size - box.y0) * down
    cos, sin = math.cos(math.radians(subject.angle)), math.sin(math.radians(subject.angle))
    x, y = u[None] * cos + v[:, None] * sin, v[:, None] * cos - u[None] * sin
    if subject.flipped:
        x = -x
    sharp = size / math.sqrt(across * down)  # pixels an own unit
    distance = SIGNED_DISTANCES[shape](x, y)
    drawn = {name: _inside(PATTERN_DISTANCES[name](x, y), sharp) for name in patterns or (subject.identity.pattern,)}
    border = 1 - _inside(distance + _BORDER, sharp)
    return rows, columns, Layers(_inside(distance, sharp), border, *_face(shape, x, y, sharp), drawn)


def border_colour(body: str) -> tuple[float, float, float]:
    """A darker body; around a black one a lighter one. In 0..1."""
    red, green, blue = (value / 255 for value in RGB[body])
    return (red + 0.28, green + 0.28, blue + 0.28) if body == "black" else (0.35 * red, 0.35 * green, 0.35 * blue)


def _span(low: float, high: float, size: int) -> slice:
    return slice(max(0, math.floor(low * size) - 1), min(size, math.ceil(high * size) + 1))


def _inside(distance: Field, sharp: float) -> Field:
    """The share of each pixel inside an edge."""
    return (0.5 - distance * sharp).clamp(0, 1)


def _coloured(subject: Placed, parts: Layers) -> Field:
    """(3, h, w): body, pattern, border and face."""
    identity, shade = subject.identity, subject.shade
    colours = torch.lerp(_rgb(identity.body, shade, parts), _rgb(identity.second, shade, parts), parts.patterns[identity.pattern])
    border = torch.tensor(border_colour(identity.body), device=colours.device)[:, None, None] * shade
    colours.lerp_(border, parts.border)
    colours.lerp_(_rgb("white", 1.0, parts), parts.eyes)
    return colours.lerp_(_rgb("black", 0.6, parts), parts.dark)


def _face(shape: str, x: Field, y: Field, sharp: float) -> tuple[Field, Field]:
    """White eyes; their dark and the smile."""
    cx, cy, scale = FACES.get(shape, (0.0, 0.0, 1.0))
    x, y, sharp = (x - cx) / scale, (y - cy) / scale, sharp * scale
    aside = x.abs()
    eyes = _inside(torch.hypot(aside - 0.22, y + 0.06) - 0.165, sharp)
    pupils = _inside(torch.hypot(aside - 0.2, y + 0.04) - 0.09, sharp)
    smile = torch.maximum((torch.hypot(x, y - 0.12) - 0.17).abs() - 0.04, 0.16 - y)
    return eyes, torch.maximum(pupils, _inside(smile, sharp))


def _rgb(name: str, shade: float, parts: Layers) -> Field:
    return (torch.tensor(RGB[name], device=parts.cover.device) * (shade / 255)).clamp(0, 1)[:, None, None]


def _shadow(picture: torch.Tensor, subject: Placed) -> None:
    """Darken an ellipse of ground below a jumping sprite."""
    size, box = picture.shape[-1], subject.box
    wide, flat, drop = _SHADOW
    rx, ry = wide * (box.x1 - box.x0), flat * subject.long_side / 2
    cx, cy = (box.x0 + box.x1) / 2, box.y1 + drop * subject.long_side
    rows, columns = _span(cy - ry, cy + ry, size), _span(cx - rx, cx + rx, size)
    y = ((torch.arange(rows.start, rows.stop, device=picture.device) + 0.5) / size - cy) / ry
    x = ((torch.arange(columns.start, columns.stop, device=picture.device) + 0.5) / size - cx) / rx
    picture[:, rows, columns] *= 1 - 0.5 * _inside(torch.hypot(x[None], y[:, None]) - 1, ry * size)


def _repeated(value: Field, period: float) -> Field:
    """Distance to the next multiple of `period`."""
    return (torch.remainder(value + period / 2, period) - period / 2).abs()


def _dots(x: Field, y: Field) -> Field:
    odd = torch.remainder(torch.round(y / 0.5), 2) * 0.31
    return torch.hypot(_repeated(x + odd, 0.62), _repeated(y, 0.5)) - 0.19


def _checks(x: Field, y: Field) -> Field:
    cell = 0.42
    return -(_repeated(x, 2 * cell) - cell / 2) * (_repeated(y, 2 * cell) - cell / 2) / (cell / 2)


PATTERN_DISTANCES: dict[str, Callable[[Field, Field], Field]] = {
    "stripes": lambda x, y: _repeated(x, 0.64) - 0.16,
    "bands": lambda x, y: _repeated(y, 0.64) - 0.16,
    "dots": _dots,
    "checks": _checks,
    "half": lambda x, y: 0.15 - y,
    "ring": lambda x, y: (torch.hypot(x, y) - 0.62).abs() - 0.17,
}

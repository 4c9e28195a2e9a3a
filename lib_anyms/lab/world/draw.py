"""Draw scenes as images or latent cells. A cell is the mean colour of 8 x 8 pixels, so small drawings are exact."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import torch
from PIL import Image

from lib_anyms.lab.world.identity import ALL_COLOURS, Identity
from lib_anyms.lab.world.scene import BACKGROUNDS, Figure, Scene, pose
from lib_anyms.lab.world.shapes import SILHOUETTES, second_part

_FIGURES = "de2a2a f58c18 fad828 22963e 28c8d7 2448d6 8030aa f882be a0e23c 7c481e"
_BACKGROUNDS = "e8d6b0 b0d28c b0d6f0 22243c f6f7fa c4b4d6 966e5c aaaeb2"
FIGURE_RGB = {name: tuple(bytes.fromhex(code)) for name, code in zip(ALL_COLOURS, _FIGURES.split())}
BACKGROUND_RGB = {name: tuple(bytes.fromhex(code)) for name, code in zip(BACKGROUNDS, _BACKGROUNDS.split())}
PAPERS = (255, 237, 217)  # grey levels of the plain backgrounds of reference images
REFERENCE_RADII = (11.2, 14.4)  # in 32nds of the image
REFERENCE_SIDE = 64  # pixels, as the image encoder takes them


def rgb(name: str) -> np.ndarray:
    """(3,) in 0..1: the colour of a figure or a background."""
    return np.array({**FIGURE_RGB, **BACKGROUND_RGB}[name], np.float32) / 255


def coverage(figure: Figure, side: float, pixels: tuple[range, range]) -> np.ndarray:
    """(2, rows, columns), float32 in 0..1: the share of each pixel in the body colour, and in the second colour.

    pixels: the rows and the columns to draw, of an image of `side` pixels.
    """
    radius, tilt, identity = figure.radius * side, figure.tilt, figure.identity
    samples = max(2, round(24 / radius)) if radius < 12 else 3  # a side of a pixel
    rows, columns = [(np.arange(len(span) * samples, dtype=np.float32) + 0.5) / samples + span.start for span in pixels]
    u, v = (columns[None] - figure.x * side) / radius, (rows[:, None] - figure.y * side) / radius
    cos, sin = math.cos(tilt), math.sin(tilt)
    x, y = cos * u + sin * v, cos * v - sin * u
    if figure.flipped:
        x = -x
    inside = SILHOUETTES[identity.shape](x, y)
    second = inside & second_part(identity.shape, identity.pattern, x, y)
    parts = np.stack((inside & ~second, second)).astype(np.float32)
    return parts.reshape(2, len(pixels[0]), samples, len(pixels[1]), samples).mean((2, 4))


def figure_coverage(figure: Figure, side: int) -> tuple[slice, slice, np.ndarray]:
    """(rows, columns) of the figure's patch in an image of `side` pixels, and its coverage (2, rows, columns)."""
    box = figure.box
    rows, columns = _span(box.y0, box.y1, side), _span(box.x0, box.x1, side)
    return slice(rows.start, rows.stop), slice(columns.start, columns.stop), coverage(figure, side, (rows, columns))


def draw(scene: Scene, side: int) -> torch.Tensor:
    """(3, side, side) in 0..1."""
    image = np.broadcast_to(rgb(scene.background)[:, None, None], (3, side, side)).copy()
    for figure in scene.figures:
        rows, columns, parts = figure_coverage(figure, side)
        paint(image[:, rows, columns], figure.identity, parts)
    return torch.from_numpy(image)


def draw_reference(identity: Identity, random: Random, side: int = REFERENCE_SIDE) -> torch.Tensor:
    """(3, side, side) in 0..1: the figure alone and large on white or light grey, in a random pose."""
    figure = pose(identity, REFERENCE_RADII, random)
    width, height = figure.size
    figure = figure.moved_to(random.uniform(0, max(0.0, 1 - width)), random.uniform(0, max(0.0, 1 - height)))
    image = np.full((3, side, side), random.choice(PAPERS) / 255, np.float32)
    rows, columns, parts = figure_coverage(figure, side)
    paint(image[:, rows, columns], identity, parts)
    return torch.from_numpy(image)


def to_image(pixels: torch.Tensor) -> Image.Image:
    """(3, height, width) in 0..1 -> an 8-bit image."""
    levels = (pixels.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def paint(patch: np.ndarray, identity: Identity, parts: np.ndarray) -> None:
    """Blend a figure into `patch` (3, h, w) in place. parts: (2, h, w), coverage by body and second colour."""
    body, second = rgb(identity.body)[:, None, None], rgb(identity.second)[:, None, None]
    patch *= 1 - parts.sum(0)
    patch += body * parts[0] + second * parts[1]


def _span(low: float, high: float, side: int) -> range:
    return range(max(0, math.floor(low * side)), min(side, math.ceil(high * side)))

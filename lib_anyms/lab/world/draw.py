"""Scenes drawn as pictures, and as latents: a latent cell is the mean colour of its 8 x 8 pixels, so drawing small is
exact.
"""

from __future__ import annotations

import math
from random import Random

import numpy as np
import torch
from PIL import Image

from lib_anyms.lab.world.identity import Identity
from lib_anyms.lab.world.scene import Figure, Scene, pose
from lib_anyms.lab.world.shapes import coverage

FIGURE_RGB = {
    "red": (222, 42, 42),
    "orange": (245, 140, 24),
    "yellow": (250, 216, 40),
    "green": (34, 150, 62),
    "cyan": (40, 200, 215),
    "blue": (36, 72, 214),
    "purple": (128, 48, 170),
    "pink": (248, 130, 190),
    "lime": (160, 226, 60),
    "brown": (124, 72, 30),
}
GROUND_RGB = {
    "sand": (232, 214, 176),
    "grass": (176, 210, 140),
    "sky": (176, 214, 240),
    "night": (34, 36, 60),
    "snow": (246, 247, 250),
    "dusk": (196, 180, 214),
    "clay": (150, 110, 92),
    "fog": (170, 174, 178),
}
PAPERS = (255, 237, 217)  # grey levels of the plain grounds of reference pictures
REFERENCE_RADII = (11.2, 14.4)  # in 32nds of the picture
REFERENCE_SIDE = 64  # pixels, as the image encoder takes them


def rgb(name: str) -> np.ndarray:
    """(3,) in 0..1: a figure's or a ground's colour."""
    return np.array({**FIGURE_RGB, **GROUND_RGB}[name], np.float32) / 255


def figure_coverage(figure: Figure, side: int) -> tuple[slice, slice, np.ndarray]:
    """(rows, columns) of the patch that holds the figure in a picture of `side` pixels, and its coverage (2, rows,
    columns).
    """
    box = figure.box
    rows, columns = _span(box.y0, box.y1, side), _span(box.x0, box.x1, side)
    identity, centre = figure.identity, (figure.x * side, figure.y * side)
    parts = coverage(
        identity.shape, identity.pattern, centre, figure.radius * side, figure.tilt, figure.flipped, (rows, columns)
    )
    return slice(rows.start, rows.stop), slice(columns.start, columns.stop), parts


def draw(scene: Scene, side: int) -> torch.Tensor:
    """(3, side, side) in 0..1."""
    picture = np.broadcast_to(rgb(scene.ground)[:, None, None], (3, side, side)).copy()
    for figure in scene.figures:
        _paint(picture, figure, side)
    return torch.from_numpy(picture)


def silhouettes(scene: Scene, side: int) -> torch.Tensor:
    """(figures, side, side), bool: the pixels that belong to each figure, also where another one covers them."""
    inside = torch.zeros(len(scene.figures), side, side, dtype=torch.bool)
    for number, figure in enumerate(scene.figures):
        rows, columns, parts = figure_coverage(figure, side)
        inside[number, rows, columns] = torch.from_numpy(parts.sum(0) > 0.5)
    return inside


def draw_reference(identity: Identity, random: Random, side: int = REFERENCE_SIDE) -> torch.Tensor:
    """(3, side, side) in 0..1: the figure alone and large on white or light grey, with a pose of its own."""
    figure = pose(identity, REFERENCE_RADII, random)
    width, height = figure.size
    figure = figure.moved_to(random.uniform(0, max(0.0, 1 - width)), random.uniform(0, max(0.0, 1 - height)))
    picture = np.full((3, side, side), random.choice(PAPERS) / 255, np.float32)
    _paint(picture, figure, side)
    return torch.from_numpy(picture)


def to_image(picture: torch.Tensor) -> Image.Image:
    """(3, height, width) in 0..1 -> an 8-bit picture."""
    levels = (picture.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _paint(picture: np.ndarray, figure: Figure, side: int) -> None:
    rows, columns, parts = figure_coverage(figure, side)
    body, second = (rgb(name)[:, None, None] for name in (figure.identity.body, figure.identity.second))
    patch = picture[:, rows, columns]
    patch *= 1 - parts.sum(0)
    patch += body * parts[0] + second * parts[1]


def _span(low: float, high: float, side: int) -> range:
    return range(max(0, math.floor(low * side)), min(side, math.ceil(high * side)))

"""What the UNet sees of a picture: each cell's mean colour, whitened and spread over four channels. No encoder need
run.

The four channels are the corners of a tetrahedron in colour space: redundant, so that the noise of four channels is
averaged in three colours, and with nothing in them that is hard to predict. The VAE's encoder computes the same
(train/vae.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

MEAN = (0.60, 0.58, 0.57)  # of the world's pictures, in 0..1
CELL = 8  # pixels a side
# Directions in which the world's colours are nearly uncorrelated, and their standard deviations there.
_DIRECTIONS = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, 0.0, -(2**-0.5)), (-(6**-0.5), 2 * 6**-0.5, -(6**-0.5)))
_DEVIATIONS = (0.34, 0.22, 0.15)
_CORNERS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))  # of a tetrahedron, times 3 ** -0.5


def colour_to_latent() -> torch.Tensor:
    """(4 latent channels, 3 colours in 0..1)."""
    whitening = torch.tensor(_DIRECTIONS) / torch.tensor(_DEVIATIONS)[:, None]
    return torch.tensor(_CORNERS, dtype=torch.float32) * 3**-0.5 @ whitening


def latent_to_colour() -> torch.Tensor:
    """(3 colours, 4 latent channels): the least-squares inverse."""
    return torch.linalg.pinv(colour_to_latent())


def latent_bias() -> torch.Tensor:
    """(4,): what to add after `colour_to_latent`."""
    return -colour_to_latent() @ torch.tensor(MEAN)


def latents_of(cells: torch.Tensor) -> torch.Tensor:
    """Mean colours of cells (..., 3, h, w) in 0..1 -> latents (..., 4, h, w)."""
    weight, bias = colour_to_latent().to(cells), latent_bias().to(cells)
    return torch.einsum("lc,...chw->...lhw", weight, cells) + bias[:, None, None]


def pool(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, h, w) in 0..1 -> the mean colour of each cell, (n, 3, h / 8, w / 8)."""
    return F.avg_pool2d(pictures, CELL)


def preview(latents: torch.Tensor) -> torch.Tensor:
    """Latents (n, 4, h, w) -> the colour of each cell, (n, 3, h, w) in 0..1."""
    colours = torch.einsum("cl,...lhw->...chw", latent_to_colour().to(latents), latents)
    return (colours + torch.tensor(MEAN).to(latents)[:, None, None]).clamp(0, 1)

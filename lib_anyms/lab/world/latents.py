"""The latents the UNet works on: each cell's mean colour, whitened, in four channels. No encoder runs for them.

The four channels are the corners of a tetrahedron in colour space. This is redundant, so the noise of four channels
averages out over three colours, and no channel is hard to predict. The VAE's encoder computes the same (train/vae.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

MEAN = (0.60, 0.58, 0.57)  # of the world's images, in 0..1
CELL = 8  # pixels a side
# Directions in which the world's colours are nearly uncorrelated, and their standard deviations there.
_DIRECTIONS = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, 0.0, -(2**-0.5)), (-(6**-0.5), 2 * 6**-0.5, -(6**-0.5)))
_DEVIATIONS = (0.34, 0.22, 0.15)
_CORNERS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))  # of a tetrahedron, times 3 ** -0.5

_WHITENING = torch.tensor(_DIRECTIONS) / torch.tensor(_DEVIATIONS)[:, None]
COLOUR_TO_LATENT = torch.tensor(_CORNERS, dtype=torch.float32) * 3**-0.5 @ _WHITENING  # (4 channels, 3 colours)
LATENT_TO_COLOUR = torch.linalg.pinv(COLOUR_TO_LATENT)  # (3, 4): the least-squares inverse
LATENT_BIAS = -COLOUR_TO_LATENT @ torch.tensor(MEAN)  # (4,), added after COLOUR_TO_LATENT


def latents_of(cells: torch.Tensor) -> torch.Tensor:
    """Mean colours of cells (..., 3, h, w) in 0..1 -> latents (..., 4, h, w)."""
    latents = torch.einsum("lc,...chw->...lhw", COLOUR_TO_LATENT.to(cells), cells)
    return latents + LATENT_BIAS.to(cells)[:, None, None]


def pool(images: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, h, w) in 0..1 -> the mean colour of each cell, (n, 3, h / 8, w / 8)."""
    return F.avg_pool2d(images, CELL)


def preview(latents: torch.Tensor) -> torch.Tensor:
    """Latents (n, 4, h, w) -> the colour of each cell, (n, 3, h, w) in 0..1."""
    colours = torch.einsum("cl,...lhw->...chw", LATENT_TO_COLOUR.to(latents), latents)
    return (colours + torch.tensor(MEAN).to(latents)[:, None, None]).clamp(0, 1)

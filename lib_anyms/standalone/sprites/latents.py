"""What the UNet sees of a picture: a linear map of each 8 x 8 pixels, for which no encoder need run.

A latent cell is the mean colour of its pixels in three uncorrelated directions, and how much brighter their upper half is. The
VAE's encoder gives the same (vae.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lib_anyms.standalone.structure import LATENT_CHANNELS

MEAN = (0.61, 0.63, 0.60)  # of the world's pictures, in 0..1
# Directions of colour in which the world's pixels are nearly uncorrelated: bright, red against blue, green against the other two.
_COLOURS = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, 0.0, -(2**-0.5)), (-(6**-0.5), 2 * 6**-0.5, -(6**-0.5)))
_STRENGTHS = (0.32, 0.18, 0.10)  # their standard deviations: each latent channel has about 1
_DETAIL = 0.15  # the same of the brightness of the upper half less the lower's


def colour_matrix() -> torch.Tensor:
    """(3 latent channels, 3 colours in 0..1)."""
    return torch.tensor(_COLOURS) / torch.tensor(_STRENGTHS)[:, None]


def latent_matrix() -> tuple[torch.Tensor, torch.Tensor]:
    """(4, 3, 2, 2) and (4,): from the mean colours of a cell's quarters, in 0..1, to its latent."""
    weight = torch.zeros(LATENT_CHANNELS, 3, 2, 2)
    weight[:3] = colour_matrix()[:, :, None, None] / 4
    weight[3] = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]) / (6 * _DETAIL)
    bias = torch.zeros(LATENT_CHANNELS)
    bias[:3] = -colour_matrix() @ torch.tensor(MEAN)
    return weight, bias


def pool_latents(pictures: torch.Tensor, cell: int = 8) -> torch.Tensor:
    """Pictures (n, 3, h, w) in 0..1 -> what the UNet is trained on, (n, 4, h / cell, w / cell).

    The encoder's latents times the hosts' scale, for cells of 8 pixels; pictures drawn smaller have smaller cells.
    """
    weight, bias = (tensor.to(pictures) for tensor in latent_matrix())
    quarters = F.avg_pool2d(pictures, cell // 2) if cell > 2 else pictures
    return F.conv2d(quarters, weight, bias, stride=2)


def preview(latents: torch.Tensor) -> torch.Tensor:
    """The mean colour of each cell, (n, 3, h, w) in 0..1."""
    back = torch.linalg.inv(colour_matrix()).to(latents)
    colours = torch.einsum("cl,nlhw->nchw", back, latents[:, :3]) + torch.tensor(MEAN).to(latents)[:, None, None]
    return colours.clamp(0, 1)

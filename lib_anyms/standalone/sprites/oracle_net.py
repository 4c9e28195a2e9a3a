"""The oracle's eyes: where in a picture sprites are, and which ground is. A small net trained on real renderings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lib_anyms.standalone.sprites.scene import BACKGROUNDS, REFERENCE_GROUNDS

GROUNDS = (*BACKGROUNDS, *REFERENCE_GROUNDS)
CELL = 8  # pixels of the 256 px picture that one answer about boxes and the ground is for
MASK_CELL = 4  # and one about what belongs to a sprite
SIDE = 256


@dataclass(frozen=True)
class Seen:
    """What the net makes of pictures of 256 px, all as logits or cells.

    sprite (n, 64, 64): part of a sprite. centre (n, 32, 32): the middle of one. edges (n, 4, 32, 32): from there to the left,
    top, right and bottom edge of its box, in pictures. ground (n, GROUNDS, 32, 32).
    """

    sprite: torch.Tensor
    centre: torch.Tensor
    edges: torch.Tensor
    ground: torch.Tensor


def _layer(before: int, after: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.GroupNorm(8, after), nn.SiLU())


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_layer(width, width, dilation=dilation), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Finder(nn.Module):
    """Dense: one answer a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.quarter = nn.Sequential(_layer(3, 24, 2), _layer(24, 48, 2))
        self.eighth = nn.Sequential(_layer(48, 80, 2), *(_Residual(80, dilation) for dilation in (1, 2, 4, 1)))
        self.fine = nn.Sequential(_layer(80 + 48, 32), nn.Conv2d(32, 1, 3, padding=1))
        self.out = nn.Conv2d(80, 5 + len(GROUNDS), 1)

    def forward(self, pictures: torch.Tensor) -> Seen:
        """Pictures (n, 3, 256, 256) in 0..1."""
        quarter = self.quarter(pictures * 2 - 1)
        deep = self.eighth(quarter)
        sprite = self.fine(torch.cat((quarter, F.interpolate(deep, scale_factor=2.0)), 1))[:, 0]
        out = self.out(deep)
        return Seen(sprite, out[:, 0], F.softplus(out[:, 1:5]) / 8, out[:, 5:])

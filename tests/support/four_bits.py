"""A linear layer in four bits, as Forge keeps those of nf4 and fp4 checkpoints: two numbers a byte, no attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class FourBits(nn.Module):
    """`weight`: (bytes, 1); its true shape and its scale are in `weight.quant_state`, as bitsandbytes has them."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        exact = linear.weight.detach()
        scale = exact.abs().max() / 7
        numbers = ((exact / scale).round() + 8).to(torch.uint8).flatten()
        packed: Any = nn.Parameter((numbers[::2] * 16 + numbers[1::2])[:, None], requires_grad=False)
        packed.quant_state = SimpleNamespace(shape=exact.shape, absmax=scale)
        self.weight = packed
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.weight.quant_state
        numbers = torch.stack((self.weight // 16, self.weight % 16), dim=1).flatten()
        return F.linear(x, ((numbers.to(x) - 8) * state.absmax).view(state.shape), self.bias)


def in_four_bits(unet: nn.Module) -> nn.Module:
    """`unet` with its linear layers in four bits, but the first, in whose type the tests sample."""
    for module in list(unet.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and name != "time_embed":
                setattr(module, name, FourBits(child))
    return unet

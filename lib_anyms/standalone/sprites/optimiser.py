"""The step of a training: AdamW, or Muon for what multiplies (linear layers, convolutions) and AdamW for the rest.

Muon (Jordan and others, 2024; `torch.optim.Muon`) makes each matrix's step orthogonal, so that rare directions learn as fast as
common ones; scaled to AdamW's usual size (arXiv 2502.16982), one rate serves both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

_ENDS = ("conv_in", "conv_out")  # of a UNet: what reads and writes latents stays with AdamW, as do embeddings and norms
_MOMENTUM, _BETAS = 0.95, (0.9, 0.99)


class Optimiser:
    """Steps the weights of `module` that require gradients.

    Muon takes matrices only: a convolution (out, in, h, w) is stepped as (out, in * h * w), through a view of the same memory.
    """

    def __init__(self, module: nn.Module, rate: float, decay: float, muon: bool = False) -> None:
        self.weights = [weight for weight in module.parameters() if weight.requires_grad]
        self._views = [(weight, nn.Parameter(weight.detach().flatten(1))) for weight in (_matrices(module) if muon else ())]
        taken = {id(weight) for weight, _ in self._views}
        rest = [weight for weight in self.weights if id(weight) not in taken]
        self._parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(rest, rate, betas=_BETAS, weight_decay=decay, fused=True)
        }
        if self._views:
            views = [view for _, view in self._views]
            self._parts["muon"] = torch.optim.Muon(
                views, rate, weight_decay=decay, momentum=_MOMENTUM, adjust_lr_fn="match_rms_adamw"
            )

    def step(self, rate: float) -> None:
        """One step at this rate, by the gradients there are; they are gone afterwards."""
        for weight, view in self._views:
            view.grad = None if weight.grad is None else weight.grad.flatten(1)
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)
        for weight, _ in self._views:
            weight.grad = None

    def state(self) -> dict[str, torch.Tensor]:
        """Everything a step depends on beside the weights."""
        return {
            f"{name}.{number}.{what}": tensor
            for name, part in self._parts.items()
            for number, slot in part.state_dict()["state"].items()
            for what, tensor in slot.items()
        }

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """The inverse of `state`."""
        slots: dict[str, dict[int, dict[str, torch.Tensor]]] = {name: {} for name in self._parts}
        for key, tensor in state.items():
            name, number, what = key.split(".")
            slots[name].setdefault(int(number), {})[what] = tensor
        for name, part in self._parts.items():
            part.load_state_dict({**part.state_dict(), "state": slots[name]})


def _matrices(module: nn.Module) -> Iterator[nn.Parameter]:
    for name, part in module.named_modules():
        ends = name.rpartition(".")[2] in _ENDS or "embedding" in name
        if isinstance(part, (nn.Linear, nn.Conv2d)) and part.weight.requires_grad and not ends:
            yield cast(nn.Parameter, part.weight)

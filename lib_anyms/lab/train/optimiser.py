"""The step of a training: AdamW, or Muon for what multiplies (linear layers, convolutions) and AdamW for the rest.

Muon (Jordan and others, 2024) makes each matrix's step orthogonal, so that rare directions learn as fast as common
ones; scaled to AdamW's usual size (arXiv 2502.16982), one rate serves both. `torch.optim.Muon` does the same in
bfloat16, one matrix after the other: 8 s a step of our UNet on a CPU that only imitates bfloat16, where this takes a
twentieth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import nn

_ENDS = ("conv_in", "conv_out")  # of a UNet: what reads and writes latents stays with AdamW, as do embeddings and norms
_MOMENTUM, _BETAS = 0.95, (0.9, 0.99)
_QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: all but the smallest singular values come near 1
_ROUNDS = 3  # five come nearer, and cost a tenth of a training step more
_USUAL = 0.2  # root mean square of AdamW's steps at a rate of 1


class Optimiser:
    """Steps the weights of `module` that require gradients.

    Muon takes matrices only: a convolution (out, in, h, w) is stepped as a matrix (out, in * h * w) that shares its
    memory.
    """

    def __init__(self, module: nn.Module, rate: float, decay: float, muon: bool = False) -> None:
        self.weights = [weight for weight in module.parameters() if weight.requires_grad]
        self._views = [
            (weight, nn.Parameter(_matrix(weight.detach(), weight))) for weight in (_matrices(module) if muon else ())
        ]
        taken = {id(weight) for weight, _ in self._views}
        rest = [weight for weight in self.weights if id(weight) not in taken]
        self._parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(rest, rate, betas=_BETAS, weight_decay=decay, fused=True)
        }
        if self._views:
            views = [view for _, view in self._views]
            self._parts["muon"] = Muon(views, rate, decay)

    def step(self, rate: float) -> None:
        """One step at this rate, by the gradients there are; they are gone afterwards."""
        for weight, view in self._views:
            view.grad = (
                None if weight.grad is None else _matrix(weight.grad.contiguous(memory_format=_order(weight)), weight)
            )
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


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum, for matrices; those of one shape are stepped together."""

    def __init__(self, matrices: list[nn.Parameter], rate: float, decay: float) -> None:
        super().__init__(matrices, {"lr": rate, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Step every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in alike.items():
                steps = orthogonal(torch.stack([self._followed(matrix) for matrix in matrices]))
                rate = group["lr"] * _USUAL * math.sqrt(max(shape))
                for matrix, step in zip(matrices, steps):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=rate)

    def _followed(self, matrix: nn.Parameter) -> torch.Tensor:
        """The gradient after momentum."""
        gradient = cast(torch.Tensor, matrix.grad)
        slot = self.state[matrix]
        if "momentum_buffer" not in slot:
            slot["momentum_buffer"] = torch.zeros_like(gradient)
        slot["momentum_buffer"].lerp_(gradient, 1 - _MOMENTUM)
        return gradient.lerp(slot["momentum_buffer"], _MOMENTUM)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (n, rows, columns) with their larger singular values brought near 1, by Newton and Schulz' iteration.

    A round is X <- P(X X^T) X with a polynomial P, and P commutes with X X^T. So the rounds are done on the small
    square X X^T alone and their product is applied to X once: for wide matrices a third of the work.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    gram = wide @ wide.mT
    identity = torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype)
    product = identity.expand_as(gram)
    for _ in range(_ROUNDS):
        polynomial = torch.baddbmm(a * identity + b * gram, gram, gram, alpha=c)
        product = polynomial @ product
        gram = polynomial @ gram @ polynomial
    found = product @ wide
    return found.mT if tall else found


def _order(weight: torch.Tensor) -> torch.memory_format:
    return torch.contiguous_format if weight.is_contiguous() else torch.channels_last


def _matrix(tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`tensor` (out, ...) as a matrix (out, rest) that shares its memory; the columns lie as in the memory of `weight`.

    `view` raises where memory cannot be shared: steps of a copy would be lost, and nothing would show it.
    """
    if _order(weight) == torch.channels_last:
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.view(len(tensor), -1)


def _matrices(module: nn.Module) -> Iterator[nn.Parameter]:
    for name, part in module.named_modules():
        ends = name.rpartition(".")[2] in _ENDS or "embedding" in name
        if isinstance(part, (nn.Linear, nn.Conv2d)) and part.weight.requires_grad and not ends:
            yield cast(nn.Parameter, part.weight)

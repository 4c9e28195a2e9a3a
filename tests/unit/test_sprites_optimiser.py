"""Muon steps what multiplies, AdamW the rest; its own laws: a step is orthogonal, and torch's own Muon goes the same way."""

from __future__ import annotations

import torch
from torch import nn

from lib_anyms.standalone.sprites.optimiser import Muon, Optimiser

RATE = 1e-2


class Net(nn.Module):
    """One weight of each kind."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv_in = nn.Conv2d(3, 8, 3)
        self.middle = nn.Conv2d(8, 16, 3)
        self.norm = nn.GroupNorm(2, 16)
        self.linear = nn.Linear(16, 4)
        self.time_embedding = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.time_embedding(self.linear(self.norm(self.middle(self.conv_in(x))).mean((2, 3))))


def moved(muon: bool) -> dict[str, torch.Tensor]:
    """What one step does to each weight."""
    net = Net()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    optimiser = Optimiser(net, RATE, 0.0, muon)
    net(torch.randn(6, 3, 9, 9)).square().mean().backward()
    optimiser.step(RATE)
    assert all(weight.grad is None for weight in net.parameters())
    return {name: weight.detach() - before[name] for name, weight in net.named_parameters()}


def test_muon_makes_the_step_of_a_convolution_orthogonal() -> None:
    steps = {muon: torch.linalg.svdvals(moved(muon)["middle.weight"].flatten(1)) for muon in (False, True)}
    assert steps[True].min() > 0.4 * steps[True].max()  # Newton and Schulz' five rounds leave .7 to 1.2
    assert steps[False].min() < 0.1 * steps[False].max()


def test_steps_are_those_of_torch_s_muon() -> None:
    """Wide, tall and square; theirs are computed in bfloat16, of which each of five rounds keeps two digits or three."""
    torch.manual_seed(1)
    shapes, told = [(8, 40), (40, 8), (8, 8), (8, 40)], []
    gradients = [[torch.randn(shape) for shape in shapes] for _ in range(3)]
    for build in (
        lambda matrices: Muon(matrices, RATE, 0.1),
        lambda matrices: torch.optim.Muon(matrices, RATE, 0.1, 0.95, adjust_lr_fn="match_rms_adamw"),
    ):
        matrices = [nn.Parameter(torch.ones(shape)) for shape in shapes]
        optimiser = build(matrices)
        for step in gradients:
            for matrix, gradient in zip(matrices, step):
                matrix.grad = gradient.clone()
            optimiser.step()
        told.append(matrices)
    for ours, theirs in zip(*told):
        assert (ours - theirs).norm() < 0.03 * (1 - theirs).norm()


def test_norms_biases_embeddings_and_the_first_layer_are_stepped_by_adamw() -> None:
    ours, adam = moved(True), moved(False)
    same = {name for name in ours if torch.equal(ours[name], adam[name])}
    assert set(ours) - same == {"middle.weight", "linear.weight"}
    assert all(step.abs().max() > 0 for step in ours.values())


def test_both_take_the_rate_of_the_step() -> None:
    net = Net()
    optimiser = Optimiser(net, RATE, 0.0, True)
    before = [weight.detach().clone() for weight in net.parameters()]
    net(torch.randn(6, 3, 9, 9)).square().mean().backward()
    optimiser.step(0.0)
    assert all(map(torch.equal, before, net.parameters()))

"""Muon steps matrices, AdamW the rest; Muon's steps are orthogonal; a saved optimiser continues exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lib_anyms.lab.train import optimiser as optimiser_module
from lib_anyms.lab.train.optimiser import Muon, Optimiser, orthogonal

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


def train(net: Net, optimiser: Optimiser, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    for _ in range(steps):
        net(torch.randn(6, 3, 9, 9)).square().mean().backward()
        optimiser.step(RATE)


def moved(muon: bool, channels_last: bool = False) -> dict[str, torch.Tensor]:
    """What one step does to each weight."""
    net = Net()
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    train(net, Optimiser(net, RATE, 0.0, muon), 1, seed=2)
    assert all(weight.grad is None for weight in net.parameters())
    return {name: weight.detach() - before[name] for name, weight in net.named_parameters()}


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """Rounds of X <- a X + b (X X^T) X + c (X X^T)^2 X, as Jordan writes it."""
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm()
    for _ in range(optimiser_module._ROUNDS):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonal_is_newton_and_schulz_iteration(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    matrices = torch.randn(3, *shape, dtype=torch.float64) * torch.tensor([1e-4, 1.0, 1e3])[:, None, None]
    results = orthogonal(matrices)
    for matrix, one in zip(matrices, results):
        assert torch.allclose(one, newton_schulz(matrix), atol=1e-9)
    if shape[0] != shape[1]:  # a square one may have a singular value near 0, which five rounds do not lift
        monkeypatch.setattr(optimiser_module, "_ROUNDS", 5)
        values = torch.linalg.svdvals(orthogonal(matrices))
        assert 0.6 < values.min() <= values.max() < 1.25


def test_steps_are_those_of_torch_s_muon() -> None:
    """Theirs are computed in bfloat16, of which each of five rounds keeps two or three digits."""
    torch.manual_seed(1)
    rounds = optimiser_module._ROUNDS
    shapes = [(8, 40), (40, 8), (8, 8), (8, 40)]
    gradients = [[torch.randn(shape) for shape in shapes] for _ in range(3)]
    trained = []
    for build in (
        lambda matrices: Muon(matrices, RATE, 0.1),
        lambda matrices: torch.optim.Muon(matrices, RATE, 0.1, adjust_lr_fn="match_rms_adamw", ns_steps=rounds),
    ):
        matrices = [nn.Parameter(torch.ones(shape)) for shape in shapes]
        optimiser = build(matrices)
        for step in gradients:
            for matrix, gradient in zip(matrices, step):
                matrix.grad = gradient.clone()
            optimiser.step()
        trained.append(matrices)
    for ours, theirs in zip(*trained):
        assert (ours - theirs).norm() < 0.05 * (1 - theirs).norm()


def test_a_step_of_a_convolution_is_orthogonal_and_of_adamw_s_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimiser_module, "_ROUNDS", 5)
    steps = {muon: moved(muon)["middle.weight"].flatten(1) for muon in (False, True)}
    values = {muon: torch.linalg.svdvals(step) for muon, step in steps.items()}
    assert values[True].min() > 0.4 * values[True].max()
    assert values[False].min() < 0.1 * values[False].max()
    assert steps[True].square().mean().sqrt().item() == pytest.approx(0.2 * RATE, rel=0.25)


def test_the_memory_format_does_not_matter() -> None:
    """A UNet is trained as channels_last: Muon must step the weight itself, not a copy."""
    plain, last = moved(True), moved(True, channels_last=True)
    for name, step in plain.items():
        assert torch.allclose(step, last[name], atol=1e-5), name
        assert step.abs().max() > 1e-4, name


def test_other_weights_are_stepped_as_by_torch_s_adamw() -> None:
    net, other = Net(), Net()
    ours = Optimiser(net, RATE, 0.05, muon=True)
    theirs = torch.optim.AdamW(other.parameters(), RATE, betas=(0.9, 0.99), weight_decay=0.05)
    ours_moved = {name for name, _ in net.named_parameters()}
    for _ in range(3):
        for weight, twin in zip(net.parameters(), other.parameters()):
            weight.grad = torch.randn(weight.shape)
            twin.grad = weight.grad.clone()
        ours.step(RATE)
        theirs.step()
    twins = dict(other.named_parameters())
    same = {name for name, weight in net.named_parameters() if torch.allclose(weight, twins[name], atol=1e-7)}
    assert ours_moved - same == {"middle.weight", "linear.weight"}


@pytest.mark.parametrize("muon", [False, True])
def test_a_saved_optimiser_continues_bit_by_bit(muon: bool) -> None:
    nets = Net(), Net()
    whole, first = Optimiser(nets[0], RATE, 0.01, muon), Optimiser(nets[1], RATE, 0.01, muon)
    train(nets[0], whole, 3, seed=5)
    train(nets[1], first, 3, seed=5)
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    second = Optimiser(nets[1], RATE, 0.01, muon)
    second.load(state)
    assert second.state().keys() == state.keys()
    for net, optimiser in ((nets[0], whole), (nets[1], second)):
        train(net, optimiser, 3, seed=6)
    assert all(map(torch.equal, nets[0].parameters(), nets[1].parameters()))
    without = Net()
    without.load_state_dict(nets[1].state_dict())
    train(without, Optimiser(without, RATE, 0.01, muon), 1, seed=7)  # a new one goes another way
    train(nets[1], second, 1, seed=7)
    assert not torch.equal(without.norm.weight, nets[1].norm.weight)

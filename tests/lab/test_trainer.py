"""An interrupted training continues exactly; the average is the result; nothing broken is saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from lib_anyms.lab.charts import draw_curves, read_log
from lib_anyms.lab.train import trainer as training
from lib_anyms.lab.train.trainer import (
    EMA,
    Learner,
    Plan,
    Progress,
    TrainContext,
    Trainer,
)
from tests.support import windows_files

MINUTE = 60.0
PLAN = Plan(minutes=1.0, rate=0.01, warmup=1, muon=False, save_every=1e9, log_every=1e9, probe_every=1e9)


class Clock:
    """A clock that advances by a second per step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(training.time, "monotonic", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Line(Learner):
    """Learns y = 2 x; `at`: the step at which an event happens."""

    def __init__(self, clock: Clock, **at: int) -> None:
        torch.manual_seed(0)
        self.module = nn.Linear(1, 1)
        self._random, self._clock, self._at = Random(1), clock, at
        self.steps = 0
        self.shares: list[float] = []
        self.modes: list[bool] = []
        self.probed: list[float] = []

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        self.shares.append(share)
        self.modes.append(self.module.training)
        self._clock.seconds += 1
        self.steps += 1
        if self.steps == self._at.get("interrupted"):
            raise KeyboardInterrupt
        x = torch.full((4, 1), 1 + (self.steps % 3) / 3)  # depends on the step alone
        off = (self.module(x) - 2 * x).square().mean()
        if self.steps == self._at.get("nan"):
            off = off * float("nan")
        if self.steps == self._at.get("steep"):
            weight = self.module.weight.sum()
            off = off + (weight - weight.detach()).abs().sqrt()  # infinite slope at 0
        return off, {"twice": 2 * off.item()}, 4

    def probe(self, context: TrainContext) -> dict[str, float]:
        self.probed.append(self.module.weight.item())
        assert not self.module.training
        return {"weight": self.module.weight.item()}


def run(out: Path, learner: Line, plan: Plan, resume: bool = False) -> Trainer:
    trainer = Trainer("line", learner, plan, TrainContext(out))
    if resume:
        assert trainer.resume()
        learner.steps = trainer.progress.steps
    elif not out.exists():
        assert not trainer.resume()
        assert trainer.context.progress_of("line") is None
        assert trainer.context.averaged_weights("line") == {}
    trainer.run()
    return trainer


def test_a_resumed_training_is_the_uninterrupted_one(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a constant rate, bit by bit: weights, average, optimiser; also where a mapped file cannot be replaced."""
    windows_files.follow(monkeypatch)
    whole, first = replace(PLAN, fall=1e-9, muon=True), replace(PLAN, fall=1e-9, muon=True, minutes=20 / MINUTE)
    one = run(tmp_path / "one", Line(clock), whole)
    run(tmp_path / "two", Line(clock), first)
    two = run(tmp_path / "two", Line(clock), whole, resume=True)
    assert one.progress == two.progress == Progress(60, 240, 60.0)
    states = [load_file(TrainContext(tmp_path / name).state("line")) for name in ("one", "two")]
    assert states[0].keys() == states[1].keys()
    assert {name.split(".")[0] for name in states[0]} == {"module", "average", "optimiser"}
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    weights = [load_file(TrainContext(tmp_path / name).weights("line")) for name in ("one", "two")]
    assert torch.equal(weights[0]["weight"], weights[1]["weight"])


def test_an_interrupted_training_saves_and_raises(tmp_path: Path, clock: Clock) -> None:
    context = TrainContext(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Line(clock, interrupted=8), PLAN)
    assert not context.weights("line").exists()
    assert context.progress_of("line") == Progress(7, 28, 7.0)
    learner = Line(clock)
    trainer = run(tmp_path, learner, PLAN, resume=True)
    assert learner.shares[0] == pytest.approx(7 / 60)
    assert trainer.progress.steps == 60
    assert context.progress_of("line") == trainer.progress
    assert not list(tmp_path.rglob("*.new"))


@pytest.mark.parametrize("fault", ["nan", "steep"])
def test_a_loss_or_gradient_that_is_not_finite_ends_the_training_unsaved(
    tmp_path: Path, clock: Clock, fault: str
) -> None:
    """A loss, or a gradient that would break the weights."""
    plan = replace(PLAN, save_every=1 / MINUTE)  # at every step
    with pytest.raises(FloatingPointError, match=r"line: the .* step 5"):
        run(tmp_path, Line(clock, **{fault: 6}), plan)
    assert TrainContext(tmp_path).progress_of("line") == Progress(5, 20, 5.0)
    assert all(tensor.isfinite().all() for tensor in load_file(TrainContext(tmp_path).state("line")).values())


def test_the_rate_rises_stays_and_falls() -> None:
    plan = Plan(minutes=10, rate=0.2, warmup=50, fall=0.4)
    assert plan.rate_at(0, 0) == pytest.approx(0.2 / 50)
    assert plan.rate_at(24, 5) == pytest.approx(0.1)
    assert plan.rate_at(49, 9) == plan.rate_at(999, 300) == plan.rate_at(999, 359) == 0.2
    assert plan.rate_at(999, 480) == pytest.approx(0.1, abs=1e-3)
    assert plan.rate_at(999, 600) == plan.rate_at(999, 700) == pytest.approx(0.0002)
    assert plan.rate_at(10, 600) == pytest.approx(0.0002)  # both at once: the smaller


def test_the_average_follows_slower_and_slower(tmp_path: Path) -> None:
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = EMA(module, 0.9)
    module.weight.data.fill_(1.0)
    expected = 0.0
    for step in range(1, 200):
        average.update(step)
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep)
        assert average.weights["weight"].item() == pytest.approx(expected, abs=1e-5)
    average.weights["weight"].fill_(0.25)
    average.swap()
    assert (module.weight.item(), average.weights["weight"].item()) == (0.25, 1.0)
    average.swap()
    assert (module.weight.item(), average.weights["weight"].item()) == (1.0, 0.25)
    frozen = nn.Linear(2, 2)
    frozen.bias.requires_grad_(False)
    assert set(EMA(frozen, 0.9).weights) == {"weight"}


def test_the_average_is_saved_and_probed(tmp_path: Path, clock: Clock) -> None:
    learner = Line(clock)
    trainer = run(tmp_path, learner, replace(PLAN, average=0.99, probe_every=20 / MINUTE))
    state = load_file(trainer.context.state("line"))
    final = load_file(trainer.context.weights("line"))
    assert final["weight"].item() == state["average.weight"].item() == learner.probed[-1]
    assert final["weight"].item() != state["module.weight"].item()
    assert len(learner.probed) == 4  # at 20, 40 and 60 seconds, and at the end
    assert all(learner.modes)
    assert not learner.module.training
    assert torch.equal(trainer.context.averaged_weights("line")["weight"], final["weight"])
    trainer.context.weights("line").unlink()  # a running stage: the weights of its last save
    assert torch.equal(trainer.context.averaged_weights("line")["weight"], final["weight"])


def test_the_log_holds_means_and_the_curves_replace_repeated_points(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Line(clock, interrupted=26), replace(PLAN, log_every=10 / MINUTE, probe_every=15 / MINUTE))
    log = tmp_path / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [10, 15, 20]
    assert lines[1]["probe"].keys() == {"weight"}
    assert lines[0]["pictures"] == 40
    assert lines[0]["twice"] == pytest.approx(2 * lines[0]["loss"], abs=2e-4)
    assert lines[0]["loss"] > lines[2]["loss"] > 0
    again = [
        {"stage": "line", "pictures": 80, "loss": 0.5},
        {"stage": "unet", "pictures": 9, "probe": {"word32": 0.75}},
    ]
    with log.open("a", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(line) for line in again))
    losses, probes = read_log(log)
    assert losses == {"line": [(40, lines[0]["loss"]), (80, 0.5)]}
    assert probes == {"word32": [(9, 0.75)]}
    draw_curves(log, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 500
    draw_curves(tmp_path / "none.jsonl", tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()

"""One stage of training, whatever is trained: time-boxed, resumable, logged. The weights that are kept are an average
over steps.

<out>/state/STAGE.safetensors     to resume from: weights, averages, optimiser, progress
<out>/weights/STAGE.safetensors   the averaged weights of a complete stage
<out>/sheets/                     pictures of what has been learnt so far
<out>/log.jsonl                   now and then a line: stage, step, pictures, seconds, loss, rate, and what was probed
"""

from __future__ import annotations

import json
import logging
import os
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lib_anyms.lab.train.optimiser import Optimiser

log = logging.getLogger("anyms")

LOG = "log.jsonl"
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How a stage is trained.

    The rate rises over `warmup` steps, and falls to zero over the last `fall` of the time.
    """

    minutes: float
    rate: float
    warmup: int = 60
    fall: float = 0.5
    weight_decay: float = 0.01
    muon: bool = True  # for linear layers and convolutions; AdamW for the rest
    average: float = 0.998  # share of the average that stays at each step
    clip: float = 1.0  # largest norm of the gradient
    save_every: float = 5.0  # minutes
    log_every: float = 0.5
    probe_every: float = 10.0

    def rate_at(self, step: int, seconds: float) -> float:
        """The rate of this step, so many seconds into the stage."""
        left = max(0.0, 1 - seconds / (self.minutes * 60))
        return self.rate * min(1.0, (step + 1) / self.warmup, left / self.fall + 1e-3)


@dataclass
class Progress:
    """What a stage took so far."""

    steps: int = 0
    pictures: int = 0
    seconds: float = 0.0


@dataclass
class TrainContext:
    """The folder a training writes to, and the device it runs on."""

    out: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def state(self, stage: str) -> Path:
        return self.out / "state" / f"{stage}.safetensors"

    def weights(self, stage: str) -> Path:
        return self.out / "weights" / f"{stage}.safetensors"

    def next_sheet(self, name: str) -> Path:
        """A new file for a picture of what has been learnt so far."""
        folder = self.out / "sheets"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{len(list(folder.iterdir())):04d}-{name}.png"

    def note(self, **facts: Any) -> None:
        """Add a line to the log."""
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


class Learner(ABC):
    """What a stage trains: the weights of `module` that require gradients."""

    module: Any  # a torch module
    _random: Random  # what is drawn

    def reseed(self, seed: int) -> None:
        """Draw other pictures from now on."""
        self._random.seed(seed)

    @abstractmethod
    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        """A batch drawn and tried, when `share` of the stage is done -> its loss, other figures for the log, its size."""

    def probe(self, context: TrainContext) -> dict[str, float]:
        """Called now and then and at the end, with the averaged weights in place: what has been learnt so far."""
        return {}

    def finish(self) -> None:  # noqa: B027
        """Called once, at the end, with the averaged weights in place and before they are written."""


class EMA:
    """The exponential moving average of the trained weights."""

    def __init__(self, module: nn.Module, keep: float) -> None:
        self._trained = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self._keep = keep
        self.weights = {name: weight.detach().clone() for name, weight in self._trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights of this step; the first steps count less, as they are soon far away."""
        keep = min(self._keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.weights.values()), [weight.detach() for weight in self._trained.values()], 1 - keep
        )

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights; calling it again undoes it."""
        for name, weight in self._trained.items():
            held = weight.detach().clone()
            weight.copy_(self.weights[name])
            self.weights[name].copy_(held)


class Trainer:
    """Runs one stage."""

    def __init__(self, stage: str, learner: Learner, plan: Plan, context: TrainContext) -> None:
        self.stage, self.learner, self.plan, self.context = stage, learner, plan, context
        self.progress = Progress()
        self._optimiser = Optimiser(learner.module, plan.rate, plan.weight_decay, plan.muon)
        self._average = EMA(learner.module, plan.average)
        self._saved = self._logged = self._probed = 0.0
        self._recent: list[dict[str, float]] = []

    def resume(self) -> bool:
        """Go on from the stage's saved state, if there is one."""
        path = self.context.state(self.stage)
        if not path.is_file():
            return False
        with safe_open(str(path), framework="pt", device=str(self.context.device)) as file:
            self.progress = Progress(**json.loads(file.metadata()["progress"]))
            # cloned: Windows would not let a mapped file be replaced while the optimiser holds a tensor of it
            state = {name: file.get_tensor(name).clone() for name in file.keys()}
        self.learner.module.load_state_dict(_under("module.", state))
        for name, weight in _under("average.", state).items():
            self._average.weights[name].copy_(weight)
        self._optimiser.load(_under("optimiser.", state))
        self._saved = self._logged = self._probed = self.progress.seconds
        log.info("%s: resumed at step %d", self.stage, self.progress.steps)
        return True

    def run(self) -> Progress:
        """Train until the plan's minutes are spent, then write the averaged weights.

        Interrupted, it saves its state and raises again. A loss or a gradient that is not finite ends it unsaved.
        """
        began, before = time.monotonic(), self.progress.seconds
        self.learner.module.train()
        try:
            while self.progress.seconds < self.plan.minutes * 60:
                self._step()
                self.progress.seconds = before + time.monotonic() - began
                self._now_and_then()
        except KeyboardInterrupt:
            self._save()
            raise
        self._save()
        self._finish()
        return self.progress

    def _step(self) -> None:
        progress = self.progress
        loss, facts, pictures = self.learner.step(progress.seconds / (self.plan.minutes * 60))
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{self.stage}: the loss is {loss.item()} at step {progress.steps}")
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._optimiser.weights, self.plan.clip)
        if not torch.isfinite(norm):  # the step would make the weights so, and they might be saved before the next loss
            raise FloatingPointError(f"{self.stage}: the gradient is {norm.item()} at step {progress.steps}")
        self._optimiser.step(self.plan.rate_at(progress.steps, progress.seconds))
        progress.steps += 1
        progress.pictures += pictures
        self._average.update(progress.steps)
        self._recent.append({"loss": loss.item(), "gradient": norm.item(), **facts})

    def _now_and_then(self) -> None:
        seconds = self.progress.seconds
        if seconds - self._logged >= self.plan.log_every * 60:
            self._logged = seconds
            self._report()
        if seconds - self._probed >= self.plan.probe_every * 60:
            self._probed = seconds
            self._probe()
        if seconds - self._saved >= self.plan.save_every * 60:
            self._saved = seconds
            self._save()

    def _report(self) -> None:
        values: dict[str, list[float]] = {}
        for line in self._recent:
            for name, value in line.items():
                values.setdefault(name, []).append(value)
        self._recent.clear()
        progress = self.progress
        facts = {name: round(sum(found) / len(found), 4) for name, found in values.items()}
        facts["rate"] = round(self.plan.rate_at(progress.steps, progress.seconds), 6)
        self.context.note(stage=self.stage, **_rounded(progress), **facts)
        speed = progress.pictures / max(progress.seconds, 1e-6)
        log.info(
            "%s: step %d, %d pictures, %.0f s, %.1f a second, %s", self.stage, *asdict(progress).values(), speed, facts
        )

    def _probe(self) -> None:
        self._average.swap()
        self.learner.module.eval()
        try:
            found = self.learner.probe(self.context)
        finally:
            self.learner.module.train()
            self._average.swap()
        if found:
            facts = {name: round(value, 4) for name, value in found.items()}
            self.context.note(stage=self.stage, **_rounded(self.progress), probe=facts)
            log.info("%s: %s", self.stage, facts)

    def _save(self) -> None:
        parts = {
            "module": self.learner.module.state_dict(),
            "average": self._average.weights,
            "optimiser": self._optimiser.state(),
        }
        state = {f"{part}.{name}": tensor.contiguous() for part, held in parts.items() for name, tensor in held.items()}
        path = self.context.state(self.stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path.with_suffix(".new"), {"progress": json.dumps(asdict(self.progress))})
        os.replace(path.with_suffix(".new"), path)

    def _finish(self) -> None:
        if self._recent:
            self._report()
        self._probe()
        self._average.swap()
        self.learner.module.eval()
        self.learner.finish()
        write_weights(
            self.context.weights(self.stage), self.learner.module, {"progress": json.dumps(asdict(self.progress))}
        )


def write_weights(path: Path, module: nn.Module, metadata: dict[str, str]) -> None:
    """All of a module's weights, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    save_file(state, str(path.with_suffix(".new")), metadata)
    os.replace(path.with_suffix(".new"), path)


def averaged_weights(context: TrainContext, stage: str) -> State:
    """The averaged weights of a stage: of its end, or while it still runs those of its last save; empty if there are
    none.
    """
    if context.weights(stage).is_file():
        return load_file(str(context.weights(stage)))
    path = context.state(stage)
    if not path.is_file():
        return {}
    state = load_file(str(path))
    return {**_under("module.", state), **_under("average.", state)}


def progress_of(context: TrainContext, stage: str) -> Progress | None:
    """What a stage took so far; None if it was never saved."""
    for path in (context.weights(stage), context.state(stage)):
        if path.is_file():
            with safe_open(str(path), framework="pt") as file:
                return Progress(**json.loads((file.metadata() or {})["progress"]))
    return None


def _under(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _rounded(progress: Progress) -> dict[str, float]:
    return {"step": progress.steps, "pictures": progress.pictures, "seconds": round(progress.seconds, 1)}

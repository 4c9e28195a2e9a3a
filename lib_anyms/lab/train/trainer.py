"""One stage of training: time-boxed, resumable, logged. The final weights are a moving average over the steps.

<out>/state/STAGE.safetensors     to resume from: weights, averages, optimiser, progress
<out>/weights/STAGE.safetensors   the averaged weights of a complete stage
<out>/sheets/                     sample images
<out>/log.jsonl                   lines of stage, step, pictures, seconds, loss and rate, or probe results
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
from statistics import fmean
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
    """How a stage is trained. The rate rises over `warmup` steps and falls to zero over the last `fall` of the time."""

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
        """The learning rate at this step, `seconds` into the stage."""
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

    def averaged_weights(self, stage: str) -> State:
        """The averaged weights of a complete stage, or of the last save of a running one; empty if there are none."""
        if self.weights(stage).is_file():
            return load_file(str(self.weights(stage)))
        path = self.state(stage)
        state = load_file(str(path)) if path.is_file() else {}
        return {**part_of(state, "module."), **part_of(state, "average.")}

    def progress_of(self, stage: str) -> Progress | None:
        """What a stage took so far; None if it was never saved."""
        for path in (self.weights(stage), self.state(stage)):
            if path.is_file():
                with safe_open(str(path), framework="pt") as file:
                    return Progress(**json.loads((file.metadata() or {})["progress"]))
        return None

    def next_sheet(self, name: str) -> Path:
        """A new file for sample images."""
        folder = self.out / "sheets"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{len(list(folder.iterdir())):04d}-{name}.png"

    def note(self, stage: str, progress: Progress, **facts: Any) -> None:
        """Add a line to the log file, and print it."""
        log.info("%s: %s %s", stage, progress, facts)
        line = {"stage": stage, "step": progress.steps, "pictures": progress.pictures}
        line |= {"seconds": round(progress.seconds, 1), **facts}
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Learner(ABC):
    """Defines a stage's training: its data, loss and probes. The weights of `module` that require gradients learn."""

    module: Any  # a torch module
    _random: Random  # draws the data

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def reseed(self, seed: int) -> None:
        """Draw other data from now on."""
        self._random.seed(seed)

    @abstractmethod
    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        """Draw and evaluate a batch, with `share` of the stage done -> loss, further values for the log, batch size."""

    def probe(self, context: TrainContext) -> dict[str, float]:
        """Measure what the averaged weights, in place now, have learnt. Runs now and then and at the end."""
        return {}

    def finish(self) -> None:  # noqa: B027
        """Runs once at the end, with the averaged weights in place, before they are written."""


class EMA:
    """The exponential moving average of the trained weights."""

    def __init__(self, module: nn.Module, keep: float) -> None:
        self._trained = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self._keep = keep
        self.weights = {name: weight.detach().clone() for name, weight in self._trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include this step's weights. The first steps count less: the weights soon move far away from them."""
        keep = min(self._keep, (1 + step) / (10 + step))
        trained = [weight.detach() for weight in self._trained.values()]
        torch._foreach_lerp_(list(self.weights.values()), trained, 1 - keep)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights; a second call undoes it."""
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
        self._last: dict[str, float] = {}  # seconds of the last report, probe and save
        self._recent: dict[str, list[float]] = {}  # values since the last report

    def resume(self) -> bool:
        """Continue from the stage's saved state, if there is one."""
        path = self.context.state(self.stage)
        if not path.is_file():
            return False
        with safe_open(str(path), framework="pt", device=str(self.context.device)) as file:
            self.progress = Progress(**json.loads(file.metadata()["progress"]))
            # Clone: Windows cannot replace a mapped file while the optimiser holds one of its tensors.
            state = {name: file.get_tensor(name).clone() for name in file.keys()}
        self.learner.module.load_state_dict(part_of(state, "module."))
        for name, weight in part_of(state, "average.").items():
            self._average.weights[name].copy_(weight)
        self._optimiser.load(part_of(state, "optimiser."))
        log.info("%s: resumed at step %d", self.stage, self.progress.steps)
        return True

    def run(self) -> Progress:
        """Train until the plan's minutes are over, then write the averaged weights.

        An interrupt saves the state and is raised again. A loss or gradient that is not finite raises
        FloatingPointError and saves nothing.
        """
        start, before = time.monotonic(), self.progress.seconds
        self._last = dict.fromkeys(("report", "probe", "save"), before)
        self.learner.module.train()
        try:
            while self.progress.seconds < self.plan.minutes * 60:
                self._step()
                self.progress.seconds = before + time.monotonic() - start
                self._now_and_then()
        except KeyboardInterrupt:
            self._save()
            raise
        self._save()
        self._finish()
        return self.progress

    def _step(self) -> None:
        progress = self.progress
        loss, facts, images = self.learner.step(progress.seconds / (self.plan.minutes * 60))
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{self.stage}: the loss is {loss.item()} at step {progress.steps}")
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._optimiser.weights, self.plan.clip)
        if not torch.isfinite(norm):  # would break the weights, and a save may come before the next loss
            raise FloatingPointError(f"{self.stage}: the gradient is {norm.item()} at step {progress.steps}")
        self._optimiser.step(self.plan.rate_at(progress.steps, progress.seconds))
        progress.steps += 1
        progress.pictures += images
        self._average.update(progress.steps)
        for name, value in {"loss": loss.item(), "gradient": norm.item(), **facts}.items():
            self._recent.setdefault(name, []).append(value)

    def _now_and_then(self) -> None:
        plan = self.plan
        tasks = {"report": self._report, "probe": self._probe, "save": self._save}
        for (name, task), minutes in zip(tasks.items(), (plan.log_every, plan.probe_every, plan.save_every)):
            if self.progress.seconds - self._last[name] >= minutes * 60:
                self._last[name] = self.progress.seconds
                task()

    def _report(self) -> None:
        """Log the means since the last report."""
        progress = self.progress
        facts = {name: round(fmean(values), 4) for name, values in self._recent.items()}
        self._recent.clear()
        facts["rate"] = round(self.plan.rate_at(progress.steps, progress.seconds), 6)
        self.context.note(self.stage, progress, **facts)

    def _probe(self) -> None:
        self._average.swap()
        self.learner.module.eval()
        try:
            values = self.learner.probe(self.context)
        finally:
            self.learner.module.train()
            self._average.swap()
        if values:
            facts = {name: round(value, 4) for name, value in values.items()}
            self.context.note(self.stage, self.progress, probe=facts)

    def _save(self) -> None:
        module, optimiser = self.learner.module.state_dict(), self._optimiser.state()
        state = {f"module.{name}": tensor for name, tensor in module.items()}
        state |= {f"average.{name}": tensor for name, tensor in self._average.weights.items()}
        state |= {f"optimiser.{name}": tensor for name, tensor in optimiser.items()}
        write_state(self.context.state(self.stage), state, self.progress)
        self.context.weights(self.stage).unlink(missing_ok=True)  # of an earlier end, or what it started from

    def _finish(self) -> None:
        if self._recent:
            self._report()
        self._probe()
        self._average.swap()
        self.learner.module.eval()
        self.learner.finish()
        write_state(self.context.weights(self.stage), self.learner.module.state_dict(), self.progress)


def write_state(path: Path, state: State, progress: Progress) -> None:
    """Write the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, str(path.with_suffix(".new")), {"progress": json.dumps(asdict(progress))})
    os.replace(path.with_suffix(".new"), path)


def trained(module: Any, weights: State, part: str) -> Any:
    """`module` with the weights of a stage's `part`, frozen."""
    module.load_state_dict(part_of(weights, f"{part}."))
    return module.requires_grad_(False).eval()


def part_of(state: State, prefix: str) -> State:
    """The tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}

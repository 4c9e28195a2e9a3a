"""One stage of training, whatever is trained: time-boxed, resumable, logged. The weights that count are an average over steps.

<out>/state/STAGE.safetensors     to go on from: weights, averages, optimiser, what it took so far
<out>/weights/STAGE.safetensors   the averaged weights of a stage that is complete
<out>/sheets/                     pictures of what has been learnt so far
<out>/log.jsonl                   a line now and then: stage, step, images, seconds, loss, rate; and what was probed
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lib_anyms.standalone.sprites.optimiser import Optimiser

log = logging.getLogger("anyms")

LOG = "log.jsonl"
Batch = dict[str, Any]  # tensors, and lists of captions
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How a stage is trained: for so many minutes, at a rate that rises over `warmup` steps and falls to nothing as a cosine."""

    minutes: float
    rate: float
    batch: int  # of all processes together
    warmup: int = 100
    decay: float = 0.0  # of the weights
    muon: bool = False  # instead of AdamW, for linear layers and convolutions
    average: float = 0.999  # how much of the average stays at each step, once there are enough steps
    clip: float = 1.0  # largest norm of a gradient
    save_every: float = 5.0  # minutes
    log_every: float = 0.5
    probe_every: float = 12.0


@dataclass
class Spent:
    """What a stage took so far."""

    steps: int = 0
    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Crew:
    """The processes that train one model together, each on pictures of its own: this one's number, and how many they are."""

    rank: int = 0
    size: int = 1

    @classmethod
    def found(cls) -> Crew:
        """As torch.distributed was started; alone if it was not."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else cls()

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    @torch.no_grad()
    def agree(self, weights: list[nn.Parameter], seconds: float) -> float:
        """Make the gradients the mean of all processes' -> the mean of their seconds, so that all stop at the same step."""
        if self.size == 1:
            return seconds
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        parts = [*(gradient.flatten() for gradient in gradients), torch.tensor([seconds], device=gradients[0].device)]
        together = torch.cat(parts)
        dist.all_reduce(together)
        together /= self.size
        *means, clock = together.split([part.numel() for part in parts])
        for gradient, mean in zip(gradients, means):
            gradient.copy_(mean.view_as(gradient))
        return float(clock)


@dataclass
class Where:
    """The place a training writes to, and the machine it runs on."""

    out: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    compiled: bool = False
    crew: Crew = field(default_factory=Crew.found)

    def state(self, stage: str) -> Path:
        return self.out / "state" / f"{stage}.safetensors"

    def weights(self, stage: str) -> Path:
        return self.out / "weights" / f"{stage}.safetensors"

    def next_sheet(self, what: str) -> Path:
        """A new file for a picture that shows how far the training is."""
        folder = self.out / "sheets"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{len(list(folder.iterdir())):04d}-{what}.png"

    def note(self, **facts: Any) -> None:
        """Add a line to the log."""
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


class Learner(ABC):
    """What a stage trains: `module` holds the weights, those that require gradients are trained."""

    module: Any  # a torch module

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss of a batch on the learner's device, and what else is worth a look."""

    def probe(self, where: Where) -> dict[str, float]:
        """Called now and then and at the end, with the averaged weights in place: what has been learnt so far."""
        return {}

    def finish(self) -> None:  # noqa: B027
        """Called once, at the end, with the averaged weights in place and before they are written."""


class Average:
    """The moving average of trained weights: what is kept and used in the end."""

    def __init__(self, module: nn.Module, keep: float) -> None:
        self._trained = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self._keep = keep
        self.weights = {name: weight.detach().clone() for name, weight in self._trained.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights of this step; early steps count less, as they are soon far away."""
        keep = min(self._keep, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.weights.values()), [weight.detach() for weight in self._trained.values()], 1 - keep)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights; calling it again undoes it."""
        for name, weight in self._trained.items():
            held = weight.detach().clone()
            weight.copy_(self.weights[name])
            self.weights[name].copy_(held)


class Trainer:
    """Runs one stage. `batches` must be fresh ones after a resume: the number of steps done tells where to go on."""

    def __init__(self, stage: str, learner: Learner, plan: Plan, where: Where) -> None:
        self.stage, self.learner, self.plan, self.where = stage, learner, plan, where
        self.spent = Spent()
        self._optimiser = Optimiser(learner.module, plan.rate, plan.decay, plan.muon)
        self._average = Average(learner.module, plan.average)
        self._saved = self._logged = self._probed = 0.0
        self._recent: list[dict[str, float]] = []

    def resume(self) -> bool:
        """Go on from the stage's state, if there is one."""
        path = self.where.state(self.stage)
        if not path.is_file():
            return False
        with safe_open(str(path), framework="pt", device=str(self.where.device)) as file:
            self.spent = Spent(**json.loads(file.metadata()["spent"]))
            # not as mapped: Windows would not let the file be replaced while the optimiser holds a tensor of it
            state = {name: file.get_tensor(name).clone() for name in file.keys()}
        self.learner.module.load_state_dict(_under("module.", state))
        for name, weight in _under("average.", state).items():
            self._average.weights[name].copy_(weight)
        self._optimiser.load(_under("optimiser.", state))
        self._saved = self._logged = self._probed = self.spent.seconds
        log.info("%s: going on at step %d", self.stage, self.spent.steps)
        return True

    def run(self, batches: Iterator[Batch]) -> Spent:
        """Train until the plan's minutes are spent, then write the averaged weights.

        Interrupted, or when a process that draws pictures dies, it saves and raises again; a loss that is no number is not saved.
        """
        began, before = time.monotonic(), self.spent.seconds
        self.learner.module.train()
        try:
            while self.spent.seconds < self.plan.minutes * 60:
                self.spent.seconds = self._step(next(batches), lambda: before + time.monotonic() - began)
                if self.where.crew.leads:
                    self._now_and_then()
        except (KeyboardInterrupt, RuntimeError):
            self._save()
            raise
        self._save()
        self._finish()
        self.where.crew.wait()
        return self.spent

    def _step(self, batch: Batch, clock: Callable[[], float]) -> float:
        """-> the seconds spent so far."""
        loss, facts = self.learner.loss(to_device(batch, self.where.device))
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{self.stage}: the loss is {loss.item()} at step {self.spent.steps}")
        loss.backward()
        weights = self._optimiser.weights
        seconds = self.where.crew.agree(weights, clock())
        norm = nn.utils.clip_grad_norm_(weights, self.plan.clip)
        self._optimiser.step(self._rate())
        self.spent.steps += 1
        self.spent.images += len(next(iter(batch.values()))) * self.where.crew.size
        self._average.follow(self.spent.steps)
        self._recent.append({"loss": loss.item(), "gradient": norm.item(), **facts})
        return seconds

    def _rate(self) -> float:
        share = min(1.0, self.spent.seconds / (self.plan.minutes * 60))
        rise = min(1.0, (self.spent.steps + 1) / self.plan.warmup)
        return self.plan.rate * rise * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)

    def _now_and_then(self) -> None:
        seconds = self.spent.seconds
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
        told: dict[str, list[float]] = {}
        for line in self._recent:
            for name, value in line.items():
                told.setdefault(name, []).append(value)
        means = {name: sum(values) / len(values) for name, values in told.items()}
        self._recent.clear()
        facts = {name: round(value, 5) for name, value in {**means, "rate": self._rate()}.items()}
        self.where.note(stage=self.stage, **_rounded(self.spent), **facts)
        spent = self.spent
        log.info(
            "%s: step %d, %d images, %.0f s, %s, %.1f images/s",
            *(self.stage, spent.steps, spent.images, spent.seconds, facts, spent.images / max(spent.seconds, 1e-6)),
        )

    def _probe(self) -> None:
        self._average.swap()
        self.learner.module.eval()
        try:
            found = self.learner.probe(self.where)
        finally:
            self.learner.module.train()
            self._average.swap()
        if found:
            facts = {name: round(value, 4) for name, value in found.items()}
            self.where.note(stage=self.stage, **_rounded(self.spent), probe=facts)
            log.info("%s: %s", self.stage, facts)

    def _save(self) -> None:
        if not self.where.crew.leads:
            return
        parts = {
            "module": self.learner.module.state_dict(),
            "average": self._average.weights,
            "optimiser": self._optimiser.state(),
        }
        state = {f"{part}.{name}": tensor.contiguous() for part, held in parts.items() for name, tensor in held.items()}
        path = self.where.state(self.stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path.with_suffix(".new"), {"spent": json.dumps(asdict(self.spent))})
        os.replace(path.with_suffix(".new"), path)

    def _finish(self) -> None:
        if not self.where.crew.leads:
            return
        if self._recent:
            self._report()
        self._probe()
        self._average.swap()
        self.learner.module.eval()
        self.learner.finish()
        write_weights(self.where.weights(self.stage), self.learner.module, {"spent": json.dumps(asdict(self.spent))})


def _under(prefix: str, state: State) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`."""
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def write_weights(path: Path, module: nn.Module, metadata: dict[str, str]) -> None:
    """All of a module's weights, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    save_file(state, str(path.with_suffix(".new")), metadata)
    os.replace(path.with_suffix(".new"), path)


def read_weights(path: Path, module: nn.Module) -> None:
    """The inverse of `write_weights`."""
    module.load_state_dict(load_file(str(path)))


def _rounded(spent: Spent) -> dict[str, float]:
    return {"step": spent.steps, "images": spent.images, "seconds": round(spent.seconds, 1)}

"""The stages of a training, in order: text, vision and decoder stand alone; unet trains UNet and adapters on their
outputs.

A training can start from the files of an earlier one (`start`): encoders and decoder are taken over, UNet and adapters
go on.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lib_anyms.errors import Refused
from lib_anyms.lab.train.adapter import Adapter
from lib_anyms.lab.train.data import References
from lib_anyms.lab.train.decoder import DecoderLearner
from lib_anyms.lab.train.text import CachedText, TextLearner, TextPair, trained_pair
from lib_anyms.lab.train.trainer import (
    Learner,
    Plan,
    Progress,
    State,
    TrainContext,
    Trainer,
    averaged_weights,
    progress_of,
)
from lib_anyms.lab.train.unet import PHASES, Conditions, UNetLearner, new_unet
from lib_anyms.lab.train.vae import build_vae
from lib_anyms.lab.train.vision import VisionLearner, new_encoder, trained_encoder
from lib_anyms.standalone.structure import SPRITES, Structure

log = logging.getLogger("anyms")

KINDS = ("base", "plus")  # of adapters: 4 and 16 tokens
SETTINGS = "run.json"
BEFORE = "before"  # weights/before.safetensors: UNet and adapters a training started from


@dataclass(frozen=True)
class Run:
    """One training: where, for how many minutes in all, from which seed."""

    context: TrainContext
    minutes: float
    seed: int = 0
    structure: Structure = SPRITES

    def weights(self, stage: str, needed_by: str) -> State:
        """The weights of a stage that has begun. Raises Refused."""
        state = averaged_weights(self.context, stage)
        if not state:
            raise Refused("train_needs", stage=needed_by, needs=stage, out=self.context.out)
        return state


@dataclass(frozen=True)
class Stage:
    """`share`: of the run's minutes, at most `most` of them."""

    name: str
    share: float
    most: float
    plan: Plan
    learner: Callable[[Run, int], Learner]  # (run, seed)

    def planned(self, run: Run, minutes: float | None) -> Plan:
        """The plan; `minutes` instead of the stage's share."""
        return replace(self.plan, minutes=min(self.most, run.minutes * self.share) if minutes is None else minutes)


def _text(run: Run, seed: int) -> Learner:
    return TextLearner(TextPair(run.structure), seed, batch=64)


def _vision(run: Run, seed: int) -> Learner:
    return VisionLearner(new_encoder(run.structure), run.structure, seed, batch=32)


def _decoder(run: Run, seed: int) -> Learner:
    return DecoderLearner(build_vae(run.structure), seed, batch=8)


def _unet(run: Run, seed: int) -> Learner:
    unet = new_unet(run.structure)
    adapters = [Adapter(kind, run.structure, unet) for kind in KINDS]
    device = run.context.device
    pair = trained_pair(run.structure, run.weights("text", "unet")).to(device)
    encoder = trained_encoder(run.structure, run.weights("vision", "unet")).to(device)
    conditions = Conditions(CachedText(pair), References(encoder))
    before = averaged_weights(run.context, BEFORE)
    learner = UNetLearner(
        unet.to(device),
        [one.to(device) for one in adapters],
        conditions,
        run.structure,
        seed,
        PHASES[0].until if before else 0.0,
    )
    if before:
        learner.module.load_state_dict(before)
    return learner


STAGES = {
    stage.name: stage
    for stage in (
        Stage("text", 0.05, 4.0, Plan(0, rate=2e-3, muon=False), _text),
        Stage("vision", 0.08, 8.0, Plan(0, rate=1.5e-3, fall=0.6), _vision),
        Stage("decoder", 0.07, 10.0, Plan(0, rate=4e-4, weight_decay=0.0, muon=False), _decoder),
        Stage("unet", 0.80, float("inf"), Plan(0, rate=2.5e-3), _unet),
    )
}


def train_stage(stage: Stage, run: Run, minutes: float | None = None, resume: bool = False) -> Progress:
    """Run one stage to its end; a stage that is complete already is left as it is. Raises Refused."""
    seed = zlib.crc32(f"{run.seed} {stage.name}".encode())
    plan = stage.planned(run, minutes)
    context = run.context
    if resume and context.weights(stage.name).is_file():
        done = progress_of(context, stage.name)
        if done and (not done.steps or done.seconds >= plan.minutes * 60):  # no steps: taken over from files
            log.info("%s: complete (%d pictures, %.0f s)", stage.name, done.pictures, done.seconds)
            return done
    torch.manual_seed(seed)
    learner = stage.learner(run, seed)
    learner.module.to(context.device)
    trainer = Trainer(stage.name, learner, plan, context)
    if resume and trainer.resume():
        # other pictures than those that were shown already
        torch.manual_seed(seed + trainer.progress.steps)
        learner.reseed(seed + trainer.progress.steps)
    return trainer.run()


def train_all(run: Run, resume: bool = False) -> dict[str, Progress]:
    """Every stage, one after the other -> what each took. Raises Refused."""
    return {name: train_stage(stage, run, resume=resume) for name, stage in STAGES.items()}


def begin(
    out: Path, minutes: float | None, seed: int | None, resume: bool, default_minutes: float
) -> tuple[float, int]:
    """Minutes and seed of the run in `out`: as given, else as it began, else by default; kept there. Raises Refused."""
    path = out / SETTINGS
    if not resume and any(
        (out / name).exists() for name in ("state", "weights")
    ):  # settings alone: it was refused at once
        raise Refused("train_exists", out=out)
    began = {
        "minutes": default_minutes,
        "seed": 0,
        **(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}),
    }
    settings = (
        float(began["minutes"] if minutes is None else minutes),
        int(began["seed"] if seed is None else seed),
    )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(zip(("minutes", "seed"), settings))), encoding="utf-8")
    return settings

"""The stages of a training, in order: text, vision and decoder stand alone; unet trains UNet and adapters on them."""

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
from lib_anyms.lab.train.text import CachedText, TextLearner, TextPair
from lib_anyms.lab.train.trainer import Learner, Plan, Progress, TrainContext, Trainer, trained
from lib_anyms.lab.train.unet import Conditions, UNetLearner, new_unet
from lib_anyms.lab.train.vae import DecoderLearner
from lib_anyms.lab.train.vision import VisionLearner, new_encoder
from lib_anyms.standalone.structure import SPRITES, Structure

log = logging.getLogger("anyms")

KINDS = ("base", "plus")  # of adapters: 4 and 16 tokens
SETTINGS = "run.json"


@dataclass(frozen=True)
class Run:
    """One training: its folder and device, the minutes of all stages, the seed."""

    context: TrainContext
    minutes: float
    seed: int = 0
    structure: Structure = SPRITES

    def weights(self, stage: str, needed_by: str) -> dict[str, torch.Tensor]:
        """The weights of a stage that has begun. Raises Refused."""
        state = self.context.averaged_weights(stage)
        if not state:
            raise Refused("train_needs", stage=needed_by, needs=stage, out=self.context.out)
        return state


@dataclass(frozen=True)
class TrainStage:
    """`share`: of the run's minutes, at most `most` of them."""

    name: str
    share: float
    most: float
    plan: Plan
    learner: Callable[[Run, int], Learner]  # (run, seed)


def _unet(run: Run, seed: int) -> Learner:
    unet = new_unet(run.structure)
    device = run.context.device
    adapters = [Adapter(kind, run.structure, unet).to(device) for kind in KINDS]
    pair = trained(TextPair(run.structure), run.weights("text", "unet"), "pair").to(device)
    encoder = trained(new_encoder(run.structure), run.weights("vision", "unet"), "encoder").to(device)
    conditions = Conditions(CachedText(pair), References(encoder))
    learner = UNetLearner(unet.to(device), adapters, conditions, run.structure, seed)
    if begun := run.context.averaged_weights("unet"):
        learner.module.load_state_dict(begun)
    return learner


_VISION = Plan(0, rate=1.5e-3, fall=0.6)
_DECODER = Plan(0, rate=4e-4, weight_decay=0.0, muon=False)
_TABLE = (
    TrainStage("text", 0.05, 4.0, Plan(0, rate=2e-3, muon=False), lambda run, seed: TextLearner(run.structure, seed)),
    TrainStage("vision", 0.08, 8.0, _VISION, lambda run, seed: VisionLearner(run.structure, seed)),
    TrainStage("decoder", 0.07, 10.0, _DECODER, lambda run, seed: DecoderLearner(run.structure, seed)),
    TrainStage("unet", 0.80, float("inf"), Plan(0, rate=2.5e-3), _unet),
)
STAGES = {stage.name: stage for stage in _TABLE}


def train_stage(stage: TrainStage, run: Run, minutes: float | None = None, resume: bool = False) -> Progress:
    """Run one stage to its end; a complete stage is left as it is. minutes: instead of its share. Raises Refused."""
    seed = zlib.crc32(f"{run.seed} {stage.name}".encode())
    plan = replace(stage.plan, minutes=min(stage.most, run.minutes * stage.share) if minutes is None else minutes)
    context = run.context
    progress = context.progress_of(stage.name) if resume and context.weights(stage.name).is_file() else None
    if progress and progress.seconds >= plan.minutes * 60:
        log.info("%s: complete, %s", stage.name, progress)
        return progress
    torch.manual_seed(seed)
    learner = stage.learner(run, seed)
    learner.module.to(context.device)
    trainer = Trainer(stage.name, learner, plan, context)
    if resume and trainer.resume():
        seed += trainer.progress.steps  # draw other images than before the interruption
        torch.manual_seed(seed)
        learner.reseed(seed)
    return trainer.run()


def train_all(run: Run, resume: bool = False) -> dict[str, Progress]:
    """Run every stage, one after the other -> what each took. Raises Refused."""
    return {name: train_stage(stage, run, resume=resume) for name, stage in STAGES.items()}


def begin(out: Path, minutes: float | None, seed: int | None, resume: bool, default: float) -> tuple[float, int]:
    """Minutes and seed of the run in `out`: as given, else as saved there, else `default` and 0. Saves them.

    Raises Refused where `out` holds a training and `resume` is False.
    """
    path = out / SETTINGS  # alone it is no training: a refused start leaves it
    if not resume and ((out / "state").exists() or (out / "weights").exists()):
        raise Refused("train_exists", out=out)
    saved = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"minutes": default, "seed": 0}
    minutes = float(saved["minutes"] if minutes is None else minutes)
    seed = int(saved["seed"] if seed is None else seed)
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"minutes": minutes, "seed": seed}), encoding="utf-8")
    return minutes, seed

"""The stages of the training, in order: what each builds on, what it is fed, how long it takes of the whole.

text, vision and decoder stand alone; the base learns one large sprite at half size, then at full size, then scenes; the adapters
learn on the frozen base. `joint` is the fallback: base and 4-token adapter together; a run has it only when it is asked for.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from lib_anyms.errors import Refused
from lib_anyms.standalone.sprites.adapter import Adapter, AdapterLearner
from lib_anyms.standalone.sprites.base import BaseLearner, new_unet
from lib_anyms.standalone.sprites.data import (
    CROWDED,
    LARGE,
    SEVERAL,
    SINGLE,
    Crops,
    Maker,
    Pairs,
    Referenced,
    Scenes,
    Texts,
    batches,
)
from lib_anyms.standalone.sprites.decoder import DecoderLearner
from lib_anyms.standalone.sprites.oracle_training import Judged, OracleLearner
from lib_anyms.standalone.sprites.text import TextLearner, TextPair, text_pair
from lib_anyms.standalone.sprites.training import Learner, Plan, Spent, State, Trainer, Where
from lib_anyms.standalone.sprites.vae import build_vae
from lib_anyms.standalone.sprites.vision import VisionLearner, trained_encoder, vision_encoder
from lib_anyms.standalone.structure import SPRITES, Structure

log = logging.getLogger("anyms")

BASES = ("joint", "scenes", "base32", "base16")  # stages that hold the UNet, the latest first
_CUDA_BATCH, _CUDA_RATE = 16, 2.0  # how much larger on a GPU
RUN = "run.json"


@dataclass(frozen=True)
class Run:
    """One training: where, of what, how long in all, from which seed."""

    where: Where
    minutes: float
    seed: int = 0
    workers: int = 1
    structure: Structure = SPRITES

    @property
    def cuda(self) -> bool:
        return self.where.device.type == "cuda"

    def weights(self, stage: str, needed_by: str) -> State:
        """The weights of a complete stage. Raises Refused."""
        path = self.where.weights(stage)
        if not path.is_file():
            raise Refused("train_needs", stage=needed_by, needs=stage, out=self.where.out)
        return load_file(str(path))


@dataclass(frozen=True)
class Stage:
    """`shares`: of the run's minutes on a CPU and on a GPU; 0: only when asked for."""

    name: str
    shares: tuple[float, float]
    plan: Plan
    maker: Callable[[int], Maker]  # by pixels a latent cell is drawn with: fewer on a GPU
    learner: Callable[[Run, int], Learner]  # (run, seed)

    def planned(self, run: Run, minutes: float | None = None) -> Plan:
        """The plan on this run's machine; `minutes` instead of the stage's share."""
        plan = replace(self.plan, minutes=run.minutes * self.shares[run.cuda] if minutes is None else minutes)
        if run.cuda and self.name not in ("text",):
            plan = replace(plan, batch=plan.batch * _CUDA_BATCH, rate=plan.rate * _CUDA_RATE, probe_every=2.0, save_every=2.0)
        return plan


def train_stage(stage: Stage, run: Run, minutes: float | None = None, resume: bool = False) -> Spent:
    """Run one stage to its end; what its weights file says is returned at once if that is complete. Raises Refused."""
    seed = zlib.crc32(f"{run.seed} {stage.name}".encode())
    plan = stage.planned(run, minutes)
    done = complete(stage, run.where)
    if resume and done is not None and done.seconds >= plan.minutes * 60:
        log.info("%s: complete (%d images, %.0f s)", stage.name, done.images, done.seconds)
        return done
    torch.manual_seed(seed)
    learner = stage.learner(run, seed)
    learner.module.to(run.where.device)
    trainer = Trainer(stage.name, learner, plan, run.where)
    if resume and trainer.resume():
        torch.manual_seed(seed + trainer.spent.steps)
    stream = batches(stage.maker(4 if run.cuda else 8), plan.batch, seed, trainer.spent.steps, run.workers)
    return trainer.run(stream)


def complete(stage: Stage, where: Where) -> Spent | None:
    """What a stage took, if it has been trained to an end."""
    from safetensors import safe_open

    path = where.weights(stage.name)
    if not path.is_file():
        return None
    with safe_open(str(path), framework="pt") as file:
        return Spent(**json.loads((file.metadata() or {})["spent"]))


def latest_base(run: Run, before: str = "") -> State:
    """The UNet's weights of the latest stage that has some, before the stage of that name; nothing if none has."""
    names = BASES[BASES.index(before) + 1 :] if before in BASES else BASES
    for name in names:
        if run.where.weights(name).is_file():
            state = run.weights(name, before)
            return {key.removeprefix("unet."): value for key, value in state.items() if not key.startswith("adapter.")}
    return {}


def _text(run: Run, _seed: int) -> Learner:
    return TextLearner(TextPair(run.structure))


def _vision(run: Run, _seed: int) -> Learner:
    return VisionLearner(vision_encoder(run.structure), run.structure.vision)


def _decoder(run: Run, _seed: int) -> Learner:
    return DecoderLearner(build_vae(run.structure))


def _oracle(run: Run, _seed: int) -> Learner:
    return OracleLearner()


def _base(name: str, side: int) -> Callable[[Run, int], Learner]:
    def build(run: Run, seed: int) -> Learner:
        unet = new_unet(run.structure)
        if state := latest_base(run, name):
            unet.load_state_dict(state)
        text = text_pair(run.structure, run.weights("text", name)).to(run.where.device)
        learner = BaseLearner(unet, text, side, seed)
        if run.where.compiled:
            learner.compile()
        return learner

    return build


def _adapter(name: str, kind: str, joint: bool = False) -> Callable[[Run, int], Learner]:
    def build(run: Run, seed: int) -> Learner:
        unet = new_unet(run.structure)
        state = latest_base(run, "joint" if joint else "")
        if not state:
            raise Refused("train_needs", stage=name, needs="base16", out=run.where.out)
        unet.load_state_dict(state)
        text = text_pair(run.structure, run.weights("text", name)).to(run.where.device)
        encoder = trained_encoder(run.structure, run.weights("vision", name)).to(run.where.device)
        adapter = Adapter(kind, run.structure, unet)
        return AdapterLearner(adapter, unet.to(run.where.device), text, encoder, 32, seed, joint)

    return build


_BASE_PLAN = Plan(0, rate=8e-4, batch=16, warmup=200, decay=0.01, average=0.9995)
_ADAPTER_PLAN = Plan(0, rate=8e-4, batch=16, warmup=200, decay=0.01)
STAGES = {
    stage.name: stage
    for stage in (
        Stage("text", (0.012, 0.06), Plan(0, rate=2e-3, batch=64), lambda _: Texts(), _text),
        Stage("vision", (0.04, 0.08), Plan(0, rate=1e-3, batch=64, decay=0.02), lambda _: Pairs(), _vision),
        Stage("decoder", (0.08, 0.10), Plan(0, rate=4e-4, batch=4, warmup=50), lambda _: Crops(128), _decoder),
        Stage("base16", (0.30, 0.12), _BASE_PLAN, lambda cell: Scenes((LARGE,), 16, cell), _base("base16", 16)),
        Stage("base32", (0.12, 0.12), _BASE_PLAN, lambda cell: Scenes((SINGLE, LARGE), 32, cell), _base("base32", 32)),
        Stage(
            "scenes",
            (0.30, 0.32),
            _BASE_PLAN,
            lambda cell: Scenes((SEVERAL, SEVERAL, CROWDED, SINGLE), 32, cell),
            _base("scenes", 32),
        ),
        Stage("joint", (0, 0), _BASE_PLAN, lambda cell: Referenced(32, cell, plain=8), _adapter("joint", "base", joint=True)),
        Stage("adapter-base", (0.07, 0.08), _ADAPTER_PLAN, lambda cell: Referenced(32, cell), _adapter("adapter-base", "base")),
        Stage("adapter-plus", (0.07, 0.08), _ADAPTER_PLAN, lambda cell: Referenced(32, cell), _adapter("adapter-plus", "plus")),
        Stage("oracle", (0.04, 0.06), Plan(0, rate=1.5e-3, batch=16, decay=0.01), lambda _: Judged(), _oracle),
    )
}


def train_all(run: Run, resume: bool = False) -> dict[str, Spent]:
    """Every stage with a share, one after the other -> what each took. Raises Refused."""
    return {name: train_stage(stage, run, resume=resume) for name, stage in STAGES.items() if stage.shares[run.cuda] > 0}


def begin(out: Path, minutes: float | None, seed: int | None, resume: bool, default_minutes: float) -> tuple[float, int]:
    """Minutes and seed of the run in `out`: as given, else as it was begun. Raises Refused for one that is there already."""
    path = out / RUN
    begun = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if begun and not resume:
        raise Refused("train_exists", out=out)
    minutes = minutes if minutes is not None else begun.get("minutes", default_minutes)
    seed = seed if seed is not None else begun.get("seed", 0)
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"minutes": minutes, "seed": seed}), encoding="utf-8")
    return float(minutes), int(seed)

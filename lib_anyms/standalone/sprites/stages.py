"""The stages of the training, in order: what each builds on, what it is fed, how long it takes of the whole.

text, vision and decoder stand alone. The base learns one large sprite at half size first. Then there are two ways, and a run
takes the one its machine has the time for:
on a GPU, as real IP-Adapters are made: the base learns from text alone (base32, scenes), the adapters on the frozen base;
on a CPU together: some pictures have one sprite and a reference, some are scenes with text alone. Most pictures are of half
size (joint16, mixed): they cost a third, and a large sprite there has as many cells as one of several at full size. Most are
mistaken (data.Referenced): their noise lies on other sprites in the same places, so that what a sprite is must be heard from
caption and reference at every timestep, as when sampling has first taken it for another. The last ones are of full size, and the
adapters have a last word on the frozen base.
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
    APART,
    CROWDED,
    FEW,
    LARGE,
    SEVERAL,
    SINGLE,
    SMALLER,
    Crops,
    Maker,
    Pairs,
    Referenced,
    Scenes,
    Texts,
    Turns,
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

BASES = ("scenes", "base32", "last", "mixed", "joint32", "joint16", "base16")  # stages that hold the UNet, the latest first
BEFORE = "before"  # no stage: UNet and adapters of an earlier round, see rounds.py
_CUDA_BATCH, _CUDA_RATE = 16, 2.0  # how much larger on a GPU
_CREW_SEEDS = 1_000_003  # between the seeds of two processes that train together
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
    if resume:
        trainer.resume()
    own = seed + _CREW_SEEDS * run.where.crew.rank
    torch.manual_seed(own + trainer.spent.steps)
    stream = batches(stage.maker(4 if run.cuda else 8), plan.batch // run.where.crew.size, own, trainer.spent.steps, run.workers)
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
    for name in (*names, BEFORE):
        if run.where.weights(name).is_file():
            state = run.weights(name, before)
            return {key.removeprefix("unet."): value for key, value in state.items() if not key.startswith("adapter-")}
    return {}


def latest_adapter(run: Run, kind: str, before: str = "") -> State:
    """The weights of an adapter in the latest stage that has some, before the stage of that name; nothing if none has."""
    names = (f"adapter-{kind}", "last", "mixed", "joint32", "joint16", BEFORE)
    for name in names[names.index(before) + 1 :] if before in names else names:
        if run.where.weights(name).is_file():
            prefix = f"adapter-{kind}."
            return {key.removeprefix(prefix): w for key, w in run.weights(name, before).items() if key.startswith(prefix)}
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


def _adapter(name: str, kinds: tuple[str, ...], side: int = 32) -> Callable[[Run, int], Learner]:
    def build(run: Run, seed: int) -> Learner:
        unet, joint = new_unet(run.structure), name in BASES
        state = latest_base(run, name)
        if not state:
            raise Refused("train_needs", stage=name, needs="base16", out=run.where.out)
        unet.load_state_dict(state)
        text = text_pair(run.structure, run.weights("text", name)).to(run.where.device)
        encoder = trained_encoder(run.structure, run.weights("vision", name)).to(run.where.device)
        adapters = [Adapter(kind, run.structure, unet) for kind in kinds]
        for adapter in adapters:
            if weights := latest_adapter(run, adapter.kind, name):
                adapter.load_state_dict(weights)
        return AdapterLearner(adapters, unet.to(run.where.device), text, encoder, side, seed, joint)

    return build


_BASE_PLAN = Plan(0, rate=8e-4, batch=32, warmup=50, decay=0.01, muon=True)
_JOINT_PLAN = replace(_BASE_PLAN, rate=6e-4, probe_every=45.0)  # a restart at the full rate would undo some of it
_LAST_PLAN = replace(_JOINT_PLAN, batch=48)
_ADAPTER_PLAN = Plan(0, rate=8e-4, batch=32, warmup=100, decay=0.01, muon=True)
_CROWD = (SEVERAL, SEVERAL, CROWDED, SINGLE)
_BOTH = ("base", "plus")
_MISTAKEN = 0.6  # share of the pictures


def _large(cell: int) -> Maker:
    return Scenes((LARGE,), 16, cell)


def _single(cell: int) -> Maker:
    return Scenes((SINGLE, LARGE), 32, cell)


def _crowd(cell: int) -> Maker:
    return Scenes(_CROWD, 32, cell)


def _large_referenced(cell: int) -> Maker:
    return Referenced(16, cell, plain=0.25, mistaken=_MISTAKEN, recipe=LARGE, others=(LARGE,))


def _half_referenced(cell: int) -> Maker:
    return Referenced(32, cell, plain=0.5, mistaken=_MISTAKEN, others=_CROWD)


def _apart_referenced_small(cell: int) -> Maker:
    return Referenced(32, cell, plain=0.6, recipe=SMALLER, others=(APART, APART, SEVERAL))


def _few_referenced(cell: int) -> Maker:
    return Referenced(16, cell, plain=0.5, mistaken=_MISTAKEN, recipe=LARGE, others=(FEW, FEW, LARGE))


def _mixed(cell: int) -> Maker:
    return Turns(((_large_referenced(cell), 3), (_few_referenced(cell), 3), (_half_referenced(cell), 1)))


def _referenced(cell: int) -> Maker:
    return Referenced(32, cell)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("text", (0.012, 0.06), Plan(0, rate=2e-3, batch=64), lambda _: Texts(), _text),
        Stage("vision", (0.04, 0.08), Plan(0, rate=1e-3, batch=64, decay=0.02), lambda _: Pairs(), _vision),
        Stage("decoder", (0.08, 0.10), Plan(0, rate=4e-4, batch=4, warmup=50), lambda _: Crops(128), _decoder),
        Stage("base16", (0.09, 0.12), _BASE_PLAN, _large, _base("base16", 16)),
        Stage("joint16", (0.04, 0), _JOINT_PLAN, _large_referenced, _adapter("joint16", _BOTH, 16)),
        Stage("joint32", (0.08, 0), _JOINT_PLAN, _half_referenced, _adapter("joint32", _BOTH)),
        Stage("mixed", (0.418, 0), _JOINT_PLAN, _mixed, _adapter("mixed", _BOTH)),
        Stage("last", (0.15, 0), _LAST_PLAN, _apart_referenced_small, _adapter("last", _BOTH)),
        Stage("base32", (0, 0.12), _BASE_PLAN, _single, _base("base32", 32)),
        Stage("scenes", (0, 0.32), _BASE_PLAN, _crowd, _base("scenes", 32)),
        Stage("adapter-base", (0.025, 0.08), _ADAPTER_PLAN, _referenced, _adapter("adapter-base", ("base",))),
        Stage("adapter-plus", (0.025, 0.08), _ADAPTER_PLAN, _referenced, _adapter("adapter-plus", ("plus",))),
        Stage("oracle", (0.04, 0.06), Plan(0, rate=1.5e-3, batch=16, decay=0.01), lambda _: Judged(), _oracle),
    )
}


def train_all(run: Run, resume: bool = False) -> dict[str, Spent]:
    """Every stage with a share, one after the other -> what each took. Raises Refused."""
    return {name: train_stage(stage, run, resume=resume) for name, stage in STAGES.items() if stage.shares[run.cuda] > 0}


def settings(out: Path, minutes: float | None, seed: int | None, default_minutes: float) -> tuple[float, int]:
    """Minutes and seed of the run in `out`: as given, else as it was begun, else by default."""
    path = out / RUN
    begun = {"minutes": default_minutes, "seed": 0, **(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})}
    return float(begun["minutes"] if minutes is None else minutes), int(begun["seed"] if seed is None else seed)


def begin(out: Path, minutes: float | None, seed: int | None, resume: bool, default_minutes: float) -> tuple[float, int]:
    """The settings of a run, kept in `out` from now on. Raises Refused where a training is already."""
    if not resume and any((out / name).exists() for name in (RUN, "state", "weights")):
        raise Refused("train_exists", out=out)
    begun = settings(out, minutes, seed, default_minutes)
    out.mkdir(parents=True, exist_ok=True)
    (out / RUN).write_text(json.dumps(dict(zip(("minutes", "seed"), begun))), encoding="utf-8")
    return begun

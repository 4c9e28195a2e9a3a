"""From a training to the files hosts load, all in fp16, and back: checkpoint, IP-Adapter of each kind, image encoder."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lib_anyms.lab.train.adapter import Adapter
from lib_anyms.lab.train.curve import draw_curves
from lib_anyms.lab.train.stages import BEFORE, KINDS, STAGES, Run
from lib_anyms.lab.train.text import TextPair, trained_pair
from lib_anyms.lab.train.trainer import LOG, Progress, State, TrainContext, averaged_weights, progress_of
from lib_anyms.lab.train.vae import build_vae
from lib_anyms.lab.train.vision import trained_encoder
from lib_anyms.lab.world.identity import COLOURS, HELD_OUT_SHARE, PATTERNS, SHAPES
from lib_anyms.lab.world.scene import GROUNDS
from lib_anyms.standalone.bundle import ADAPTERS, CARD, CHECKPOINT, CURVES, ENCODER, HISTORY
from lib_anyms.standalone.pipeline import load_pipeline, read_checkpoint
from lib_anyms.standalone.random_sdxl import VISION_KEY, vision_config
from lib_anyms.standalone.single_file import V_PREDICTION, Modules, build_modules, single_file_state
from lib_anyms.standalone.structure import METADATA_KEY, SPRITES, Structure


def export(out: Path, folder: Path, structure: Structure = SPRITES) -> list[Path]:
    """Write into `folder` what the training in `out` has come to -> the files. Raises Refused where a part is missing.

    Of a stage that still runs its last save is taken. Without a decoder stage the VAE is the analytic one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(TrainContext(out), 0, structure=structure)
    files = [folder / CHECKPOINT, folder / ENCODER]
    _save(files[0], checkpoint_state(run), {METADATA_KEY: structure.to_json()})
    encoder = trained_encoder(structure, run.weights("vision", "export"))
    vision = json.dumps(vision_config(structure.vision), sort_keys=True)
    _save(files[1], dict(encoder.named_parameters()), {VISION_KEY: vision})
    for kind in KINDS:
        files.append(folder / ADAPTERS[kind])
        _save(files[-1], _adapter_state(run, kind))
    history = history_of(run.context)
    (folder / HISTORY).write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card(history), encoding="utf-8")
    draw_curves(out / LOG, folder / CURVES)
    return files


def checkpoint_state(run: Run) -> State:
    """The single file's weights."""
    return {**single_file_state(trained_modules(run), run.structure), V_PREDICTION: torch.ones(1)}


def trained_modules(run: Run) -> Modules:
    """The four networks with the trained weights, on the CPU."""
    modules = build_modules(run.structure)
    modules.unet.load_state_dict(_part(_unet_weights(run), "unet."))
    vae = build_vae(run.structure)
    if decoder := averaged_weights(run.context, "decoder"):
        vae.load_state_dict(decoder)
    pair = trained_pair(run.structure, run.weights("text", "export"))
    for small, whole in ((pair.first, modules.text_encoder), (pair.second, modules.text_encoder_2)):
        state = small.state_dict()
        embedding = next(name for name in state if name.endswith("token_embedding.weight"))
        whole.load_state_dict({**state, embedding: pair.whole_vocabulary(small)})
    return Modules(modules.unet, vae, modules.text_encoder, modules.text_encoder_2)


def _unet_weights(run: Run) -> State:
    return (
        averaged_weights(run.context, "unet") or averaged_weights(run.context, BEFORE) or run.weights("unet", "export")
    )


def _adapter_state(run: Run, kind: str) -> State:
    """As in an IP-Adapter's file."""
    adapter = Adapter(kind, run.structure, build_modules(run.structure).unet)
    adapter.load_state_dict(_part(_unet_weights(run), f"adapter-{kind}."))
    return adapter.file_state()


def start_from(files: Path, out: Path) -> None:
    """Write exported files into the training folder `out`, so that the UNet stage goes on from them.

    Heads and the optimiser's state are not in the files. Raises Refused for a checkpoint that is none.
    """
    pipeline = load_pipeline(files / CHECKPOINT, "cpu", torch.float32)
    joint = {f"unet.{name}": weight for name, weight in pipeline.unet.state_dict().items()}
    for kind in KINDS:
        joint |= {f"adapter-{kind}.{name}": weight for name, weight in load_file(str(files / ADAPTERS[kind])).items()}
    context = TrainContext(out)
    _write(context, BEFORE, joint)
    pair = TextPair(read_checkpoint(files / CHECKPOINT).structure)
    for small, whole in ((pair.first, pipeline.text_encoder), (pair.second, pipeline.text_encoder_2)):
        state = whole.state_dict()
        embedding = next(name for name in state if name.endswith("token_embedding.weight"))
        small.load_state_dict({**state, embedding: state[embedding][pair.words.clip_numbers]})
    _write(context, "text", {f"pair.{name}": weight for name, weight in pair.state_dict().items()})
    _write(context, "decoder", pipeline.vae.state_dict())
    _write(context, "vision", {f"encoder.{name}": weight for name, weight in load_file(str(files / ENCODER)).items()})
    if (files / HISTORY).is_file():
        shutil.copyfile(files / HISTORY, out / HISTORY)


def history_of(context: TrainContext) -> list[dict[str, Any]]:
    """What each stage took, of the trainings this one started from and of this one: [{stage, steps, pictures,
    seconds}].
    """
    path = context.out / HISTORY
    history: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    for name in STAGES:
        progress = progress_of(context, name)
        if progress and progress.steps:
            history.append({"stage": name, **asdict(progress)})
    return history


def card(history: list[dict[str, Any]]) -> str:
    """The model card: what the files are, and what it took to make them."""
    stages = [
        f"| {one['stage']} | {one['pictures']:,} | {one['steps']:,} | {one['seconds'] / 60:.0f} |" for one in history
    ]
    return "\n".join(
        (
            "# Sprites",
            "",
            "A small SDXL (v-prediction, 256 px) that knows one drawn world: flat figures of "
            f"{len(SHAPES)} shapes ({', '.join(SHAPES)}) in two of {len(COLOURS)} colours and one of {len(PATTERNS)} patterns, "
            f"on {len(GROUNDS)} flat grounds. It is made to measure layouts, not to make art.",
            "",
            "Its text knows shapes and grounds only. Colours and patterns can come from a reference picture alone.",
            "",
            "All training pictures are drawn by this package; no other data was used. Licence: Apache-2.0, as the code. "
            f"One identity in {HELD_OUT_SHARE}, three shapes and two colours are in no training picture.",
            "",
            "The text encoders and the image encoder were trained first, on captions and on pictures of single figures. Then the "
            "UNet and both IP-Adapters were trained together (real adapters are trained on a frozen UNet): on pictures of one "
            "figure with one reference, the image stream over the whole picture, and on captioned scenes of up to four figures "
            "without a reference. No step saw a box, and none two references.",
            "",
            "| stage | pictures or captions | steps | minutes |",
            "|---|---|---|---|",
            *stages,
            "",
        )
    )


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): weight for name, weight in state.items() if name.startswith(prefix)}


def _save(path: Path, state: State, metadata: dict[str, str] | None = None) -> None:
    half = {name: tensor.detach().cpu().to(torch.float16).contiguous().clone() for name, tensor in state.items()}
    save_file(half, str(path), metadata)


def _write(context: TrainContext, stage: str, state: State) -> None:
    path = context.weights(stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().float().contiguous().clone() for name, tensor in state.items()}
    save_file(whole, str(path), {"progress": json.dumps(asdict(Progress()))})

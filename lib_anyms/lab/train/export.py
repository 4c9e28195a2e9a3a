"""Export a training to the files hosts load, all in fp16: checkpoint, IP-Adapter of each kind, image encoder."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lib_anyms.lab.charts import draw_curves
from lib_anyms.lab.train.adapter import Adapter
from lib_anyms.lab.train.stages import KINDS, STAGES, Run
from lib_anyms.lab.train.text import TextPair
from lib_anyms.lab.train.trainer import LOG, Progress, State, TrainContext, part_of, trained, write_state
from lib_anyms.lab.train.vae import build_vae
from lib_anyms.lab.train.vision import new_encoder
from lib_anyms.lab.world.identity import COLOURS, HELD_OUT_SHARE, PATTERNS, SHAPES
from lib_anyms.lab.world.scene import BACKGROUNDS
from lib_anyms.standalone.bundle import ADAPTERS, CARD, CHECKPOINT, CURVES, ENCODER, HISTORY
from lib_anyms.standalone.pipeline import load_pipeline, read_checkpoint
from lib_anyms.standalone.random_sdxl import VISION_KEY, vision_config
from lib_anyms.standalone.single_file import V_PREDICTION, Modules, build_modules, single_file_state
from lib_anyms.standalone.structure import METADATA_KEY, SPRITES, Structure


def export(out: Path, folder: Path, structure: Structure = SPRITES) -> list[Path]:
    """Write the files of the training in `out` into `folder` -> the files. Raises Refused where a stage is missing.

    A running stage is exported from its last save. Without a decoder stage the VAE is the analytic one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(TrainContext(out), 0, structure=structure)
    files = [folder / CHECKPOINT, folder / ENCODER]
    checkpoint = {**single_file_state(trained_modules(run), structure), V_PREDICTION: torch.ones(1)}
    _save(files[0], checkpoint, {METADATA_KEY: structure.to_json()})
    encoder = trained(new_encoder(structure), run.weights("vision", "export"), "encoder")
    vision = json.dumps(vision_config(structure.vision), sort_keys=True)
    _save(files[1], dict(encoder.named_parameters()), {VISION_KEY: vision})
    for kind in KINDS:
        adapter = Adapter(kind, structure, build_modules(structure).unet)
        adapter.load_state_dict(part_of(run.weights("unet", "export"), f"adapter-{kind}."))
        files.append(folder / ADAPTERS[kind])
        _save(files[-1], dict(adapter.named_parameters()))
    history = history_of(run.context)
    (folder / HISTORY).write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card(history), encoding="utf-8")
    draw_curves(out / LOG, folder / CURVES)
    return files


def trained_modules(run: Run) -> Modules:
    """The four networks with the trained weights, on the CPU. Raises Refused."""
    modules = build_modules(run.structure)
    modules.unet.load_state_dict(part_of(run.weights("unet", "export"), "unet."))
    vae = build_vae(run.structure)
    if decoder := run.context.averaged_weights("decoder"):
        vae.load_state_dict(decoder)
    pair = trained(TextPair(run.structure), run.weights("text", "export"), "pair")
    modules.text_encoder.load_state_dict(pair.whole_state(pair.first))
    modules.text_encoder_2.load_state_dict(pair.whole_state(pair.second))
    return Modules(modules.unet, vae, modules.text_encoder, modules.text_encoder_2)


def start_from(files: Path, out: Path) -> None:
    """Write exported `files` into the training folder `out`: encoders and decoder complete, UNet and adapters to go on.

    Raises Refused for files that are no export.
    """
    pipeline = load_pipeline(files / CHECKPOINT, "cpu", torch.float32)
    unet = {f"unet.{name}": weight for name, weight in pipeline.unet.state_dict().items()}
    for kind in KINDS:
        unet |= {f"adapter-{kind}.{name}": weight for name, weight in load_file(str(files / ADAPTERS[kind])).items()}
    pair = TextPair(read_checkpoint(files / CHECKPOINT).structure)
    pair.load_whole_states(pipeline.text_encoder.state_dict(), pipeline.text_encoder_2.state_dict())
    context, complete = TrainContext(out), Progress(seconds=float("inf"))
    text = {f"pair.{name}": weight for name, weight in pair.state_dict().items()}
    vision = {f"encoder.{name}": weight for name, weight in load_file(str(files / ENCODER)).items()}
    for stage, state in (("text", text), ("vision", vision), ("decoder", pipeline.vae.state_dict())):
        write_state(context.weights(stage), state, complete)
    write_state(context.weights("unet"), unet, Progress())
    shutil.copyfile(files / HISTORY, out / HISTORY)


def history_of(context: TrainContext) -> list[dict[str, Any]]:
    """What each stage took, here and in the training this one started from: [{stage, steps, pictures, seconds}]."""
    before = context.out / HISTORY
    history = json.loads(before.read_text(encoding="utf-8")) if before.is_file() else []
    progress = {name: context.progress_of(name) for name in STAGES}
    return history + [{"stage": name, **asdict(one)} for name, one in progress.items() if one and one.steps]


def card(history: list[dict[str, Any]]) -> str:
    """The model card: what the files are, and what each stage took."""
    text = Path(__file__).with_name("model_card.txt").read_text(encoding="utf-8")
    world = {"shapes": len(SHAPES), "shape_names": ", ".join(SHAPES), "held_out": HELD_OUT_SHARE}
    world |= {"colours": len(COLOURS), "patterns": len(PATTERNS), "backgrounds": len(BACKGROUNDS)}
    text = text.format(**world)
    for one in history:
        text += f"| {one['stage']} | {one['pictures']:,} | {one['steps']:,} | {one['seconds'] / 60:.0f} |\n"
    return text


def _save(path: Path, state: State, metadata: dict[str, str] | None = None) -> None:
    half = {name: tensor.detach().cpu().to(torch.float16).contiguous().clone() for name, tensor in state.items()}
    save_file(half, str(path), metadata)

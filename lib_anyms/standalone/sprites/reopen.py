"""Exported files as a training that can be gone on with: the inverse of export. Heads and optimisers' states are not in them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lib_anyms.standalone.pipeline import load_pipeline, read_checkpoint
from lib_anyms.standalone.sprites.bundle import ADAPTERS, CHECKPOINT, ENCODER, ORACLE
from lib_anyms.standalone.sprites.stages import BEFORE
from lib_anyms.standalone.sprites.text import TextPair
from lib_anyms.standalone.sprites.training import Spent, State, Where


def reopen(files: Path, out: Path) -> None:
    """Write the weights in the folder `files` into the training folder `out`, as if their stages had been trained there.

    Raises Refused for a checkpoint that is none.
    """
    pipeline = load_pipeline(files / CHECKPOINT, "cpu", torch.float32)
    joint = {f"unet.{name}": weight for name, weight in pipeline.unet.state_dict().items()}
    for kind, name in ADAPTERS.items():
        if (files / name).is_file():
            joint |= {f"adapter-{kind}.{key}": weight for key, weight in read_state(files / name).items()}
    _write(out, BEFORE, joint)
    pair = TextPair(read_checkpoint(files / CHECKPOINT).structure)
    for small, whole in ((pair.first, pipeline.text_encoder), (pair.second, pipeline.text_encoder_2)):
        state = whole.state_dict()
        row = next(name for name in state if name.endswith("token_embedding.weight"))
        small.load_state_dict({**state, row: state[row][pair.words.clip_numbers]})
    _write(out, "text", {f"pair.{name}": weight for name, weight in pair.state_dict().items()})
    _write(out, "decoder", pipeline.vae.state_dict())
    _write(out, "vision", {f"encoder.{name}": weight for name, weight in read_state(files / ENCODER).items()})
    if (files / ORACLE).is_file():
        _write(out, "oracle", read_state(files / ORACLE))


def read_state(file: Path) -> State:
    """The tensors of a file, in float32."""
    return {name: tensor.float() for name, tensor in load_file(str(file)).items()}


def _write(out: Path, stage: str, state: State) -> None:
    path = Where(out).weights(stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().float().contiguous().clone() for name, tensor in state.items()}
    save_file(whole, str(path), {"spent": json.dumps(asdict(Spent()))})

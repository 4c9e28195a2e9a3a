"""From a training to the files hosts load: a checkpoint, an IP-Adapter of each kind, the image encoder, the oracle; all in fp16.

What is kept in a repository is cut into parts, with a list of what they are and join to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lib_anyms.errors import Refused
from lib_anyms.standalone.random_sdxl import VISION_KEY, vision_config
from lib_anyms.standalone.single_file import V_PREDICTION, Modules, build_modules, single_file_state
from lib_anyms.standalone.sprites.adapter import Adapter
from lib_anyms.standalone.sprites.curve import draw_curves
from lib_anyms.standalone.sprites.stages import STAGES, Run, complete, latest_base
from lib_anyms.standalone.sprites.text import text_pair
from lib_anyms.standalone.sprites.training import State, Where
from lib_anyms.standalone.sprites.vae import build_vae
from lib_anyms.standalone.sprites.vision import trained_encoder
from lib_anyms.standalone.structure import METADATA_KEY, SPRITES, Structure

CHECKPOINT, ENCODER, ORACLE = "checkpoint.safetensors", "encoder.safetensors", "oracle.safetensors"
ADAPTERS = {"base": "adapter-base.safetensors", "plus": "adapter-plus.safetensors"}
LIST = "files.json"
PART = 15 * 2**20  # bytes


def export(out: Path, folder: Path, structure: Structure = SPRITES) -> list[Path]:
    """Write into `folder` what the training in `out` has come to -> the files. Raises Refused where a part of it is missing.

    Without a decoder stage the VAE is the analytic one; adapters and the oracle are written if they are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(Where(out), 0, structure=structure)
    files = [folder / CHECKPOINT, folder / ENCODER]
    _save(files[0], checkpoint_state(run), {METADATA_KEY: structure.to_json()})
    encoder = trained_encoder(structure, run.weights("vision", "export"))
    vision = json.dumps(vision_config(structure.vision), sort_keys=True)
    _save(files[1], dict(encoder.named_parameters()), {VISION_KEY: vision})
    for kind, name in ADAPTERS.items():
        if state := _adapter_state(run, kind):
            files.append(folder / name)
            _save(files[-1], state)
    if run.where.weights("oracle").is_file():
        files.append(folder / ORACLE)
        _save(files[-1], run.weights("oracle", "export"))
    (folder / "card.md").write_text(card(run), encoding="utf-8")
    draw_curves(out / "log.jsonl", folder / "curves.png")
    return files


def checkpoint_state(run: Run) -> State:
    """The single file's weights."""
    modules = trained_modules(run)
    return {**single_file_state(modules, run.structure), V_PREDICTION: torch.ones(1)}


def trained_modules(run: Run) -> Modules:
    """The four networks with the trained weights, on the CPU."""
    modules = build_modules(run.structure)
    base = latest_base(run)
    if not base:
        raise Refused("train_needs", stage="export", needs="base16", out=run.where.out)
    modules.unet.load_state_dict(base)
    vae = build_vae(run.structure)
    if run.where.weights("decoder").is_file():
        vae.load_state_dict(run.weights("decoder", "export"))
    pair = text_pair(run.structure, run.weights("text", "export"))
    for small, whole in ((pair.first, modules.text_encoder), (pair.second, modules.text_encoder_2)):
        state = small.state_dict()
        row = next(name for name in state if name.endswith("token_embedding.weight"))
        whole.load_state_dict({**state, row: pair.whole_vocabulary(small)})
    return Modules(modules.unet, vae, modules.text_encoder, modules.text_encoder_2)


def _adapter_state(run: Run, kind: str) -> State:
    """As in an IP-Adapter's file; the joint stage's adapter belongs to the joint stage's UNet."""
    stage = "joint" if kind == "base" and run.where.weights("joint").is_file() else f"adapter-{kind}"
    if not run.where.weights(stage).is_file():
        return {}
    adapter = Adapter(kind, run.structure, build_modules(run.structure).unet)
    state = run.weights(stage, "export")
    adapter.load_state_dict({n.removeprefix("adapter."): w for n, w in state.items() if n.startswith("adapter.")})
    return adapter.file_state()


def card(run: Run) -> str:
    """What the files are, and what it took to make them."""
    rows = []
    for name, stage in STAGES.items():
        if spent := complete(stage, run.where):
            rows.append(f"| {name} | {spent.images:,} | {spent.steps:,} | {spent.seconds / 60:.0f} |")
    return "\n".join(
        (
            "# Sprites",
            "",
            "A small SDXL (v-prediction, 256 px) that knows one drawn world: sprites of "
            "24 shapes, 12 colours, two a sprite, and 6 patterns, on 10 grounds. Made to measure layouts, not to make art.",
            "",
            "All pictures it was trained on are drawn by this package; no other data was used. Licence: Apache-2.0, as the code.",
            "One identity in eight, three shapes and two colours were shown to no training step; "
            "the oracle alone, which judges, knows them.",
            "",
            "| stage | pictures or captions | steps | minutes |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


def split_files(files: Iterable[Path], folder: Path, size: int = PART) -> Path:
    """Copy the files into `folder`, those larger than `size` bytes in parts -> the list that `join_files` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    listed: dict[str, Any] = {}
    for file in files:
        data = file.read_bytes()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        names = [file.name] if len(pieces) == 1 else [f"{file.name}.{number}" for number in range(len(pieces))]
        for name, piece in zip(names, pieces):
            (folder / name).write_bytes(piece)
        listed[file.name] = {"sha256": hashlib.sha256(data).hexdigest(), "parts": names}
    (folder / LIST).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    return folder / LIST


def join_files(listed: Path, folder: Path) -> list[Path]:
    """The inverse of `split_files` -> the files, which are what they were. Raises Refused for a part that is not."""
    folder.mkdir(parents=True, exist_ok=True)
    joined = []
    for name, facts in json.loads(listed.read_text(encoding="utf-8")).items():
        data = b"".join((listed.parent / part).read_bytes() for part in facts["parts"])
        if hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise Refused("file_damaged", path=name, got="its parts do not add up to what was written")
        (folder / name).write_bytes(data)
        joined.append(folder / name)
    return joined


def read_state(file: Path) -> State:
    """The tensors of a file, in float32."""
    return {name: tensor.float() for name, tensor in load_file(str(file)).items()}


def _save(path: Path, state: State, metadata: dict[str, str] | None = None) -> None:
    half = {name: tensor.detach().cpu().to(torch.float16).contiguous().clone() for name, tensor in state.items()}
    save_file(half, str(path), metadata)

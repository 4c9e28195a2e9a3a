"""From a training to the files hosts load: checkpoint, IP-Adapter of each kind, image encoder, oracle; all in fp16."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from lib_anyms.errors import Refused
from lib_anyms.standalone.random_sdxl import VISION_KEY, vision_config
from lib_anyms.standalone.single_file import V_PREDICTION, Modules, build_modules, single_file_state
from lib_anyms.standalone.sprites.adapter import Adapter
from lib_anyms.standalone.sprites.bundle import ADAPTERS, CARD, CHECKPOINT, CURVES, ENCODER, ORACLE
from lib_anyms.standalone.sprites.curve import draw_curves, first_round
from lib_anyms.standalone.sprites.identity import PAINTED_PATTERNS, PAINTED_SHAPES, PATTERNS, SHAPES
from lib_anyms.standalone.sprites.rounds import all_rounds, earlier, write_rounds
from lib_anyms.standalone.sprites.stages import BEFORE, Run, latest_adapter, latest_base
from lib_anyms.standalone.sprites.text import text_pair
from lib_anyms.standalone.sprites.training import LOG, State, Where
from lib_anyms.standalone.sprites.vae import build_vae
from lib_anyms.standalone.sprites.vision import trained_encoder
from lib_anyms.standalone.structure import METADATA_KEY, SPRITES, Structure


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
    (folder / CARD).write_text(card(run), encoding="utf-8")
    write_rounds(folder, all_rounds(out))
    first = first_round(out / LOG, len(earlier(out)) + 1)
    draw_curves(out / LOG, folder / f"{CURVES}{'' if first == 1 else f'-{first}'}.png")
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
    """As in an IP-Adapter's file; nothing where none is trained."""
    if not (state := latest_adapter(run, kind)):
        return {}
    adapter = Adapter(kind, run.structure, build_modules(run.structure).unet)
    adapter.load_state_dict(state)
    return adapter.file_state()


def card(run: Run) -> str:
    """What the files are, and what it took to make them."""
    rows = [
        f"| {number} | {name} | {spent.images:,} | {spent.steps:,} | {spent.seconds / 60:.0f} |"
        for number, done in enumerate(all_rounds(run.where.out), 1)
        for name, spent in done.items()
    ]
    return "\n".join(
        (
            "# Sprites",
            "",
            "A small SDXL (v-prediction, 256 px) that knows one drawn world: sprites with two of 12 colours and a pattern each, "
            "on 10 grounds. Made to measure layouts, not to make art.",
            "",
            f"The encoders and the oracle know {len(SHAPES)} shapes and {len(PATTERNS)} patterns. The base model and the "
            f"adapters were trained, and are measured, on {len(PAINTED_SHAPES)} shapes ({', '.join(PAINTED_SHAPES)}) and "
            f"{len(PAINTED_PATTERNS)} patterns ({', '.join(PAINTED_PATTERNS)}), as two cores see too few pictures for all.",
            "",
            "All pictures it was trained on are drawn by this package; no other data was used. Licence: Apache-2.0, as the code.",
            "One identity in eight, three shapes and two colours were shown to no training step; "
            "the oracle alone, which judges, knows them.",
            "",
            *_together(run),
            "Each round goes on from the one before.",
            "",
            "| round | stage | pictures or captions | steps | minutes |",
            "|---|---|---|---|---|",
            *rows,
            "",
        )
    )


def _together(run: Run) -> list[str]:
    """Which of the two ways the adapters were trained."""
    joint = ("joint16", "joint32", "mixed", "last", BEFORE)
    if not any(run.where.weights(name).is_file() for name in joint):
        return ["The adapters were trained on the frozen base, as real IP-Adapters are.", ""]
    return [
        "The adapters were trained together with the base (stages joint16 to last), on one sprite and one reference of it at a "
        "time, and not on a frozen base as real IP-Adapters are: a base trained to convergence first is out of reach of a CPU in "
        "hours. The base never saw a box, and no step two references.",
        "",
    ]


def _save(path: Path, state: State, metadata: dict[str, str] | None = None) -> None:
    half = {name: tensor.detach().cpu().to(torch.float16).contiguous().clone() for name, tensor in state.items()}
    save_file(half, str(path), metadata)

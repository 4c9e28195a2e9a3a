"""diffusers' SDXL pipeline from a single .safetensors file, without a network: its configuration is written from a
Structure.
"""

from __future__ import annotations

import gzip
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import SafetensorError, safe_open

from lib_anyms.errors import Refused
from lib_anyms.standalone.single_file import (
    NOISE_IN,
    TEXT_1,
    TEXT_2,
    UNET,
    V_PREDICTION,
    VAE,
    expected_shapes,
    text_config,
    unet_config,
    vae_config,
)
from lib_anyms.standalone.structure import LATENT_CHANNELS, METADATA_KEY, SDXL, Structure

log = logging.getLogger("anyms")

IN_CHANNELS = (4, 9)  # 9: inpainting, with the mask and the masked picture

# What else a .safetensors file may be: a run of characters in a weight's name that gives it away.
OTHER_KINDS = {
    "lora_": "a LoRA",
    "ip_adapter.": "an IP-Adapter",
    "vision_model.": "an image encoder",
    "control_model.": "a ControlNet",
    "controlnet_": "a ControlNet",
    "double_blocks.": "a Flux model",
    "joint_blocks.": "an SD 3 model",
    "cond_stage_model.transformer.": "an SD 1.x checkpoint",
    "cond_stage_model.model.": "an SD 2.x checkpoint",
    "conditioner.embedders.0.model.": "an SDXL refiner",
    "down_blocks.": "one part of a model in diffusers' format",
}
PARTS = {UNET: "the UNet", VAE: "the VAE", TEXT_1: "text encoder 1", TEXT_2: "text encoder 2"}

SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "interpolation_type": "linear",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}
COMPONENTS = {
    "scheduler": ("diffusers", "EulerDiscreteScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "tokenizer_2": ("transformers", "CLIPTokenizer"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}

START, END = "<|startoftext|>", "<|endoftext|>"
PADS = {"tokenizer": END, "tokenizer_2": "!"}
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_PACKAGES = ("clip", "open_clip")  # both carry it; the first is clip-anytorch on PyPI
MERGES = 49152 - 256 - 2


@dataclass(frozen=True)
class Checkpoint:
    """A single file as its header tells: what it is built like, and the input channels of its UNet (9 = inpainting)."""

    path: Path
    structure: Structure
    in_channels: int


def load_pipeline(checkpoint: Path, device: torch.device | str, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """The pipeline of an SDXL single file, on `device` in `dtype`; nothing is downloaded. Raises Refused."""
    described = read_checkpoint(checkpoint)
    with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
        write_configs(Path(folder), described.structure, described.in_channels)
        log.info("loading %s", checkpoint.name)
        pipeline = StableDiffusionXLPipeline.from_single_file(
            str(checkpoint), config=folder, local_files_only=True, torch_dtype=dtype, add_watermarker=False
        )
    return pipeline.to(device)


def read_checkpoint(path: Path) -> Checkpoint:
    """Header-only; raises Refused for a file that is no complete SDXL checkpoint, with the reason."""
    shapes, metadata = _read_header(path)
    _check_kind(path, shapes)
    structure = Structure.from_json(metadata[METADATA_KEY]) if METADATA_KEY in metadata else SDXL
    if V_PREDICTION in shapes:
        structure = replace(structure, prediction="v_prediction")
    in_channels = shapes[NOISE_IN][1]
    if in_channels not in IN_CHANNELS:
        raise Refused(
            "checkpoint_shape", path=path.name, name=NOISE_IN, got=shapes[NOISE_IN], expected="4 or 9 input channels"
        )
    _check_weights(path, shapes, expected_shapes(structure, in_channels))
    return Checkpoint(path, structure, in_channels)


def write_configs(folder: Path, structure: Structure, in_channels: int = LATENT_CHANNELS) -> None:
    """A model folder in diffusers' layout without its weights: model_index.json, a config for each part, both
    tokenizers.

    Forge reads the same folder as its `huggingface_repo`, A1111's yaml its `tokenizer` and `text_encoder`.
    """
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    _write_json(folder / "model_index.json", {**index, **{name: list(kind) for name, kind in COMPONENTS.items()}})
    configs = {
        "unet": {"_class_name": "UNet2DConditionModel", **unet_config(structure, in_channels)},
        "vae": {"_class_name": "AutoencoderKL", **vae_config(structure)},
        "text_encoder": {
            "architectures": ["CLIPTextModel"],
            "model_type": "clip_text_model",
            **text_config(structure.text_1),
        },
        "text_encoder_2": {
            "architectures": ["CLIPTextModelWithProjection"],
            "model_type": "clip_text_model",
            **text_config(structure.text_2),
        },
    }
    for name, config in configs.items():
        _write_json(folder / name / "config.json", config)
    _write_json(folder / "scheduler" / "scheduler_config.json", {**SCHEDULER, "prediction_type": structure.prediction})
    merges = clip_merges()
    for name, pad in PADS.items():
        _write_tokenizer(folder / name, merges, pad)


def clip_merges() -> list[str]:
    """The merges of CLIP's byte-pair vocabulary, from the file an installed package carries (found, not imported)."""
    for package in VOCABULARY_PACKAGES:
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(place) / VOCABULARY
            if file.is_file():
                with gzip.open(file, "rt", encoding="utf-8") as text:
                    return text.read().split("\n")[1 : MERGES + 1]
    raise Refused("vocabulary_absent", name=VOCABULARY, places=", ".join(VOCABULARY_PACKAGES))


def clip_vocabulary(merges: list[str]) -> dict[str, int]:
    """CLIP's 49408 tokens and their numbers: 256 bytes, the same at a word's end, the merges, start and end of a text."""
    bytes_ = list(_byte_symbols())
    tokens = [
        *bytes_,
        *(symbol + "</w>" for symbol in bytes_),
        *("".join(merge.split()) for merge in merges),
        START,
        END,
    ]
    return {token: number for number, token in enumerate(tokens)}


def _byte_symbols() -> Iterator[str]:
    """A printable character for each byte: the printable bytes stand for themselves, in front; the others follow from
    256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from (chr(byte) for byte in printable)
    yield from (chr(256 + place) for place in range(256 - len(printable)))


def _write_tokenizer(folder: Path, merges: list[str], pad: str) -> None:
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "add_prefix_space": False,
        "do_lower_case": True,
    }
    _write_json(folder / "vocab.json", clip_vocabulary(merges))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    _write_json(folder / "special_tokens_map.json", special)
    _write_json(folder / "tokenizer_config.json", {**config, **special})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """(shape of every weight, metadata) without reading a weight."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise Refused("checkpoint_unreadable", path=path.name, got=str(error)) from error


def _check_kind(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    absent = [words for prefix, words in PARTS.items() if not any(name.startswith(prefix) for name in shapes)]
    if not absent and NOISE_IN in shapes:
        return
    found = [words for run, words in OTHER_KINDS.items() if any(run in name for name in shapes)]
    found += ["weights of another model" if len(absent) == len(PARTS) else "a file without " + ", ".join(absent)]
    raise Refused("checkpoint_kind", path=path.name, got=found[0])


def _check_weights(path: Path, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in shapes]
    if missing:
        raise Refused("checkpoint_missing", path=path.name, got=len(missing), expected=len(expected), name=missing[0])
    for name, shape in expected.items():
        if _core(shapes[name]) != _core(shape):
            raise Refused("checkpoint_shape", path=path.name, name=name, got=shapes[name], expected=shape)


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` without 1s at its end: some trainers write the VAE's 1 x 1 convolutions as linear layers."""
    return _core(shape[:-1]) if shape and shape[-1] == 1 else shape

"""diffusers' SDXL pipeline from a single .safetensors file. Needs no network: a Structure gives its configuration."""

from __future__ import annotations

import gzip
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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

IN_CHANNELS = (4, 9)  # 9: inpainting, with the mask and the masked image

# Other kinds of .safetensors files, by a part of a weight's name.
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
VOCABULARY = Path(__file__).parent / "vocabulary" / "bpe_simple_vocab_16e6.txt.gz"  # of OpenAI's CLIP, MIT licence
BPE_MERGES = 49152 - 256 - 2


@dataclass(frozen=True)
class Checkpoint:
    """A single file by its header: structure, and input channels of the UNet (9 = inpainting)."""

    path: Path
    structure: Structure
    in_channels: int


def load_pipeline(checkpoint: Path, device: torch.device | str, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """Load the pipeline of an SDXL single file without downloads, on `device` in `dtype`. Raises Refused."""
    described = read_checkpoint(checkpoint)
    with tempfile.TemporaryDirectory(prefix="anyms-") as folder:
        write_configs(Path(folder), described.structure, described.in_channels)
        log.info("loading %s", checkpoint.name)
        pipeline = StableDiffusionXLPipeline.from_single_file(
            str(checkpoint), config=folder, local_files_only=True, torch_dtype=dtype, add_watermarker=False
        )
    return pipeline.to(device)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the header of a checkpoint. Raises Refused, with the reason, unless it is a complete SDXL checkpoint."""
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
    """Write a model folder in diffusers' layout without weights: model_index.json, configs, both tokenizers.

    Forge reads the same folder as its `huggingface_repo`, A1111's yaml its `tokenizer` and `text_encoder`.
    """
    index: dict[str, Any] = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    index |= {name: list(component) for name, component in COMPONENTS.items()}
    _write_json(folder / "model_index.json", index)
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
    """The merges of CLIP's byte-pair vocabulary."""
    with gzip.open(VOCABULARY, "rt", encoding="utf-8") as text:
        return text.read().split("\n")[1 : BPE_MERGES + 1]


def clip_vocabulary(merges: list[str]) -> dict[str, int]:
    """CLIP's 49408 tokens with their numbers: 256 bytes, 256 bytes at a word's end, the merges, start, end."""
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
    """A printable character for each byte: first the printable bytes themselves, then chr(256), chr(257) ..."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from (chr(byte) for byte in printable)
    yield from (chr(256 + offset) for offset in range(256 - len(printable)))


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
    """(shape of each weight, metadata) of a file, without reading the weights. Raises Refused."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise Refused("checkpoint_unreadable", path=path.name, got=str(error)) from error


def _check_kind(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    absent = []
    for prefix, description in PARTS.items():
        if not any(name.startswith(prefix) for name in shapes):
            absent.append(description)
    if not absent and NOISE_IN in shapes:
        return
    raise Refused("checkpoint_kind", path=path.name, got=_describe_kind(shapes, absent))


def _describe_kind(shapes: Mapping[str, tuple[int, ...]], absent: list[str]) -> str:
    for fragment, description in OTHER_KINDS.items():
        if any(fragment in name for name in shapes):
            return description
    if len(absent) == len(PARTS):
        return "weights of another model"
    return "a file without " + ", ".join(absent)


def _check_weights(path: Path, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in shapes]
    if missing:
        raise Refused("checkpoint_missing", path=path.name, got=len(missing), expected=len(expected), name=missing[0])
    for name, shape in expected.items():
        if _core(shapes[name]) != _core(shape):
            raise Refused("checkpoint_shape", path=path.name, name=name, got=shapes[name], expected=shape)


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` without trailing 1s: some trainers write the VAE's 1 x 1 convolutions as linear layers."""
    return _core(shape[:-1]) if shape and shape[-1] == 1 else shape

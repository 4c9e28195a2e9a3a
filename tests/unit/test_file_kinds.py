"""The table of docs/models.md: AnyMS's answer to each kind of file. The files have real headers and no data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from pathlib import Path

import pytest
import torch
from torch import nn

from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.models.file_index import what_is
from lib_anyms.models.known_files import KNOWN, known_file
from lib_anyms.models.model_files import ModelPair, choose_pair
from tests.support.encoder_files import NAMINGS
from tests.support.real_sizes import ADAPTERS, ENCODERS, adapter_shapes, encoder_shapes
from tests.unit.test_adapter_checkpoint import LOOK_ALIKES
from tests.unit.test_model_family import SDXL, build

Shapes = Mapping[str, tuple[int, ...]]
VIT_H, BIG_G = ENCODERS
AS_TRAINED = {"image_proj.": "image_proj_model.", "ip_adapter.": "adapter_modules."}


def write_header(path: Path, shapes: Shapes, dtype: str = "F16") -> Path:
    """Write a .safetensors file with a real header; its data is a hole that takes no space on the disk."""
    tensors, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * {"F16": 2, "F32": 4}[dtype]
        tensors[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(tensors, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)
    return path


def write_adapter(folder: Path, name: str) -> Path:
    return write_header(folder / f"{name}.safetensors", adapter_shapes(*ADAPTERS[name]))


def write_encoder(folder: Path, name: str, naming: str = "Hugging Face") -> Path:
    *sizes, dtype = ENCODERS[name]
    empty = {key: torch.empty(shape, device="meta") for key, shape in encoder_shapes(*sizes).items()}
    shapes = {key: tuple(tensor.shape) for key, tensor in NAMINGS[naming](empty).items()}
    return write_header(folder / f"{name}.safetensors", shapes, "F16" if dtype == torch.float16 else "F32")


@cache
def sdxl() -> tuple[nn.Module, Sequence[Layer]]:
    unet = build(SDXL)
    return unet, cross_attention_layers(unet)


def choose(folder: Path, adapter: str = "auto", encoder: str = "auto") -> ModelPair:
    return choose_pair([folder], *sdxl(), adapter, encoder)


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_each_adapter_for_sdxl_is_paired_with_its_encoder(tmp_path: Path, name: str, naming: str) -> None:
    write_adapter(tmp_path, name)
    encoders = [write_encoder(tmp_path, encoder, naming) for encoder in ENCODERS]
    pair = choose(tmp_path)
    matching = known_file(f"{name}.safetensors").encoder
    assert (pair.adapter.path.name, pair.encoder.path.name) == (f"{name}.safetensors", matching)
    assert pair.adapter.tokens == {"base": 4, "plus": 16}[pair.adapter.kind]
    other = next(path for path in encoders if path.name != matching)
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, encoder=other.name)
    assert refusal.value.cause == "encoder_mismatch"


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_training_script_s_file_is_the_same_adapter(tmp_path: Path, name: str) -> None:
    published = what_is(write_adapter(tmp_path, name))
    shapes = adapter_shapes(*ADAPTERS[name])
    renamed = {}
    for old, new in AS_TRAINED.items():
        renamed |= {key.replace(old, new): shape for key, shape in shapes.items() if key.startswith(old)}
    trained = what_is(write_header(tmp_path / "trained.safetensors", renamed))
    for fact in ("kind", "tokens", "encoder_width", "context_width"):
        assert getattr(trained, fact) == getattr(published, fact)
    assert [layer.width for layer in trained.layers] == [layer.width for layer in published.layers]


@pytest.mark.parametrize("name", [row.name for row in KNOWN])
def test_the_size_shown_before_a_download_is_the_file_s(tmp_path: Path, name: str) -> None:
    stem = name.removesuffix(".safetensors")
    written = write_adapter(tmp_path, stem) if stem in ADAPTERS else write_encoder(tmp_path, stem)
    assert abs(known_file(name).size - written.stat().st_size) < 4096  # metadata and key order of the header may differ


@pytest.mark.parametrize(("cause", "shapes"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_other_files_are_skipped_and_refused_by_name_where_picked(tmp_path: Path, cause: str, shapes: Shapes) -> None:
    write_header(tmp_path / "a.safetensors", shapes)  # first in the order of names
    name = next(iter(ADAPTERS))
    write_adapter(tmp_path, name)
    write_encoder(tmp_path, VIT_H)
    assert choose(tmp_path).adapter.path.stem == name
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, adapter="a")
    assert refusal.value.cause == cause
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, encoder="a")
    assert refusal.value.cause == "encoder_form"


def test_an_adapter_for_sd_1_5_is_skipped_beside_one_for_sdxl(tmp_path: Path) -> None:
    widths = [320] * 4 + [640] * 4 + [1280] * 4 + [640] * 2 + [320] * 2
    layers = {}
    for index, width in enumerate(widths):
        for part in ("to_k_ip", "to_v_ip"):
            layers[f"ip_adapter.{2 * index + 1}.{part}.weight"] = (width, 768)
    projection = {"proj.weight": (4 * 768, 1024), "proj.bias": (4 * 768,), "norm.weight": (768,), "norm.bias": (768,)}
    write_header(
        tmp_path / "a.safetensors", {**layers, **{f"image_proj.{key}": shape for key, shape in projection.items()}}
    )
    write_encoder(tmp_path, VIT_H)
    for named in ("auto", "a"):
        with pytest.raises(SteppedAside, match="Stable Diffusion 1"):
            choose(tmp_path, named)
    name = next(iter(ADAPTERS))
    write_adapter(tmp_path, name)
    assert choose(tmp_path).adapter.path.stem == name

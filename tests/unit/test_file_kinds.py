"""The table of docs/models.md: what happens with which file, at the real files' sizes, which only their headers know of
here.
"""

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
    """A .safetensors file whose numbers are a hole in the disk."""
    rows, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * {"F16": 2, "F32": 4}[dtype]
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    words = json.dumps(rows, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    with path.open("wb") as file:
        file.write(len(words).to_bytes(8, "little") + words)
        file.truncate(8 + len(words) + end)
    return path


def write_adapter(folder: Path, name: str) -> Path:
    return write_header(folder / f"{name}.safetensors", adapter_shapes(*ADAPTERS[name]))


def write_encoder(folder: Path, name: str, naming: str = "Hugging Face") -> Path:
    *sizes, dtype = ENCODERS[name]
    empty = {each: torch.empty(shape, device="meta") for each, shape in encoder_shapes(*sizes).items()}
    shapes = {each: tuple(tensor.shape) for each, tensor in NAMINGS[naming](empty).items()}
    return write_header(folder / f"{name}.safetensors", shapes, "F16" if dtype == torch.float16 else "F32")


@cache
def sdxl() -> tuple[nn.Module, Sequence[Layer]]:
    unet = build(SDXL)
    return unet, cross_attention_layers(unet)


def choose(folder: Path, adapter: str = "auto", encoder: str = "auto") -> ModelPair:
    return choose_pair([folder], *sdxl(), adapter, encoder)


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_each_adapter_for_sdxl_is_taken_with_its_own_encoder(tmp_path: Path, name: str, naming: str) -> None:
    write_adapter(tmp_path, name)
    written = {each: write_encoder(tmp_path, each, naming) for each in ENCODERS}
    found = choose(tmp_path)
    own = known_file(f"{name}.safetensors").encoder
    assert (found.adapter.path.name, found.encoder.path.name) == (f"{name}.safetensors", own)
    assert found.adapter.tokens == {"base": 4, "plus": 16}[found.adapter.kind]
    other = next(path for path in written.values() if path.name != own)
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, encoder=other.name)
    assert refusal.value.cause == "encoder_mismatch"


@pytest.mark.parametrize("name", ADAPTERS)
def test_as_a_trainer_saves_it_it_is_the_same_adapter(tmp_path: Path, name: str) -> None:
    published = what_is(write_adapter(tmp_path, name))
    shapes = adapter_shapes(*ADAPTERS[name])
    trained = {
        key.replace(old, new): shapes[key] for key in shapes for old, new in AS_TRAINED.items() if key.startswith(old)
    }
    found = what_is(write_header(tmp_path / "trained.safetensors", trained))
    for fact in ("kind", "tokens", "encoder_width", "context_width"):
        assert getattr(found, fact) == getattr(published, fact)
    assert [layer.width for layer in found.layers] == [layer.width for layer in published.layers]


@pytest.mark.parametrize("name", [row.name for row in KNOWN])
def test_the_size_that_is_told_before_a_download_is_the_file_s(tmp_path: Path, name: str) -> None:
    stem = name.removesuffix(".safetensors")
    written = write_adapter(tmp_path, stem) if stem in ADAPTERS else write_encoder(tmp_path, stem)
    assert abs(known_file(name).size - written.stat().st_size) < 4096  # the header's metadata and the order in it


@pytest.mark.parametrize(("cause", "shapes"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_what_is_something_else_is_passed_over_and_refused_by_name_where_it_was_picked(
    tmp_path: Path, cause: str, shapes: Shapes
) -> None:
    write_header(tmp_path / "a.safetensors", shapes)  # before the others by name
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


def test_an_adapter_for_sd_1_5_is_read_and_passed_over_beside_one_for_sdxl(tmp_path: Path) -> None:
    widths = [320] * 4 + [640] * 4 + [1280] * 4 + [640] * 2 + [320] * 2
    layers = {
        f"ip_adapter.{2 * n + 1}.to_{part}_ip.weight": (width, 768) for n, width in enumerate(widths) for part in "kv"
    }
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

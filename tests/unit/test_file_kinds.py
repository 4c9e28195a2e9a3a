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
from lib_anyms.models.model_files import ModelPair, choose_pair, find_missing
from tests.support.encoder_files import NAMINGS
from tests.support.real_sizes import ADAPTERS, ENCODERS, adapter_shapes, encoder_shapes
from tests.unit.test_adapter_checkpoint import LOOK_ALIKES
from tests.unit.test_model_family import SDXL, build

Shapes = Mapping[str, tuple[int, ...]]
VIT_H, BIG_G = ENCODERS
AS_TRAINED = {"image_proj.": "image_proj_model.", "ip_adapter.": "adapter_modules."}


BYTES = {"F16": 2, "F32": 4, "F8_E4M3": 1, "I8": 1, "U8": 1, "BOOL": 1, "I64": 8}


def write_header(path: Path, shapes: Shapes, dtype: str = "F16") -> Path:
    """Write a .safetensors file with a real header; its data is a hole that takes no space on the disk."""
    tensors, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + prod(shape) * BYTES[dtype]
        tensors[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(tensors, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + end)
    return path


NOOB = "noobIPAMARK1_mark1"


def write_adapter(folder: Path, name: str, stem: str = "") -> Path:
    path = folder / f"{stem or name}.safetensors"
    if name == NOOB:
        return write_header(path, as_trained(adapter_shapes("base", 1280)), "F32")
    return write_header(path, adapter_shapes(*ADAPTERS[name]))


def as_trained(shapes: Shapes) -> Shapes:
    """With the key names of a training script."""
    renamed = {}
    for old, new in AS_TRAINED.items():
        renamed |= {key.replace(old, new): shape for key, shape in shapes.items() if key.startswith(old)}
    return renamed


def write_encoder(folder: Path, name: str, naming: str = "Hugging Face") -> Path:
    *sizes, dtype = ENCODERS[name]
    empty = {key: torch.empty(shape, device="meta") for key, shape in encoder_shapes(*sizes).items()}
    shapes = {key: tuple(tensor.shape) for key, tensor in NAMINGS[naming](empty).items()}
    return write_header(folder / f"{name}.safetensors", shapes, "F16" if dtype == torch.float16 else "F32")


@cache
def sdxl() -> tuple[nn.Module, Sequence[Layer]]:
    unet = build(SDXL)
    return unet, cross_attention_layers(unet)


def choose(folder: Path, adapter: str = "auto", encoder: str = "auto", checkpoint: str = "") -> ModelPair:
    return choose_pair([folder], *sdxl(), adapter, encoder, checkpoint=checkpoint)


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("name", [*ADAPTERS, NOOB])
def test_each_adapter_for_sdxl_is_paired_with_its_encoder(tmp_path: Path, name: str, naming: str) -> None:
    write_adapter(tmp_path, name)
    encoders = [write_encoder(tmp_path, encoder, naming) for encoder in ENCODERS]
    adapter = name if "face" in name else "auto"
    pair = choose(tmp_path, adapter)
    matching = known_file(f"{name}.safetensors").encoder
    assert (pair.adapter.path.name, pair.encoder.path.name) == (f"{name}.safetensors", matching)
    assert pair.adapter.tokens == {"base": 4, "plus": 16}[pair.adapter.kind]
    other = next(path for path in encoders if path.name != matching)
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, adapter, encoder=other.name)
    assert refusal.value.cause == "encoder_mismatch"


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_training_script_s_file_is_the_same_adapter(tmp_path: Path, name: str) -> None:
    published = what_is(write_adapter(tmp_path, name))
    trained = what_is(write_header(tmp_path / "trained.safetensors", as_trained(adapter_shapes(*ADAPTERS[name]))))
    for fact in ("kind", "tokens", "encoder_width", "context_width"):
        assert getattr(trained, fact) == getattr(published, fact)
    assert [layer.width for layer in trained.layers] == [layer.width for layer in published.layers]


@pytest.mark.parametrize("name", [row.name for row in KNOWN])
def test_the_size_shown_before_a_download_is_the_file_s(tmp_path: Path, name: str) -> None:
    stem = name.removesuffix(".safetensors")
    written = write_encoder(tmp_path, stem) if stem in ENCODERS else write_adapter(tmp_path, stem)
    difference = abs(known_file(name).size - written.stat().st_size)
    assert difference < (16384 if stem == NOOB else 4096)  # metadata and key order of the header may differ


# -- the order of "auto" -----------------------------------------------------------------------------------------------

PLUS, BASE, FACE = "ip-adapter-plus_sdxl_vit-h", "ip-adapter_sdxl_vit-h", "ip-adapter-plus-face_sdxl_vit-h"
COMPOSITION, STYLE = "ip_plus_composition_sdxl", "styleIpadapterFor_v10"
CHECKPOINTS = ("sd_xl_base_1.0.safetensors", "noobaiXLNAIXL_vPred10Version.safetensors")


def write_all(folder: Path, *names: str) -> None:
    for name in names:
        write_adapter(folder, {COMPOSITION: PLUS, STYLE: "ip-adapter_sdxl"}.get(name, name), name)
    for encoder in ENCODERS:
        write_encoder(folder, encoder)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_auto_takes_adapters_by_purpose(tmp_path: Path, checkpoint: str) -> None:
    general = [NOOB, PLUS, BASE] if checkpoint.startswith("noob") else [PLUS, BASE, NOOB]
    order = [*general, STYLE, COMPOSITION]
    write_all(tmp_path, *order, FACE)
    for name in order:
        assert choose(tmp_path, checkpoint=checkpoint).adapter.path.stem == name
        (tmp_path / f"{name}.safetensors").unlink()
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, checkpoint=checkpoint)
    assert refusal.value.cause == "adapter_face_only"
    assert choose(tmp_path, FACE, checkpoint=checkpoint).adapter.path.stem == FACE


@pytest.mark.parametrize("face", ["plus-face", "A_Full_Face", "portrait-x", "IPA-Face-v2"])
def test_a_face_adapter_of_any_name_is_taken_only_when_chosen(tmp_path: Path, face: str) -> None:
    write_adapter(tmp_path, FACE, face)
    write_all(tmp_path, BASE)
    assert choose(tmp_path).adapter.path.stem == BASE
    assert choose(tmp_path, face).adapter.path.stem == face
    (tmp_path / f"{BASE}.safetensors").unlink()
    missing, file = find_missing([tmp_path])
    assert (missing.cause, file.name) == ("adapter_face_only", f"{PLUS}.safetensors")


@pytest.mark.parametrize("name", ["surface-plus", "huggingface", "interface"])
def test_other_words_with_face_in_them_are_no_face_adapter(tmp_path: Path, name: str) -> None:
    write_all(tmp_path)
    write_adapter(tmp_path, PLUS, name)
    assert choose(tmp_path).adapter.path.stem == name


def test_cards_for_a_face_adapter_choose_it(tmp_path: Path) -> None:
    write_all(tmp_path, PLUS, FACE)
    pair = choose_pair([tmp_path], *sdxl(), suits=lambda adapter: adapter.path.stem == FACE)
    assert pair.adapter.path.stem == FACE


@pytest.mark.parametrize("wide", ["z-plain", "a-plain"])
def test_plain_weights_come_before_eight_bits(tmp_path: Path, wide: str) -> None:
    write_header(tmp_path / "m-fp8.safetensors", adapter_shapes(*ADAPTERS[PLUS]), "F8_E4M3")
    write_adapter(tmp_path, PLUS, wide)
    hidden, projected, layers, feed_forward, _ = ENCODERS[VIT_H]
    shapes = encoder_shapes(hidden, projected, layers, feed_forward)
    write_header(tmp_path / "n-fp8.safetensors", shapes, "F8_E4M3")
    narrow = choose(tmp_path)
    assert (narrow.adapter.path.stem, narrow.encoder.path.stem) == (wide, "n-fp8")
    write_header(tmp_path / f"{wide}-encoder.safetensors", shapes)
    assert choose(tmp_path).encoder.path.stem == f"{wide}-encoder"


# -- weights that are none ---------------------------------------------------------------------------------------------

SCALES = [
    *("scaled_fp8", "{}.scale_weight", "{}.weight_scale", "{}.weight_scale_2", "{}.input_scale", "{}.scale_input"),
    *("{}.comfy_quant", "{}.SCB", "{}.weight.absmax", "{}.weight.quant_map", "{}.weight.quant_state.bitsandbytes__nf4"),
    *("{}.qweight", "{}.qzeros", "{}.weight._data", "{}.weight._scale"),
]


# What an encoder's scales may be called, and what it may have beside them: these are applied, or do not matter.
APPLIED = ("scaled_fp8", "{}.scale_weight", "{}.weight_scale", "{}.input_scale", "{}.scale_input", "{}.comfy_quant")
ENCODERS_REFUSED = [scale for scale in SCALES if scale not in APPLIED]


@pytest.mark.parametrize("scale", APPLIED)
@pytest.mark.parametrize("naming", ["Hugging Face", "open_clip"])
def test_an_encoder_with_scales_is_taken_after_plain_ones(tmp_path: Path, naming: str, scale: str) -> None:
    write_all(tmp_path, PLUS)
    empty = {key: torch.empty(shape, device="meta") for key, shape in encoder_shapes(*ENCODERS[VIT_H][:4]).items()}
    shapes = {key: tuple(tensor.shape) for key, tensor in NAMINGS[naming](empty).items()}
    name = "visual.transformer.resblocks.0.mlp.c_fc" if "open" in naming else "vision_model.encoder.layers.0.mlp.fc1"
    write_header(tmp_path / "a-scaled.safetensors", {**shapes, scale.format(name): (1,)}, "F8_E4M3")
    assert choose(tmp_path, encoder="a-scaled").encoder.path.stem == "a-scaled"
    assert choose(tmp_path).encoder.path.stem == VIT_H


@pytest.mark.parametrize(
    ("what", "scale"),
    [
        *[("adapter", scale) for scale in SCALES],
        *[("encoder", scale) for scale in ENCODERS_REFUSED],
        *[("encoder of open_clip", scale) for scale in ENCODERS_REFUSED],
    ],
)
def test_quantised_weights_with_scales_are_refused_by_name_and_left_out_by_auto(
    tmp_path: Path, what: str, scale: str
) -> None:
    write_all(tmp_path, PLUS)
    if what == "adapter":
        shapes = adapter_shapes(*ADAPTERS[PLUS])
        name = "ip_adapter.1.to_k_ip"
    else:
        empty = {key: torch.empty(shape, device="meta") for key, shape in encoder_shapes(*ENCODERS[VIT_H][:4]).items()}
        naming = "open_clip" if "open" in what else "Hugging Face"
        shapes = {key: tuple(tensor.shape) for key, tensor in NAMINGS[naming](empty).items()}
        name = "visual.transformer.resblocks.0.mlp.c_fc" if "open" in what else "vision_model.encoder.layers.0.mlp.fc1"
    write_header(tmp_path / "a-quantised.safetensors", {**shapes, scale.format(name): (1,)})
    field = "adapter" if what == "adapter" else "encoder"
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, **{field: "a-quantised"})
    assert refusal.value.cause == "file_quantised"
    assert all(word in str(refusal.value) for word in ("a-quantised.safetensors", "float16"))
    pair = choose(tmp_path)
    assert (pair.adapter.path.stem, pair.encoder.path.stem) == (PLUS, VIT_H)


@pytest.mark.parametrize("dtype", ["I8", "U8", "I64", "BOOL"])
@pytest.mark.parametrize("field", ["adapter", "encoder"])
def test_weights_that_are_no_floating_point_numbers_are_refused(tmp_path: Path, field: str, dtype: str) -> None:
    write_all(tmp_path, PLUS)
    shapes = adapter_shapes(*ADAPTERS[PLUS]) if field == "adapter" else encoder_shapes(*ENCODERS[VIT_H][:4])
    write_header(tmp_path / "a-whole.safetensors", shapes, dtype)
    with pytest.raises(Refused) as refusal:
        choose(tmp_path, **{field: "a-whole"})
    assert refusal.value.cause == "file_numbers"
    assert dtype in str(refusal.value)
    assert getattr(choose(tmp_path), field).path.stem != "a-whole"


# -- other files -------------------------------------------------------------------------------------------------------


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

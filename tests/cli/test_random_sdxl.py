"""The random SDXL files: names and order of the real ones, the same bytes for the same seed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.standalone.pipeline import load_pipeline, read_checkpoint
from lib_anyms.standalone.random_sdxl import write_random_sdxl
from lib_anyms.standalone.single_file import build_modules, expected_shapes
from lib_anyms.standalone.structure import SDXL, SMALL, TINY, Structure, attn2_layers
from tests.support.files import random_files

# The number of weights in each part of sd_xl_base_1.0.safetensors, and shapes that depend on the parts' sizes.
# position_ids and logit_scale are left out: no program reads them.
SDXL_COUNTS = {
    "model.diffusion_model.": 1680,
    "first_stage_model.": 248,
    "conditioner.embedders.0.transformer.": 196,
    "conditioner.embedders.1.model.": 389,
}
SDXL_SHAPES = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight": (640, 2048),
    "model.diffusion_model.input_blocks.8.1.transformer_blocks.9.ff.net.0.proj.weight": (10240, 1280),
    "model.diffusion_model.middle_block.1.proj_in.weight": (1280, 1280),
    "model.diffusion_model.output_blocks.0.0.skip_connection.weight": (1280, 2560, 1, 1),
    "model.diffusion_model.output_blocks.2.2.conv.weight": (1280, 1280, 3, 3),
    "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
    "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
    "first_stage_model.decoder.mid.attn_1.q.weight": (512, 512, 1, 1),
    "first_stage_model.quant_conv.weight": (8, 8, 1, 1),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_weight": (3840, 1280),
    "conditioner.embedders.1.model.text_projection": (1280, 1280),
}


# The first digits of the SHA-256 over a part's sorted lines "name shape", from A1111's modules (v1.10.1, built from
# sd_xl_base.yaml).
SDXL_NAMES = {
    "model.diffusion_model.": "3884182d449c8837",
    "first_stage_model.": "e9d56f72afb2bd81",
    "conditioner.embedders.0.transformer.": "7a1d2af8235327ad",
    "conditioner.embedders.1.model.": "1540b3c388720b76",
}


def digest(shapes: dict[str, tuple[int, ...]], part: str) -> str:
    lines = (f"{name} {list(shape)}" for name, shape in sorted(shapes.items()) if name.startswith(part))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_sdxl_s_structure_gives_sdxl_s_file() -> None:
    shapes = expected_shapes(SDXL)
    assert {part: digest(shapes, part) for part in SDXL_NAMES} == SDXL_NAMES
    assert {part: sum(name.startswith(part) for name in shapes) for part in SDXL_COUNTS} == SDXL_COUNTS
    assert {name: tuple(shapes[name]) for name in SDXL_SHAPES} == SDXL_SHAPES


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    files = [write_random_sdxl(tmp_path / str(n), SMALL, seed, ["base"]) for n, seed in enumerate((0, 0, 1))]
    for pick in (lambda one: one.checkpoint, lambda one: one.encoder, lambda one: one.adapters["base"]):
        first, again, other = (pick(one).read_bytes() for one in files)
        assert first == again
        assert first != other


def test_tiny_has_sdxl_s_seventy_layers() -> None:
    with torch.device("meta"):
        unet = build_modules(TINY).unet
    layers = cross_attention_layers(unet)
    assert len(layers) == 70
    assert [layer.width for layer in layers] == [width for _, width in attn2_layers(TINY)]
    assert read_adapter(random_files(TINY).adapters["base"]).tokens == 4
    assert read_adapter(random_files(TINY).adapters["plus"]).tokens == 16
    assert [layer.number for layer in read_adapter(random_files(TINY).adapters["plus"]).layers] == list(
        range(1, 140, 2)
    )


@pytest.mark.parametrize("structure", [SMALL, TINY])
def test_the_files_belong_together_and_are_small(structure: Structure) -> None:
    files = random_files(structure)
    described = read_checkpoint(files.checkpoint)
    assert (described.structure, described.in_channels) == (structure, 4)
    encoder = read_encoder(files.encoder)
    for kind, path in files.adapters.items():
        adapter = read_adapter(path)
        assert adapter.kind == kind
        assert adapter.context_width == structure.context_width
        assert adapter.encoder_width == encoder.width_for(kind)
    assert sum(path.stat().st_size for path in (files.checkpoint, files.encoder, *files.adapters.values())) < 60e6


def test_weights_are_half_precision_and_finite() -> None:
    for path in (random_files().checkpoint, random_files().encoder, *random_files().adapters.values()):
        for name, tensor in load_file(path).items():
            assert tensor.dtype == torch.float16, name
            assert tensor.isfinite().all(), name


def test_the_structure_round_trips_through_the_file() -> None:
    with safe_open(str(random_files().checkpoint), framework="pt") as file:
        text = file.metadata()["anyms.structure"]
    assert Structure.from_json(text) == SMALL
    for broken in ("{", "[]", "{}", text.replace("widths", "width")):
        with pytest.raises(Refused) as refusal:
            Structure.from_json(broken)
        assert refusal.value.cause == "structure_fault"


def test_the_caller_s_random_state_is_unchanged(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    write_random_sdxl(tmp_path, SMALL, adapters=[])
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_words_and_pictures_change_pixels_and_nothing_saturates(kind: str) -> None:
    """By diffusers' IP-Adapter. With a random model that shows no difference every other test would pass."""
    files = random_files()
    pipe = load_pipeline(files.checkpoint, "cpu", torch.float32)
    pipe.set_progress_bar_config(disable=True)
    groups: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in load_file(files.adapters[kind]).items():
        group, rest = name.split(".", 1)
        groups[group][rest] = tensor.float()
    pipe.unet._load_ip_adapter_weights([groups])
    pipe.set_ip_adapter_scale(0.6)
    encoder = Encoder(read_encoder(files.encoder), torch.device("cpu"), torch.float32)
    nothing = encoder.encode_unconditional(kind)

    def pixels(prompt: str, colour: str) -> torch.Tensor:
        embedding = encoder.encode([Image.new("RGB", (64, 64), colour)], kind, "pad")
        picture = pipe(
            prompt,
            width=128,
            height=128,
            num_inference_steps=4,
            generator=torch.Generator().manual_seed(0),
            ip_adapter_image_embeds=[torch.stack([nothing, embedding])],
            output_type="pt",
        ).images[0]
        return 255 * picture

    first = pixels("a cat", "red")
    assert (pixels("a cat", "blue") - first).abs().mean() > 5
    assert (pixels("a red house", "red") - first).abs().mean() > 0.3
    assert 20 < first.std() < 80
    assert ((first <= 0) | (first >= 255)).float().mean() < 0.05

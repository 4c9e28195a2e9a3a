"""SDXL's relatives with their real sizes: some take an adapter for SDXL; the sentence for the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.errors import SteppedAside
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint, AdapterLayer
from lib_anyms.models.model_family import FAMILIES, family_mismatch


@dataclass(frozen=True)
class Structure:
    """A UNet: transformer blocks in each input, middle and output block, widths by level.

    A level has two blocks going down and three going up.
    """

    into: tuple[int, ...]
    middle: int
    out: tuple[int, ...]
    widths: tuple[int, ...] = (320, 640, 1280)
    context: int = 2048
    channels: int = 4


class Attention(nn.Module):
    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.to_q, self.to_k = nn.Linear(width, width, bias=False), nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])


def transformer(depth: int, width: int, context: int) -> nn.Module:
    blocks = nn.ModuleList(nn.ModuleDict({"attn2": Attention(width, context)}) for _ in range(depth))
    return nn.ModuleDict({"transformer_blocks": blocks})


def build(structure: Structure) -> nn.Module:
    """LDM's names and shapes on the meta device: no weights."""
    widths, context = structure.widths, structure.context
    with torch.device("meta"):
        blocks = [nn.ModuleList([nn.Conv2d(structure.channels, widths[0], 3)])]
        for number, depth in enumerate(structure.into):
            if number and number % 2 == 0:
                blocks.append(nn.ModuleList())  # a level's downsampling
            blocks.append(nn.ModuleList([nn.Identity(), transformer(depth, widths[number // 2], context)]))
        middle = nn.ModuleList([nn.Identity(), transformer(structure.middle, widths[-1], context)])
        up = [transformer(depth, widths[-1 - number // 3], context) for number, depth in enumerate(structure.out)]
        outputs = nn.ModuleList(nn.ModuleList([nn.Identity(), part]) for part in up)
        return nn.ModuleDict({"input_blocks": nn.ModuleList(blocks), "middle_block": middle, "output_blocks": outputs})


SDXL = Structure((0, 0, 2, 2, 10, 10), 10, (10, 10, 10, 2, 2, 2, 0, 0, 0))
SD15 = Structure((1, 1, 1, 1, 1, 1, 0, 0), 1, (0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1), (320, 640, 1280, 1280), 768)
REFINER = Structure((0, 0, 4, 4, 4, 4, 0, 0), 4, (0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0), (384, 768, 1536, 1536), 1280)
SSD_1B = Structure((0, 0, 2, 2, 4, 4), 0, (4, 4, 10, 2, 1, 1, 0, 0, 0))
VEGA = Structure((0, 0, 1, 1, 2, 2), 0, (2, 2, 2, 1, 1, 1, 0, 0, 0))


SD2 = Structure(SD15.into, SD15.middle, SD15.out, SD15.widths, 1024)


def with_channels(channels: int) -> Structure:
    return Structure(SDXL.into, SDXL.middle, SDXL.out, channels=channels)


def on_meta_in_four_bits(linear: nn.Linear) -> nn.Module:
    """Forge's layer of an nf4 checkpoint, without numbers."""
    layer = nn.Module()
    weight: Any = nn.Parameter(torch.empty(linear.weight.numel() // 2, 1, dtype=torch.uint8, device="meta"), False)
    weight.quant_state = SimpleNamespace(shape=linear.weight.shape)
    layer.weight = weight
    return layer


def adapter_for(layers: tuple[Layer, ...]) -> AdapterCheckpoint:
    """A `plus` adapter for these layers, as its header describes it."""
    described = tuple(AdapterLayer(layer.number, "k", "v", layer.width) for layer in layers)
    return AdapterCheckpoint(Path("plus.safetensors"), "plus", 16, 1280, 2048, described, {})


ACCEPTED = {
    "SDXL base": SDXL,
    "SDXL inpaint, 9 channels": with_channels(9),
    "SDXL Turbo": SDXL,
    "SDXL Lightning": SDXL,
}
NOT_SDXL = "AnyMS: the loaded model is not of the adapter's family ({}), so the image was made without AnyMS. {}"
DISTILLED = "It has fewer layers than SDXL: load an SDXL checkpoint, or pick an adapter that was trained for it."
STEPPED_ASIDE = {
    "SSD-1B": (SSD_1B, NOT_SDXL.format("cross-attention layers: got 34, expected 70", f"It is SSD-1B. {DISTILLED}")),
    "Segmind Vega": (
        VEGA,
        NOT_SDXL.format("cross-attention layers: got 15, expected 70", f"It is Segmind Vega. {DISTILLED}"),
    ),
    "CosXL-edit": (
        with_channels(8),
        NOT_SDXL.format(
            "input channels: got 8, expected 4 or 9",
            "It is an image-editing checkpoint such as CosXL-edit. Load the SDXL checkpoint it was made from.",
        ),
    ),
    "SDXL refiner": (
        REFINER,
        NOT_SDXL.format(
            "cross-attention layers: got 44, expected 70",
            "It is SDXL's refiner. Load the SDXL base checkpoint, and leave the refiner to the refiner's own field.",
        ),
    ),
    "SD 1.5": (
        SD15,
        NOT_SDXL.format(
            "cross-attention layers: got 16, expected 70", "It is Stable Diffusion 1. Load an SDXL checkpoint."
        ),
    ),
    "SD 2": (
        SD2,
        NOT_SDXL.format(
            "cross-attention layers: got 16, expected 70", "It is Stable Diffusion 2. Load an SDXL checkpoint."
        ),
    ),
    "32-channel latents": (
        with_channels(32),
        NOT_SDXL.format(
            "input channels: got 32, expected 4 or 9",
            "It is a checkpoint with other latents than SDXL's. Load an SDXL checkpoint.",
        ),
    ),
}


@pytest.fixture(scope="module")
def sdxl_adapter() -> AdapterCheckpoint:
    return adapter_for(cross_attention_layers(build(SDXL)))


def test_the_numbers_are_the_real_ones(sdxl_adapter: AdapterCheckpoint) -> None:
    """As IP-Adapter's files for SDXL have them: 70 layers, the first two pairs of 640, the middle block's last."""
    widths = [layer.width for layer in sdxl_adapter.layers]
    assert (len(widths), widths.count(640), widths.count(1280)) == (70, 10, 60)
    assert widths[:5] == [640, 640, 640, 640, 1280]
    for (count, context), (name, _) in FAMILIES.items():
        structure = {
            "SSD-1B": SSD_1B,
            "Segmind Vega": VEGA,
            "SDXL's refiner": REFINER,
            "Stable Diffusion 1": SD15,
            "Stable Diffusion 2": SD2,
        }[name]
        layers = cross_attention_layers(build(structure))
        assert (len(layers), {layer.context_width for layer in layers}) == (count, {context})


@pytest.mark.parametrize("name", ACCEPTED)
def test_these_take_an_adapter_for_sdxl(sdxl_adapter: AdapterCheckpoint, name: str) -> None:
    unet = build(ACCEPTED[name])
    assert family_mismatch(unet, cross_attention_layers(unet), sdxl_adapter) is None


@pytest.mark.parametrize("name", STEPPED_ASIDE)
def test_these_do_not_and_the_sentence_says_what_to_do(sdxl_adapter: AdapterCheckpoint, name: str) -> None:
    structure, sentence = STEPPED_ASIDE[name]
    unet = build(structure)
    problem = family_mismatch(unet, cross_attention_layers(unet), sdxl_adapter)
    assert problem is not None
    assert str(SteppedAside("other_family", **problem)) == sentence


@pytest.mark.parametrize("structure", [SDXL, SD15, SSD_1B], ids=["SDXL", "SD 1.5", "SSD-1B"])
def test_a_checkpoint_in_four_bits_is_the_same_family(sdxl_adapter: AdapterCheckpoint, structure: Structure) -> None:
    plain, packed = build(structure), build(structure)
    for layer in cross_attention_layers(packed):
        for name in ("to_q", "to_k"):
            setattr(layer.attention, name, on_meta_in_four_bits(getattr(layer.attention, name)))
    layers = cross_attention_layers(packed)
    assert layers[0].attention.to_q.weight.shape[1] == 1
    expected = family_mismatch(plain, cross_attention_layers(plain), sdxl_adapter)
    assert family_mismatch(packed, layers, sdxl_adapter) == expected
    assert (expected is None) == (structure is SDXL)


def test_an_adapter_for_a_relative_fits_it_and_not_sdxl(sdxl_adapter: AdapterCheckpoint) -> None:
    """The layers alone decide; no size of SDXL does."""
    small, whole = build(SSD_1B), build(SDXL)
    own = adapter_for(cross_attention_layers(small))
    assert family_mismatch(small, cross_attention_layers(small), own) is None
    problem = family_mismatch(whole, cross_attention_layers(whole), own)
    assert problem is not None
    assert (problem["got"], problem["expected"]) == (70, 34)


@pytest.mark.parametrize("difference", ["one width", "order", "context"])
def test_every_size_is_checked(sdxl_adapter: AdapterCheckpoint, difference: str) -> None:
    widths = SDXL.widths if difference != "one width" else (320, 640, 1344)
    unet = build(Structure(SDXL.into, SDXL.middle, SDXL.out, widths, 1280 if difference == "context" else 2048))
    layers = cross_attention_layers(unet)
    problem = family_mismatch(unet, layers if difference != "order" else layers[::-1], sdxl_adapter)
    assert problem is not None
    assert problem["what"] == ("width of the text tokens" if difference == "context" else "widths of the layers")
    assert "pick another adapter" in str(problem["remedy"])

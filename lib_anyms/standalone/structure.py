"""The sizes of a model of SDXL's family; all configurations follow from them. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lib_anyms.errors import Refused

METADATA_KEY = "anyms.structure"  # in a checkpoint's safetensors metadata; a file without it has SDXL's sizes
LATENT_CHANNELS = 4
NORM_GROUPS = 32  # both hosts hard-code it
PREDICTIONS = ("epsilon", "v_prediction")
LATER_FIELDS = {"vae_blocks"}  # older files lack them and have their defaults


@dataclass(frozen=True)
class TextEncoder:
    """A CLIP text transformer, read at its penultimate state; widths in channels."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    projection: int
    activation: str


@dataclass(frozen=True)
class VisionEncoder:
    """A CLIP vision transformer with projection; `image_size` and `patch_size` in pixels."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    projection: int
    activation: str
    image_size: int = 224
    patch_size: int = 14


@dataclass(frozen=True)
class Structure:
    """An SDXL-family model with the encoder and resampler of its IP-Adapters; the defaults are SDXL with ViT-H.

    `widths` and `depths` are per UNet level, finest first; a depth is the number of blocks of a spatial transformer,
    0 = no attention. The middle block has the depth of the last level. `native_size` is an image's side in pixels.
    """

    widths: tuple[int, ...] = (320, 640, 1280)
    depths: tuple[int, ...] = (0, 2, 10)
    res_blocks: int = 2
    head_width: int = 64
    size_embedding: int = 256  # of each of the six size and crop numbers; Forge hard-codes 256
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)
    vae_blocks: int = 2  # res blocks in each level of the VAE's encoder; the decoder has one more
    text_1: TextEncoder = TextEncoder(12, 768, 12, 3072, 768, "quick_gelu")
    text_2: TextEncoder = TextEncoder(32, 1280, 20, 5120, 1280, "gelu")
    vision: VisionEncoder = VisionEncoder(32, 1280, 16, 5120, 1024, "gelu")
    resampler_width: int = 1280
    resampler_layers: int = 4
    prediction: str = "epsilon"
    native_size: int = 1024

    def __post_init__(self) -> None:
        for wrong, description in self._faults():
            if wrong:
                raise Refused("structure_fault", got=description)

    def _faults(self) -> Iterator[tuple[bool, str]]:
        base = self.widths[0]
        yield len(self.widths) != len(self.depths), "widths and depths of different lengths"
        all_widths = self.widths + self.vae_widths
        yield any(width % NORM_GROUPS for width in all_widths), f"a width that is no multiple of {NORM_GROUPS}"
        yield any(width % base for width in self.widths), "a width that is no multiple of the first"
        yield any(width % self.head_width for width in self.widths), "a width that is no multiple of the head width"
        yield self.depths[-1] < 1, "a last level without attention"
        yield min(self.text_1.layers, self.text_2.layers) < 2, "a text encoder without a penultimate state"
        not_square = self.text_2.projection != self.text_2.hidden
        yield not_square, "a second text encoder whose projection is not square (Forge)"
        yield self.text_2.intermediate != 4 * self.text_2.hidden, "a second text encoder not four times as wide inside"
        # diffusers distinguishes the two encoders of a single file by this width
        yield self.text_1.hidden == self.text_2.hidden, "two text encoders of one width"
        yield self.prediction not in PREDICTIONS, f"the prediction type {self.prediction!r}"

    @property
    def context_width(self) -> int:
        """Channels of the text tokens in cross-attention: those of both text encoders, concatenated."""
        return self.text_1.hidden + self.text_2.hidden

    @property
    def added_width(self) -> int:
        """Channels of the added condition: the pooled text and six embedded numbers (sizes and crop)."""
        return self.text_2.projection + 6 * self.size_embedding

    @property
    def block_depths(self) -> list[int]:
        """Depth of each input block with a res block; the output blocks mirror it, with one more in each level."""
        return _repeat_each(self.depths, self.res_blocks)

    def to_json(self) -> str:
        """The text for a checkpoint's metadata."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Structure:
        """The inverse of `to_json`. Raises Refused."""
        try:
            values = json.loads(text)
            for name, kind in (("text_1", TextEncoder), ("text_2", TextEncoder), ("vision", VisionEncoder)):
                values[name] = kind(**values[name])
            for name in ("widths", "depths", "vae_widths"):
                values[name] = tuple(values[name])
            missing = {field.name for field in fields(cls)} - set(values) - LATER_FIELDS
            if missing:
                raise KeyError(*missing)
            return cls(**values)
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise Refused("structure_fault", got=f"{type(error).__name__}: {error}") from error


SDXL = Structure()

# SDXL's depths and 70 attn2 layers. The widths differ, so that mixing up two of them fails.
TINY = Structure(
    widths=(32, 64, 96),
    head_width=32,
    vae_widths=(32, 32, 64, 64),
    text_1=TextEncoder(2, 32, 2, 64, 32, "quick_gelu"),
    text_2=TextEncoder(2, 48, 3, 192, 48, "gelu"),
    vision=VisionEncoder(3, 72, 3, 144, 56, "gelu", patch_size=32),
    resampler_width=128,
    resampler_layers=4,
    native_size=256,
)

# 17 attn2 layers, for tests that need a UNet but not SDXL's number of layers.
SMALL = replace(TINY, depths=(0, 1, 2))

# The trained small world. All its files stay below 40 MB in fp16; the embeddings of 49408 text tokens are a quarter.
SPRITES = Structure(
    widths=(64, 64, 128),
    depths=(0, 1, 1),
    res_blocks=1,
    head_width=32,
    vae_widths=(64, 64, 64, 64),
    vae_blocks=1,
    text_1=TextEncoder(3, 32, 2, 128, 32, "quick_gelu"),
    text_2=TextEncoder(3, 64, 4, 256, 64, "gelu"),
    vision=VisionEncoder(4, 128, 4, 384, 96, "gelu", image_size=64, patch_size=16),
    resampler_width=128,
    resampler_layers=2,
    prediction="v_prediction",
    native_size=256,
)


def attn2_layers(structure: Structure) -> list[tuple[str, int]]:
    """(LDM name, width) of each cross-attention layer, in the order of IP-Adapter files 1, 3, 5 ...: MIDDLE LAST."""
    per_level = structure.res_blocks + 1
    levels = list(enumerate(zip(structure.widths, structure.depths)))
    layers: list[tuple[str, int]] = []

    def add(block: str, width: int, depth: int) -> None:
        layers.extend((f"{block}.1.transformer_blocks.{number}.attn2", width) for number in range(depth))

    for level, (width, depth) in levels:
        for block in range(structure.res_blocks):
            add(f"input_blocks.{1 + level * per_level + block}", width, depth)
    for index, (_, (width, depth)) in enumerate(reversed(levels)):
        for block in range(per_level):
            add(f"output_blocks.{index * per_level + block}", width, depth)
    add("middle_block", structure.widths[-1], structure.depths[-1])
    return layers


def ldm_unet_config(structure: Structure, in_channels: int = LATENT_CHANNELS) -> dict[str, Any]:
    """The parameters of A1111's UNetModel, as in a checkpoint's yaml."""
    # rates of the levels with attention, coarsest first as in SDXL's yaml
    rates = [2**level for level, depth in enumerate(structure.depths) if depth][::-1]
    return {
        "adm_in_channels": structure.added_width,
        "num_classes": "sequential",
        "use_checkpoint": False,
        "in_channels": in_channels,
        "out_channels": LATENT_CHANNELS,
        "model_channels": structure.widths[0],
        "attention_resolutions": rates,
        "num_res_blocks": structure.res_blocks,
        "channel_mult": [width // structure.widths[0] for width in structure.widths],
        "num_head_channels": structure.head_width,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "transformer_depth": list(structure.depths),
        "context_dim": structure.context_width,
        "spatial_transformer_attn_type": "softmax-xformers",
        "legacy": False,
    }


def forge_unet_config(structure: Structure, in_channels: int = LATENT_CHANNELS) -> dict[str, Any]:
    """The unet_config that Forge derives from the weights: a depth for each block instead of each level."""
    config = ldm_unet_config(structure, in_channels)
    for name in ("attention_resolutions", "spatial_transformer_attn_type"):
        del config[name]
    return {
        **config,
        "image_size": 32,
        "num_res_blocks": [structure.res_blocks] * len(structure.widths),
        "num_heads": -1,
        "transformer_depth": structure.block_depths,
        "transformer_depth_output": _repeat_each(structure.depths, structure.res_blocks + 1),
        "transformer_depth_middle": structure.depths[-1],
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
    }


def _repeat_each(numbers: tuple[int, ...], times: int) -> list[int]:
    repeated: list[int] = []
    for number in numbers:
        repeated.extend([number] * times)
    return repeated


def ldm_vae_config(structure: Structure) -> dict[str, Any]:
    """The `ddconfig` of A1111's AutoencoderKL."""
    base = structure.vae_widths[0]
    return {
        "attn_type": "vanilla-xformers",
        "double_z": True,
        "z_channels": LATENT_CHANNELS,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": base,
        "ch_mult": [width // base for width in structure.vae_widths],
        "num_res_blocks": structure.vae_blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }

"""The cross-attention layers of a UNet, in the order IP-Adapter files number them: input, output, MIDDLE LAST.

The UNet runs input, middle, output. Many layers share one shape, so a wrong order would load without an error: the
number must come from the name. The rule holds for any number of attn2 layers; SDXL has 70.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

# part by its LDM or diffusers name -> position in the numbering
_PARTS = {
    "input_blocks": 0,
    "down_blocks": 0,
    "output_blocks": 1,
    "up_blocks": 1,
    "middle_block": 2,
    "mid_block": 2,
}
_ATTN2 = re.compile(
    r"(?:^|\.)(?P<part>" + "|".join(_PARTS) + r")\.(?P<path>.*?)\.?transformer_blocks\.(?P<depth>\d+)\.attn2$"
)

# The blocks that carry style and composition in SDXL, by LDM and diffusers names (InstantStyle, arXiv 2404.02733).
_STYLE = ("output_blocks.1.", "up_blocks.0.attentions.1.")
_COMPOSITION = ("input_blocks.8.", "down_blocks.2.attentions.1.")
# preset -> (blocks, whether the subject acts in these or in all others)
BLOCK_PRESETS: dict[str, tuple[tuple[str, ...], bool]] = {
    "all": ((), False),
    "style": (_STYLE, True),
    "composition": (_COMPOSITION, True),
    "all but style": (_STYLE, False),
    "all but composition": (_COMPOSITION, False),
}


@dataclass(frozen=True)
class Layer:
    """One cross-attention layer: its number N in IP-Adapter files (1, 3, 5, ...), its name and its modules."""

    number: int
    name: str
    attention: Any  # the host's CrossAttention: we use to_q, to_k, to_out and heads
    transformer: (
        nn.Module
    )  # the spatial transformer around it: gets the feature map as (batch, channels, height, width)

    @property
    def heads(self) -> int:
        return int(self.attention.heads)

    @property
    def to_q(self) -> nn.Module:
        """The projection to Q."""
        module: nn.Module = self.attention.to_q
        return module

    @property
    def to_k(self) -> nn.Module:
        """The projection of text tokens to K."""
        module: nn.Module = self.attention.to_k
        return module

    @property
    def to_v(self) -> nn.Module:
        """The projection of text tokens to V."""
        module: nn.Module = self.attention.to_v
        return module

    @property
    def to_out(self) -> nn.Module:
        """The output projection: its input is Z."""
        module: nn.Module = self.attention.to_out[0]
        return module

    @property
    def width(self) -> int:
        """Channels of the queries."""
        return linear_shape(self.attention.to_q)[0]

    @property
    def context_width(self) -> int:
        """Channels of the text tokens the layer attends to."""
        return linear_shape(self.attention.to_k)[1]

    def sees(self, preset: str) -> bool:
        """Whether the block preset includes this layer."""
        names, only_these = BLOCK_PRESETS[preset]
        return any(name in self.name for name in names) == only_these


def linear_shape(linear: Any) -> tuple[int, int]:
    """(out, in) channels of a linear layer; (0, 0) where nothing tells them.

    Attributes come first, then the state of a packed weight: Forge's nf4 and fp4 layers have no attributes, and their
    weight is (bytes, 1).
    """
    wrapped = getattr(linear, "base_layer", linear)  # LoRA wrappers of diffusers
    if hasattr(wrapped, "out_features"):
        return int(wrapped.out_features), int(wrapped.in_features)
    weight = getattr(wrapped, "weight", None)
    state = getattr(weight, "quant_state", None)  # of bitsandbytes
    shape: Any = getattr(state, "shape", None) or getattr(weight, "shape", ())
    return (int(shape[0]), int(shape[1])) if len(shape) == 2 else (0, 0)


def cross_attention_layers(unet: nn.Module) -> tuple[Layer, ...]:
    """Every attn2 of `unet`, numbered. Empty for any other network."""
    modules = dict(unet.named_modules())
    names = [name for _, name in sorted(_named(modules))]
    return tuple(
        Layer(2 * index + 1, name, modules[name], modules[name.rsplit(".transformer_blocks.", 1)[0]])
        for index, name in enumerate(names)
    )


def _named(modules: dict[str, nn.Module]) -> Iterator[tuple[tuple[int, ...], str]]:
    for name in modules:
        match = _ATTN2.search(name)
        if match:
            path = [int(number) for number in re.findall(r"\d+", match["path"])]
            yield (_PARTS[match["part"]], *path, int(match["depth"])), name

"""Files of other extensions for the tiny SDXL: a LoRA and a ControlNet with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lib_anyms.standalone.structure import METADATA_KEY, TINY

UNET = "model.diffusion_model."
RANK, ALPHA = 4, 2.0
_FIRST_ATTENTION = "input_blocks.4.1.transformer_blocks.0.attn2"
_CONVOLUTION = "input_blocks.1.0.in_layers.2"
CHANGED = (
    f"{_FIRST_ATTENTION}.to_q",
    f"{_FIRST_ATTENTION}.to_k",
    "middle_block.1.transformer_blocks.3.attn2.to_q",
    _CONVOLUTION,
)
_HINT = ((3, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 96, 2), (96, 96, 1), (96, 256, 2))  # in, out, stride

State = dict[str, torch.Tensor]


def write_lora(checkpoint: Path, lora: Path, merged: Path) -> None:
    """Write a LoRA in kohya's names, and the checkpoint with it merged: W + alpha / rank * up @ down."""
    weights = load_file(checkpoint)
    random = torch.Generator().manual_seed(11)
    adapter: State = {}
    for name in CHANGED:
        weight = weights[f"{UNET}{name}.weight"].float()
        out, *rest = weight.shape
        down = torch.randn(RANK, *rest, generator=random)
        up = torch.randn(out, RANK, *[1] * (len(rest) - 1), generator=random)
        change = ALPHA / RANK * torch.einsum("or,r...->o...", up.flatten(1), down)
        strength = 2 * weight.std() / change.std()
        stem = f"lora_unet_{name.replace('.', '_')}"
        adapter |= {f"{stem}.lora_down.weight": strength * down, f"{stem}.lora_up.weight": up}
        adapter[f"{stem}.alpha"] = torch.tensor(ALPHA)
        weights[f"{UNET}{name}.weight"] = weight + strength * change
    _save(adapter, lora)
    _save(weights, merged, {METADATA_KEY: TINY.to_json()})


def write_controlnet(checkpoint: Path, target: Path) -> None:
    """Write a ControlNet in the original names: the UNet's first half, and zero convolutions with random weights."""
    weights = load_file(checkpoint)
    copied = ("time_embed.", "label_emb.", "input_blocks.", "middle_block.")
    unet = {name.removeprefix(UNET): weight for name, weight in weights.items() if name.startswith(UNET)}
    state = {name: weight for name, weight in unet.items() if name.startswith(copied)}
    random = torch.Generator().manual_seed(12)

    def convolution(name: str, inner: int, out: int, side: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, inner, side, side, generator=random) / (inner * side * side) ** 0.5
        state[f"{name}.bias"] = torch.zeros(out)

    first = unet["input_blocks.0.0.weight"].shape[0]
    for place, (inner, out, _stride) in enumerate((*_HINT, (256, first, 1))):
        convolution(f"input_hint_block.{2 * place}", inner, out, 3)
    blocks = 1 + max(int(name.split(".")[1]) for name in unet if name.startswith("input_blocks."))
    widths = [_width(unet, f"input_blocks.{number}.0") for number in range(blocks)]
    for number, width in enumerate(widths):
        convolution(f"zero_convs.{number}.0", width, width, 1)
    convolution("middle_block_out.0", widths[-1], widths[-1], 1)
    _save(state, target)


def _width(unet: State, block: str) -> int:
    """Output channels of a block: a convolution, a residual block or a downsampling."""
    last = next(name for name in ("weight", "out_layers.3.weight", "op.weight") if f"{block}.{name}" in unet)
    return unet[f"{block}.{last}"].shape[0]


def _save(state: State, path: Path, metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata)

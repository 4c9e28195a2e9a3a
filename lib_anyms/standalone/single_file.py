"""SDXL's single-file checkpoint: its modules, and the names of their weights in the WebUIs.

The UNet and the VAE have LDM's names, text encoder 1 Hugging Face's, text encoder 2 open_clip's. diffusers reads such
files but cannot write them; this module does, and it lists the weights of a complete file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lib_anyms.standalone.structure import LATENT_CHANNELS, NORM_GROUPS, Structure, TextEncoder

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT_1 = "conditioner.embedders.0.transformer."
TEXT_2 = "conditioner.embedders.1.model."
NOISE_IN, NOISE_OUT = UNET + "input_blocks.0.0.weight", UNET + "out.2.weight"
V_PREDICTION = "v_pred"  # a weight of this name: Forge then takes the UNet's output for v instead of the noise
LOGIT_SCALE = TEXT_2 + "logit_scale"  # SDXL has it; no program reads it
VAE_SCALE = 0.13025

Named = Iterator[tuple[str, torch.Tensor]]


@dataclass(frozen=True)
class Modules:
    """The four networks of a checkpoint, as diffusers and transformers build them."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection


def build_modules(structure: Structure, in_channels: int = LATENT_CHANNELS) -> Modules:
    """Build the networks with the libraries' initial weights, on torch's default device (meta: shapes only)."""
    return Modules(
        unet=UNet2DConditionModel(**unet_config(structure, in_channels)),
        vae=AutoencoderKL(**vae_config(structure)),
        text_encoder=CLIPTextModel(CLIPTextConfig(**text_config(structure.text_1))),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**text_config(structure.text_2))),
    )


def unet_config(structure: Structure, in_channels: int = LATENT_CHANNELS) -> dict[str, Any]:
    """diffusers' configuration of the UNet."""
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in structure.depths]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(structure.depths)]
    return {
        "sample_size": structure.native_size // 8,
        "in_channels": in_channels,
        "out_channels": LATENT_CHANNELS,
        "block_out_channels": list(structure.widths),
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": structure.res_blocks,
        # 1 where a level has no attention, as in SDXL's configuration
        "transformer_layers_per_block": [max(1, depth) for depth in structure.depths],
        # diffusers reads this field as the number of heads
        "attention_head_dim": [width // structure.head_width for width in structure.widths],
        "cross_attention_dim": structure.context_width,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": structure.size_embedding,
        "projection_class_embeddings_input_dim": structure.added_width,
        "norm_num_groups": NORM_GROUPS,
        "use_linear_projection": True,
    }


def vae_config(structure: Structure) -> dict[str, Any]:
    """diffusers' configuration of the VAE."""
    levels = len(structure.vae_widths)
    return {
        "sample_size": structure.native_size,
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": LATENT_CHANNELS,
        "block_out_channels": list(structure.vae_widths),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": structure.vae_blocks,
        "norm_num_groups": NORM_GROUPS,
        "scaling_factor": VAE_SCALE,
        "force_upcast": True,
    }


def text_config(encoder: TextEncoder) -> dict[str, Any]:
    """transformers' configuration of a text encoder. eos_token_id 2, as in SDXL, means: pool at the largest token."""
    return {
        "hidden_size": encoder.hidden,
        "intermediate_size": encoder.intermediate,
        "projection_dim": encoder.projection,
        "num_hidden_layers": encoder.layers,
        "num_attention_heads": encoder.heads,
        "hidden_act": encoder.activation,
        "max_position_embeddings": 77,
        "vocab_size": 49408,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


def single_file_state(modules: Modules, structure: Structure) -> dict[str, torch.Tensor]:
    """All weights with the names of a single file; the inverse of diffusers' `from_single_file`."""
    state: dict[str, torch.Tensor] = {}
    for prefix, named in (
        (UNET, _ldm_unet(_weights(modules.unet), structure.res_blocks + 1)),
        (VAE, _ldm_vae(_weights(modules.vae), len(structure.vae_widths))),
        (TEXT_1, _hugging_face(_weights(modules.text_encoder))),
        (TEXT_2, _open_clip(_weights(modules.text_encoder_2), structure.text_2.layers)),
    ):
        state.update((prefix + name, tensor) for name, tensor in named)
    return state


@cache
def expected_shapes(structure: Structure, in_channels: int = LATENT_CHANNELS) -> dict[str, tuple[int, ...]]:
    """Name and shape of each weight that a pipeline of this structure needs. Do not change the answer: it is kept."""
    with torch.device("meta"):
        state = single_file_state(build_modules(structure, in_channels), structure)
    del state[LOGIT_SCALE]
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _weights(module: nn.Module) -> Named:
    return ((name, parameter.detach()) for name, parameter in module.named_parameters())


# diffusers' part of a res block, of the UNet and of the VAE -> LDM's
_UNET_PARTS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_TOPS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_VAE_PARTS = {
    "conv_shortcut": "nin_shortcut",
    "conv_norm_out": "norm_out",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_OPEN_CLIP_PARTS = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_model.encoder.layers": "transformer.resblocks",
    "self_attn": "attn",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "fc1": "c_fc",
    "fc2": "c_proj",
}


def _renamed(name: str, table: dict[str, str]) -> str:
    """`name` with every sequence of whole parts that `table` lists replaced."""
    for old, new in table.items():
        name = re.sub(rf"(?<![^.]){re.escape(old)}(?![^.])", new, name)
    return name


def _ldm_unet(weights: Iterable[tuple[str, torch.Tensor]], per_level: int) -> Named:
    """LDM numbers blocks across levels: `per_level` output blocks each, and as many input blocks after the first."""
    block = re.compile(r"(down|mid|up)_block(?:s\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
    weights = list(weights)
    attending = {name.rsplit(".attentions.", 1)[0] for name, _ in weights if ".attentions." in name}
    for name, tensor in weights:
        match = block.fullmatch(name)
        if not match:
            yield _renamed(name, _UNET_TOPS), tensor
            continue
        part, level, kind, number, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
        first = level * per_level
        if kind == "resnets":
            rest = _renamed(rest, _UNET_PARTS)
        elif kind == "downsamplers":
            rest = rest.replace("conv.", "op.", 1)
        upsampler = 2 if f"up_blocks.{level}" in attending else 1  # it follows the attention, if there is one
        block_name = {
            ("down", "resnets"): f"input_blocks.{1 + first + number}.0",
            ("down", "attentions"): f"input_blocks.{1 + first + number}.1",
            ("down", "downsamplers"): f"input_blocks.{first + per_level}.0",
            ("mid", "resnets"): f"middle_block.{2 * number}",
            ("mid", "attentions"): "middle_block.1",
            ("up", "resnets"): f"output_blocks.{first + number}.0",
            ("up", "attentions"): f"output_blocks.{first + number}.1",
            ("up", "upsamplers"): f"output_blocks.{first + per_level - 1}.{upsampler}",
        }[part, kind]
        yield f"{block_name}.{rest}", tensor


def _ldm_vae(weights: Iterable[tuple[str, torch.Tensor]], levels: int) -> Named:
    """LDM numbers the decoder's levels from the finest; the attention's projections are 1 x 1 convolutions there."""
    block = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)")
    kinds = {"resnets": "block.{}", "downsamplers": "downsample", "upsamplers": "upsample"}

    def ldm(match: re.Match[str]) -> str:
        level = int(match[2]) if match[1] == "down" else levels - 1 - int(match[2])
        return f"{match[1]}.{level}.{kinds[match[3]].format(match[4])}"

    for name, tensor in weights:
        name = _renamed(block.sub(ldm, name), _VAE_PARTS)
        if ".attn_1." in name and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
        yield name, tensor


def _hugging_face(weights: Iterable[tuple[str, torch.Tensor]]) -> Named:
    """transformers 5 dropped the prefix of CLIPTextModel; files still have it."""
    return (("text_model." + name.removeprefix("text_model."), tensor) for name, tensor in weights)


def _open_clip(weights: Iterable[tuple[str, torch.Tensor]], layers: int) -> Named:
    """open_clip stacks query, key and value in one projection; its text_projection is the transposed matrix."""
    state = dict(weights)
    for layer in range(layers):
        attention = f"text_model.encoder.layers.{layer}.self_attn"
        for kind in ("weight", "bias"):
            stacked = torch.cat([state.pop(f"{attention}.{part}_proj.{kind}") for part in "qkv"])
            yield f"transformer.resblocks.{layer}.attn.in_proj_{kind}", stacked
    projection = state.pop("text_projection.weight")
    yield "text_projection", projection.T
    yield "logit_scale", projection.new_full((), 4.6052)  # ln 100, where CLIP's training ends
    for name, tensor in state.items():
        yield _renamed(name, _OPEN_CLIP_PARTS), tensor

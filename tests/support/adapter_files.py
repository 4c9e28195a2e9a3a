"""Adapter and encoder files for the TinyUNet. Written with safetensors alone: needs neither diffusers nor a host."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.ip_adapter.encoder import CONFIG_KEY
from tests.support.tiny_unet import CONTEXT

TOKENS, PROJECTION, HIDDEN = 4, 20, 24
VISION = {
    "hidden_size": HIDDEN,
    "intermediate_size": 32,
    "projection_dim": PROJECTION,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
    "hidden_act": "gelu",
}


def write_adapter(
    path: Path, unet: nn.Module, seed: int = 0, encoder_width: int = PROJECTION, context: int = CONTEXT
) -> Path:
    """Write a `base` adapter for `unet`."""
    make = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make)

    state = {
        "image_proj.proj.weight": random(TOKENS * context, encoder_width),
        "image_proj.proj.bias": random(TOKENS * context),
        "image_proj.norm.weight": torch.ones(context),
        "image_proj.norm.bias": torch.zeros(context),
    }
    for layer in cross_attention_layers(unet):
        for name in ("to_k_ip", "to_v_ip"):
            state[f"ip_adapter.{layer.number}.{name}.weight"] = random(layer.width, context) / context**0.5
    save_file(state, path)
    return path


def write_encoder(path: Path, seed: int = 0) -> Path:
    """Write a CLIP image encoder with transformers' names.

    Its layer norms are drawn too: at the initial 1 and 0, no test notices two of them exchanged.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, mean=1.0, std=0.2)
            nn.init.normal_(module.bias, std=0.2)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if "position_ids" not in name}
    save_file(state, path, {CONFIG_KEY: json.dumps(VISION)})
    return path

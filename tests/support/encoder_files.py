"""A CLIP image encoder's weights in every naming that users' files have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

State = dict[str, torch.Tensor]
_PLAIN = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.pre_layrnorm.": "ln_pre.",
    "vision_model.post_layernorm.": "ln_post.",
    "vision_model.encoder.layers.": "transformer.resblocks.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".self_attn.out_proj.": ".attn.out_proj.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}


def open_clip(state: State, prefix: str = "visual.") -> State:
    """The same weights as open_clip saves them: query, key and value in one tensor, the projection transposed."""
    result: State = {}
    for name, tensor in state.items():
        if name == "visual_projection.weight":
            result[prefix + "proj"] = tensor.T.contiguous()
        elif ".q_proj." in name:
            parts = [state[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            result[prefix + renamed(name).replace(".self_attn.q_proj.", ".attn.in_proj_")] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            result[prefix + renamed(name)] = tensor
    return result


def renamed(name: str) -> str:
    for old, new in _PLAIN.items():
        name = name.replace(old, new)
    return name


def with_text(state: State) -> State:
    """A whole CLIP: with a text tower."""
    text = {"text_model.embeddings.token_embedding.weight": torch.zeros(5, 4), "logit_scale": torch.zeros(())}
    return {**state, **text, "text_projection.weight": torch.zeros(4, 4)}


NAMINGS: dict[str, Callable[[State], State]] = {
    "Hugging Face": lambda state: state,
    "Hugging Face, whole CLIP": with_text,
    "Hugging Face, with position ids": lambda state: {
        **state,
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
    },
    "Hugging Face, as a part": lambda state: {f"image_encoder.{name}": tensor for name, tensor in state.items()},
    "open_clip": open_clip,
    "open_clip, whole CLIP": lambda state: {**open_clip(state), "transformer.resblocks.0.ln_1.weight": torch.zeros(4)},
    "open_clip, the tower alone": lambda state: open_clip(state, ""),
    "open_clip, as a part": lambda state: open_clip(state, "model.visual."),
}
SUFFIXES = (".safetensors", ".pth", ".bin")


def write_named(source: Path, path: Path, naming: str) -> Path:
    """Write the encoder of `source` (Hugging Face's names) in another naming; the suffix of `path` sets the format."""
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
    state = NAMINGS[naming](load_file(source))
    if path.suffix == ".safetensors":
        save_file(state, path, metadata)
    else:
        torch.save(state, path)
    return path

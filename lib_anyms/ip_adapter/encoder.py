"""The CLIP image encoder an IP-Adapter was trained with: described from its header, loaded for the encoding, gone
afterwards.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lib_anyms.engine.sdpa import is_fused
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.encoder_names import (
    LAYER,
    PATCH,
    PER_LAYER,
    POSITION,
    PROJECTION,
    TOWER,
    Stored,
    stored_names,
)
from lib_anyms.ip_adapter.references import pixel_values
from lib_anyms.tensor_files.tensor_file import open_tensors

_FC1 = f"{LAYER}0.mlp.fc1.weight"
_RANKS = {PATCH: 4, POSITION: 2, PROJECTION: 2, _FC1: 2}
CONFIG_KEY = "anyms.vision_config"  # safetensors metadata of our own small encoders

# What shapes do not tell: hidden width -> (attention heads, activation). ViT-L/14, ViT-H/14, ViT-bigG/14.
_ACTIVATIONS = ("gelu", "quick_gelu")
_KNOWN = {1024: (16, "quick_gelu"), 1280: (16, "gelu"), 1664: (16, "gelu")}
# Encoders of pictures that are no such CLIP, by a key's name.
LOOK_ALIKES = (
    ("a SigLIP encoder, as Flux Redux takes one", r"^vision_model\.head\."),
    ("an EVA-CLIP encoder, as PuLID takes one", r"^(visual\.)?blocks\.[0-9]+\.attn\.(q_bias|inner_attn_ln|rope\.)"),
    ("a DINOv2 encoder", r"^(dinov2\.|model\.)?(embeddings\.mask_token|blocks\.[0-9]+\.ls1\.)"),
    ("an IP-Adapter", r"^(image_proj|ip_adapter)\."),
)


@dataclass(frozen=True)
class EncoderCheckpoint:
    """A CLIP vision tower with projection.

    Widths in channels, `image_size` in pixels; `names`: where each weight lies.
    """

    path: Path
    hidden_width: int
    projection_width: int
    image_size: int
    config: dict[str, Any]
    parameters: int = 0
    names: Mapping[str, Stored] = field(default_factory=dict)

    @property
    def activations(self) -> int:
        """About how many numbers one picture takes: all hidden states, and one layer's scores and feed-forward at work."""
        config = self.config
        tokens = (self.image_size // config["patch_size"]) ** 2 + 1
        kept = (config["num_hidden_layers"] + 6) * self.hidden_width + 2 * config["intermediate_size"]
        return int(tokens * (kept + 2 * config["num_attention_heads"] * tokens))

    def width_for(self, kind: str) -> int:
        """What this encoder gives an adapter of `kind`: projected embedding for base, hidden states for plus."""
        return self.projection_width if kind == "base" else self.hidden_width


def read_encoder(path: Path) -> EncoderCheckpoint:
    """Header-only; raises Refused for a file that is no CLIP vision encoder with projection."""
    with open_tensors(path) as file:
        return identify_encoder(path, file.shapes, file.metadata)


def identify_encoder(
    path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]
) -> EncoderCheckpoint:
    """The encoder that consists of tensors of these names and shapes, whole. Raises Refused."""
    names = stored_names(shapes)
    found = {name: stored.shape(shapes) for name, stored in names.items()}
    for name, rank in _RANKS.items():
        if len(found.get(name, ())) != rank or 0 in found[name]:
            raise Refused("encoder_form", path=path.name, got=_look_alike(shapes) or f"no {name} of {rank} axes")
    projection, hidden = found[PROJECTION]
    sizes = {"H": hidden, "P": projection, "F": found[_FC1][0], "S": found[PATCH][-1], "T": found[POSITION][0], "3": 3}
    for name, shape in found.items():
        wanted = tuple(sizes[axis] for axis in (TOWER.get(name) or PER_LAYER[name.split(".", 4)[-1]]).split())
        if shape != wanted:
            got = f"{name} is {list(shape)}, not {list(wanted)}" if shape else f"no {names[name].key}"
            raise Refused("encoder_form", path=path.name, got=got)
    size = math.isqrt(max(0, sizes["T"] - 1)) * sizes["S"]
    told = {
        "hidden_size": hidden,
        "intermediate_size": sizes["F"],
        "projection_dim": projection,
        "num_hidden_layers": sum(name.startswith(LAYER) for name in names) // len(PER_LAYER),
        "image_size": size,
        "patch_size": sizes["S"],
    }
    if (size // sizes["S"]) ** 2 + 1 != sizes["T"]:
        raise Refused("encoder_form", path=path.name, got=f"{sizes['T']} positions, which is no square and one")
    config = {**told, **_untold(path, hidden, metadata.get(CONFIG_KEY))}
    parameters = sum(map(math.prod, found.values()))
    return EncoderCheckpoint(path, hidden, projection, size, config, parameters, names)


def _look_alike(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return next((what for what, pattern in LOOK_ALIKES if any(map(re.compile(pattern).search, shapes))), "")


def _untold(path: Path, hidden: int, config: str | None) -> dict[str, Any]:
    """Heads and activation: from our own files' metadata, else by the width of a known encoder."""
    if config is None:
        if hidden not in _KNOWN:
            raise Refused("encoder_form", path=path.name, got=f"hidden width {hidden}, known are {sorted(_KNOWN)}")
        heads, activation = _KNOWN[hidden]
    else:
        try:
            given = json.loads(config)
            heads, activation = given["num_attention_heads"], given["hidden_act"]
        except (ValueError, TypeError, KeyError) as error:
            raise Refused("encoder_form", path=path.name, got=f"{CONFIG_KEY} cannot be read: {error}") from error
        if type(heads) is not int or heads < 1 or hidden % heads or activation not in _ACTIVATIONS:
            raise Refused(
                "encoder_form", path=path.name, got=f"{heads} heads and activation {activation!r} in {CONFIG_KEY}"
            )
    return {"num_attention_heads": heads, "hidden_act": activation}


class Encoder:
    """A loaded encoder on one device; drop it to free its memory."""

    def __init__(self, checkpoint: EncoderCheckpoint, device: torch.device, dtype: torch.dtype) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # the hosts bring it; slow to import

        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype
        written_out = {} if is_fused(device, dtype) else {"attn_implementation": "eager"}
        with torch.device("meta"):
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**checkpoint.config, **written_out))
        with open_tensors(checkpoint.path) as file:
            state = {name: checkpoint.names[name].load(file).to(device, dtype) for name, _ in model.named_parameters()}
        model.load_state_dict(state, strict=False, assign=True)
        embeddings = model.vision_model.embeddings
        positions = torch.arange(embeddings.position_embedding.weight.shape[0], device=device)
        embeddings.register_buffer(
            "position_ids", positions[None], persistent=False
        )  # left on the meta device by the above
        self._model = model.eval()

    @torch.no_grad()
    def encode(self, pictures: Sequence[Image.Image], kind: str, fit: str) -> torch.Tensor:
        """What an adapter of `kind` takes: (pictures, E) for base, (pictures, patches + 1, E) for plus; float32 or
        wider.
        """
        return self._read(pixel_values(pictures, self.checkpoint.image_size, fit), kind)

    @torch.no_grad()
    def encode_nothing(self, kind: str) -> torch.Tensor:
        """The unconditional input adapters are trained with: zeros for base; for plus the encoding of zero pixel
        values.
        """
        if kind == "base":
            return torch.zeros(1, self.checkpoint.projection_width, device=self.device)
        size = self.checkpoint.image_size
        return self._read(torch.zeros(1, 3, size, size), kind)

    def _read(self, values: torch.Tensor, kind: str) -> torch.Tensor:
        output = self._model(pixel_values=values.to(self.device, self.dtype), output_hidden_states=kind == "plus")
        read = output.image_embeds if kind == "base" else output.hidden_states[-2]
        return read if read.dtype == torch.float64 else read.float()

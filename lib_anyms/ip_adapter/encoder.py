"""The CLIP image encoder of an IP-Adapter: described from its header, loaded only while it encodes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from lib_anyms.engine.sdpa import LIBRARY, fits
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import PART_OF_FILE
from lib_anyms.ip_adapter.encoder_names import (
    LAYER,
    PATCH,
    PER_LAYER,
    POSITION,
    PROJECTION,
    TOWER,
    Shapes,
    StoredWeight,
    stored_weights,
    unapplied,
)
from lib_anyms.ip_adapter.references import pixel_values
from lib_anyms.tensor_files.tensor_file import TensorFile, open_tensors, refuse_quantised

_FC1 = f"{LAYER}0.mlp.fc1.weight"
_RANKS = {PATCH: 4, POSITION: 2, PROJECTION: 2, _FC1: 2}
CONFIG_KEY = "anyms.vision_config"  # safetensors metadata of AnyMS's own small encoders

# Settings that do not follow from shapes: hidden width -> (heads, activation). ViT-L/14, ViT-H/14, ViT-bigG/14.
_VISION = re.compile(r"(^|\.)(vision_model|visual)\.")
_ACTIVATIONS = ("gelu", "quick_gelu")
_KNOWN = {1024: (16, "quick_gelu"), 1280: (16, "gelu"), 1664: (16, "gelu")}
# Other files, recognised by a key's name: kind, pattern.
LOOK_ALIKES = (
    ("a SigLIP encoder, as Flux Redux takes one", r"^vision_model\.head\."),
    ("an EVA-CLIP encoder, as PuLID takes one", r"^(visual\.)?blocks\.[0-9]+\.attn\.(q_bias|inner_attn_ln|rope\.)"),
    ("a DINOv2 encoder", r"^(dinov2\.|model\.)?(embeddings\.mask_token|blocks\.[0-9]+\.ls1\.)"),
    ("an IP-Adapter", r"^(image_proj|ip_adapter)\."),
)


@dataclass(frozen=True)
class EncoderCheckpoint:
    """A CLIP vision tower with projection.

    Widths in channels, `image_size` in pixels, `parameters` a count. `config` holds the arguments of transformers'
    CLIPVisionConfig; `weights` maps Hugging Face's name of a weight to its place in the file. `eight_bit`: some weights
    are stored in eight bits.
    """

    path: Path
    hidden_width: int
    projection_width: int
    image_size: int
    config: dict[str, Any]
    parameters: int = 0
    weights: Mapping[str, StoredWeight] = field(default_factory=dict)
    eight_bit: bool = False

    @property
    def activations(self) -> int:
        """About how many numbers encoding one image holds: all hidden states, one layer's scores and feed-forward."""
        config = self.config
        tokens = (self.image_size // config["patch_size"]) ** 2 + 1
        per_token = (config["num_hidden_layers"] + 6) * self.hidden_width + 2 * config["intermediate_size"]
        return int(tokens * (per_token + 2 * config["num_attention_heads"] * tokens))

    def width_for(self, kind: str) -> int:
        """Output width for an adapter of `kind`: projected embedding for base, hidden states for plus."""
        return self.projection_width if kind == "base" else self.hidden_width


def read_encoder(path: Path) -> EncoderCheckpoint:
    """Read a file's header, no tensor. Raises Refused for any file but a CLIP vision encoder with projection."""
    with open_tensors(path) as file:
        return checked_encoder(file)


def checked_encoder(file: TensorFile) -> EncoderCheckpoint:
    """The encoder in an open file, its weights plain floating-point numbers. Raises Refused."""
    encoder = identify_encoder(file.path, file.shapes, file.metadata)
    keys = [weight.key for weight in encoder.weights.values()]
    scales = [weight.scale for weight in encoder.weights.values() if weight.scale is not None]
    return replace(encoder, eight_bit=file.check_weights([*keys, *scales]))


def identify_encoder(path: Path, shapes: Shapes, metadata: Mapping[str, str]) -> EncoderCheckpoint:
    """Describe the encoder with tensors of these names and shapes. Raises Refused unless it is complete."""
    try:
        return _identify(path, shapes, metadata)
    except Refused as refusal:
        part = PART_OF_FILE.search(path.name)
        if part and int(part[2]) > 1 and refusal.cause == "encoder_form" and any(map(_VISION.search, shapes)):
            raise Refused("file_part", path=path.name, number=int(part[1]), count=int(part[2])) from refusal
        raise


def _identify(path: Path, shapes: Shapes, metadata: Mapping[str, str]) -> EncoderCheckpoint:
    weights = stored_weights(shapes)
    if any(weight.key in shapes for weight in weights.values()) or any(map(_VISION.search, shapes)):
        refuse_quantised(path, unapplied(shapes, weights))
    weight_shapes = {name: weight.shape(shapes) for name, weight in weights.items()}
    sizes = _sizes(path, shapes, weight_shapes)
    _check_shapes(path, weights, weight_shapes, sizes)
    image_size = math.isqrt(max(0, sizes["T"] - 1)) * sizes["S"]
    if (image_size // sizes["S"]) ** 2 + 1 != sizes["T"]:
        raise Refused("encoder_form", path=path.name, got=f"{sizes['T']} positions, not a square number plus one")
    config = {
        "hidden_size": sizes["H"],
        "intermediate_size": sizes["F"],
        "projection_dim": sizes["P"],
        "num_hidden_layers": sum(name.startswith(LAYER) for name in weights) // len(PER_LAYER),
        "image_size": image_size,
        "patch_size": sizes["S"],
        **_heads_and_activation(path, sizes["H"], metadata.get(CONFIG_KEY)),
    }
    parameters = sum(map(math.prod, weight_shapes.values()))
    return EncoderCheckpoint(path, sizes["H"], sizes["P"], image_size, config, parameters, weights)


def _sizes(path: Path, shapes: Shapes, weight_shapes: Shapes) -> dict[str, int]:
    """The sizes behind the letters of encoder_names.TOWER, from the four weights that define them."""
    for name, rank in _RANKS.items():
        if len(weight_shapes.get(name, ())) != rank or 0 in weight_shapes[name]:
            raise Refused("encoder_form", path=path.name, got=_look_alike(shapes) or f"no {name} of {rank} axes")
    projection, hidden = weight_shapes[PROJECTION]
    return {
        "H": hidden,
        "P": projection,
        "F": weight_shapes[_FC1][0],
        "S": weight_shapes[PATCH][-1],
        "T": weight_shapes[POSITION][0],
        "3": 3,
    }


def _check_shapes(
    path: Path, weights: Mapping[str, StoredWeight], weight_shapes: Shapes, sizes: Mapping[str, int]
) -> None:
    for name, shape in weight_shapes.items():
        axes = TOWER.get(name) or PER_LAYER[name.split(".", 4)[-1]]
        expected = tuple(sizes[axis] for axis in axes.split())
        if shape != expected:
            got = f"{name} is {list(shape)}, not {list(expected)}" if shape else f"no {weights[name].key}"
            raise Refused("encoder_form", path=path.name, got=got)


def _look_alike(shapes: Shapes) -> str:
    """The kind of file, where a key's name reveals it; else ""."""
    return next((kind for kind, pattern in LOOK_ALIKES if any(map(re.compile(pattern).search, shapes))), "")


def _heads_and_activation(path: Path, hidden: int, config: str | None) -> dict[str, Any]:
    """From the metadata of AnyMS's own files, else from the hidden width of a known encoder. Raises Refused."""
    if config is None:
        if hidden not in _KNOWN:
            raise Refused("encoder_form", path=path.name, got=f"hidden width {hidden}, known are {sorted(_KNOWN)}")
        heads, activation = _KNOWN[hidden]
    else:
        try:
            values = json.loads(config)
            heads, activation = values["num_attention_heads"], values["hidden_act"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Refused("encoder_form", path=path.name, got=f"{CONFIG_KEY} cannot be read: {error}") from error
        if type(heads) is not int or heads < 1 or hidden % heads or activation not in _ACTIVATIONS:
            raise Refused(
                "encoder_form", path=path.name, got=f"{heads} heads and activation {activation!r} in {CONFIG_KEY}"
            )
    return {"num_attention_heads": heads, "hidden_act": activation}


def _keep_own_forwards(model: nn.Module) -> None:
    """Make the layers of `model` immune to programs that replace the `forward` of torch's layers for the whole process.

    A1111 does so while it samples on a GTX 16, a Mac or an Intel GPU, to compute in half precision, and keeps the
    original as `org_forward`. A CPU must not encode in half precision.
    """
    own: dict[type, type] = {}
    for module in model.modules():
        kind = type(module)
        if not kind.__module__.startswith("torch.nn."):
            continue
        if kind not in own:  # a method bound to each module would be a cycle, and keep the encoder in memory
            own[kind] = type(kind.__name__, (kind,), {"forward": getattr(kind, "org_forward", kind.forward)})
        module.__class__ = own[kind]


class Encoder:
    """A loaded encoder on one device. Delete it to free its memory."""

    def __init__(self, checkpoint: EncoderCheckpoint, device: torch.device, dtype: torch.dtype) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # slow to import

        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype
        width = checkpoint.hidden_width // checkpoint.config["num_attention_heads"]
        attention = {} if fits(device, dtype, width, LIBRARY) else {"attn_implementation": "eager"}
        with torch.device("meta"):
            model = CLIPVisionModelWithProjection(CLIPVisionConfig(**checkpoint.config, **attention))
        state = {}
        with open_tensors(checkpoint.path) as file:
            for name, _ in model.named_parameters():
                state[name] = checkpoint.weights[name].load(file).to(device, dtype)
        model.load_state_dict(state, strict=False, assign=True)
        embeddings = model.vision_model.embeddings
        positions = torch.arange(embeddings.position_embedding.weight.shape[0], device=device)
        embeddings.register_buffer("position_ids", positions[None], persistent=False)  # no weight: still on "meta"
        _keep_own_forwards(model)
        self._model = model.eval()

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image], kind: str, fit: str) -> torch.Tensor:
        """The input of an adapter of `kind`: (images, E) for base, (images, patches + 1, E) for plus.

        float32, or float64 if the encoder is.
        """
        return self._run(pixel_values(images, self.checkpoint.image_size, fit), kind)

    @torch.no_grad()
    def encode_unconditional(self, kind: str) -> torch.Tensor:
        """The unconditional input that adapters are trained with: (1, E) for base, (1, patches + 1, E) for plus.

        Zeros for base; for plus the encoding of zero pixel values.
        """
        if kind == "base":
            precise = torch.promote_types(self.dtype, torch.float32)
            return torch.zeros(1, self.checkpoint.projection_width, device=self.device, dtype=precise)
        size = self.checkpoint.image_size
        return self._run(torch.zeros(1, 3, size, size), kind)

    def _run(self, pixels: torch.Tensor, kind: str) -> torch.Tensor:
        output = self._model(pixel_values=pixels.to(self.device, self.dtype), output_hidden_states=kind == "plus")
        encoding: torch.Tensor = output.image_embeds if kind == "base" else output.hidden_states[-2]
        return encoding if encoding.dtype == torch.float64 else encoding.float()

"""The weight names of CLIP's image encoder: Hugging Face's, which the model uses, and open_clip's.

open_clip stores query, key and value of a layer in one tensor, and the projection transposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from lib_anyms.tensor_files.tensor_file import TensorFile

Shapes = Mapping[str, tuple[int, ...]]

PATCH, POSITION = "vision_model.embeddings.patch_embedding.weight", "vision_model.embeddings.position_embedding.weight"
PROJECTION = "visual_projection.weight"
LAYER = "vision_model.encoder.layers."

# Hugging Face's names and axes: H hidden width, P projected width, F feed-forward width, S side of a patch, T tokens
# (patches + 1).
TOWER = {
    "vision_model.embeddings.class_embedding": "H",
    PATCH: "H 3 S S",
    POSITION: "T H",
    "vision_model.pre_layrnorm.weight": "H",
    "vision_model.pre_layrnorm.bias": "H",
    "vision_model.post_layernorm.weight": "H",
    "vision_model.post_layernorm.bias": "H",
    PROJECTION: "P H",
}
_LINEAR = {"self_attn.q_proj": "H H", "self_attn.k_proj": "H H", "self_attn.v_proj": "H H", "self_attn.out_proj": "H H"}
_PARTS = {"layer_norm1": "H", "layer_norm2": "H", **_LINEAR, "mlp.fc1": "F H", "mlp.fc2": "H F"}
PER_LAYER: dict[str, str] = {}
for _name, _axes in _PARTS.items():
    PER_LAYER[f"{_name}.weight"] = _axes
    PER_LAYER[f"{_name}.bias"] = _axes[0]

# Prefixes of the names in files that were saved as a part of a larger model.
_PREFIXES_HF = ("", "model.", "module.", "image_encoder.")
_PREFIXES_OPEN_CLIP = ("visual.", "model.visual.", "module.visual.", "")

# ComfyUI's scaled eight-bit weights: the scale of a weight; what marks them, or serves eight-bit arithmetic alone.
_SCALES = ("scale_weight", "weight_scale")
_MARKERS = frozenset({"scaled_fp8", "scale_input", "input_scale", "comfy_quant"})

_OPEN_CLIP = {
    "vision_model.embeddings.class_embedding": "class_embedding",
    PATCH: "conv1.weight",
    POSITION: "positional_embedding",
    "vision_model.pre_layrnorm": "ln_pre",
    "vision_model.post_layernorm": "ln_post",
    PROJECTION: "proj",
}
_OPEN_CLIP_LAYER = {
    **{"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj"},
    **{"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"},
}


@dataclass(frozen=True)
class StoredWeight:
    """Where a file stores a weight: as a whole tensor, transposed, or as a third (0, 1, 2) along the first axis.

    scale: the tensor to multiply an eight-bit weight with: one number, or one for each output channel.
    """

    key: str
    third: int | None = None
    transposed: bool = False
    scale: str | None = None

    def shape(self, shapes: Shapes) -> tuple[int, ...]:
        """Shape of the weight; () where the file lacks it."""
        shape = shapes.get(self.key, ())
        if self.third is not None and shape:
            return (shape[0] // 3, *shape[1:]) if shape[0] % 3 == 0 else ()
        return shape[::-1] if self.transposed else shape

    def load(self, file: TensorFile) -> torch.Tensor:
        """The weight on the CPU, contiguous. Raises Refused."""
        tensor = file.load(self.key)
        if self.scale is not None:
            tensor = tensor.float() * file.load(self.scale).float().reshape(-1, *[1] * (tensor.ndim - 1))
        if self.third is not None:
            tensor = tensor.chunk(3)[self.third].clone()
        return tensor.T.contiguous() if self.transposed else tensor


def stored_weights(shapes: Shapes) -> dict[str, StoredWeight]:
    """Hugging Face's name of each weight an encoder needs -> where this file stores it, or would store it.

    The name of the first convolution decides the naming; without one, Hugging Face's is assumed.
    """
    weights = _named_weights(shapes)
    return {name: replace(weight, scale=_scale_of(weight.key, shapes)) for name, weight in weights.items()}


def unapplied(shapes: Shapes, weights: Mapping[str, StoredWeight]) -> Iterator[str]:
    """The names in a file without the scales in `weights`, without those of other parts of the file, and markers."""
    ours = {weight.key for weight in weights.values()}
    applied = {weight.scale for weight in weights.values()}
    for name in shapes:
        layer, _, last = name.rpartition(".")
        of_others = last in _SCALES and f"{layer}.weight" not in ours
        if name not in applied and last not in _MARKERS and not of_others:
            yield name


def _scale_of(key: str, shapes: Shapes) -> str | None:
    """The name of a weight's scale in the forms AnyMS applies; None without one."""
    layer, _, last = key.rpartition(".")
    for name in (f"{layer}.{scale}" for scale in _SCALES if last == "weight"):
        if key in shapes and shapes.get(name) in ((), (1,), shapes[key][:1], (*shapes[key][:1], 1)):
            return name
    return None


def _named_weights(shapes: Shapes) -> dict[str, StoredWeight]:
    for prefix in _PREFIXES_HF:
        if prefix + PATCH in shapes:
            return _by_hugging_face(shapes, prefix)
    for prefix in _PREFIXES_OPEN_CLIP:
        if prefix + "conv1.weight" in shapes and prefix + "positional_embedding" in shapes:
            return _by_open_clip(shapes, prefix)
    return _by_hugging_face(shapes, "")


def _by_hugging_face(shapes: Shapes, prefix: str) -> dict[str, StoredWeight]:
    names = list(TOWER)
    for number in range(_depth(shapes, prefix + LAYER)):
        names += [f"{LAYER}{number}.{name}" for name in PER_LAYER]
    return {name: StoredWeight(prefix + name) for name in names}


def _by_open_clip(shapes: Shapes, prefix: str) -> dict[str, StoredWeight]:
    weights = {}
    for name in TOWER:
        weights[name] = StoredWeight(prefix + _renamed(name, _OPEN_CLIP), transposed=name == PROJECTION)
    blocks = f"{prefix}transformer.resblocks."
    for number in range(_depth(shapes, blocks)):
        for name in PER_LAYER:
            weights[f"{LAYER}{number}.{name}"] = _of_block(f"{blocks}{number}.", name)
    return weights


def _of_block(block: str, name: str) -> StoredWeight:
    """A weight of an open_clip block ("...resblocks.N."), by Hugging Face's name within the layer."""
    part, _, parameter = name.rpartition(".")
    letter = part[len("self_attn.") : -len("_proj")] if part.startswith("self_attn.") else ""
    if letter in ("q", "k", "v"):
        return StoredWeight(f"{block}attn.in_proj_{parameter}", third="qkv".index(letter))
    return StoredWeight(block + _renamed(name, _OPEN_CLIP_LAYER))


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Rename by the table: the whole name, or the part before its last dot."""
    part, _, parameter = name.rpartition(".")
    return table[name] if name in table else f"{table[part]}.{parameter}"


def _depth(shapes: Shapes, prefix: str) -> int:
    """The number of layers: the highest index plus one, so that the check notices a missing layer."""
    return max(_numbers(shapes, prefix), default=-1) + 1


def _numbers(shapes: Shapes, prefix: str) -> Iterator[int]:
    for key in shapes:
        number = key[len(prefix) :].partition(".")[0] if key.startswith(prefix) else ""
        if number.isascii() and number.isdigit() and len(number) <= 3:
            yield int(number)

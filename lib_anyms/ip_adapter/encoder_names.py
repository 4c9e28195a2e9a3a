"""The names CLIP's image encoder goes by: Hugging Face's, which the model is built with, and open_clip's.

open_clip keeps query, key and value of a layer in one tensor, and its projection turned over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from lib_anyms.tensor_files.tensor_file import TensorFile

Shapes = Mapping[str, tuple[int, ...]]

PATCH, POSITION = "vision_model.embeddings.patch_embedding.weight", "vision_model.embeddings.position_embedding.weight"
PROJECTION = "visual_projection.weight"
LAYER = "vision_model.encoder.layers."

# Hugging Face's names and axes: H hidden width, P projected width, F feed-forward's width, S patch's side, T patches +
# 1.
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
PER_LAYER = {
    f"{name}.{each}": axes if each == "weight" else axes[0]
    for name, axes in _PARTS.items()
    for each in ("weight", "bias")
}

# What stands before the names in files that were saved as a part of something.
_BEFORE_HF = ("", "model.", "module.", "image_encoder.")
_BEFORE_OPEN_CLIP = ("visual.", "model.visual.", "module.visual.", "")

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
class Stored:
    """Where a weight lies: a whole tensor of the file, or the `third` (0, 1, 2) of one along its first axis; or turned
    over.
    """

    key: str
    third: int | None = None
    turned: bool = False

    def shape(self, shapes: Shapes) -> tuple[int, ...]:
        """Of the weight; () where the file lacks it."""
        shape = shapes.get(self.key, ())
        if self.third is not None and shape:
            return (shape[0] // 3, *shape[1:]) if shape[0] % 3 == 0 else ()
        return shape[::-1] if self.turned else shape

    def load(self, file: TensorFile) -> torch.Tensor:
        """The weight, on the CPU, contiguous."""
        whole = file.load(self.key)
        if self.third is not None:
            whole = whole.chunk(3)[self.third].clone()
        return whole.T.contiguous() if self.turned else whole


def stored_names(shapes: Shapes) -> dict[str, Stored]:
    """Hugging Face's name of every weight an image encoder needs -> where this file keeps it, whether it is there or
    not.

    Told by the name of the first convolution; of a file that has none, as if it were Hugging Face's.
    """
    for before in _BEFORE_HF:
        if before + PATCH in shapes:
            return _by_hugging_face(shapes, before)
    for before in _BEFORE_OPEN_CLIP:
        if before + "conv1.weight" in shapes and before + "positional_embedding" in shapes:
            return _by_open_clip(shapes, before)
    return _by_hugging_face(shapes, "")


def _by_hugging_face(shapes: Shapes, before: str) -> dict[str, Stored]:
    layers = range(_depth(shapes, before + LAYER))
    names = [*TOWER, *(f"{LAYER}{number}.{name}" for number in layers for name in PER_LAYER)]
    return {name: Stored(before + name) for name in names}


def _by_open_clip(shapes: Shapes, before: str) -> dict[str, Stored]:
    blocks = f"{before}transformer.resblocks."
    found = {name: Stored(before + _renamed(name, _OPEN_CLIP), turned=name == PROJECTION) for name in TOWER}
    for number in range(_depth(shapes, blocks)):
        for name in PER_LAYER:
            found[f"{LAYER}{number}.{name}"] = _of_block(f"{blocks}{number}.", name)
    return found


def _of_block(block: str, name: str) -> Stored:
    part, _, each = name.rpartition(".")
    letter = part[len("self_attn.") : -len("_proj")] if part.startswith("self_attn.") else ""
    if letter in ("q", "k", "v"):
        return Stored(f"{block}attn.in_proj_{each}", third="qkv".index(letter))
    return Stored(block + _renamed(name, _OPEN_CLIP_LAYER))


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """The whole name, or what stands before its last dot, by the table."""
    part, _, each = name.rpartition(".")
    return table[name] if name in table else f"{table[part]}.{each}"


def _depth(shapes: Shapes, beginning: str) -> int:
    """How many layers: one more than the highest number, so that one left out is missed."""
    return max(_numbers(shapes, beginning), default=-1) + 1


def _numbers(shapes: Shapes, beginning: str) -> Iterator[int]:
    for key in shapes:
        number = key[len(beginning) :].partition(".")[0] if key.startswith(beginning) else ""
        if number.isascii() and number.isdigit() and len(number) <= 3:
            yield int(number)

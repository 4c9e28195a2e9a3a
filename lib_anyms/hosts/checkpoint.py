"""The checkpoint that the page has chosen, as far as its family goes, also while the host has not loaded it yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lib_anyms.errors import Refused
from lib_anyms.hosts.facts import loaded_unet
from lib_anyms.tensor_files.tensor_file import open_tensors

# A weight of the UNet in a checkpoint's file -> its module's name within the UNet.
_UNET = re.compile(r"(?:^|\.)(?P<name>(?:input_blocks|output_blocks|middle_block)\.[\w.]+)\.weight$")
_OF_ATTENTION = re.compile(r"\.attn2\.to_[qk]$")
_FIRST = "input_blocks.0.0"  # the convolution that tells the UNet's input


def chosen_unet(name: str) -> nn.Module | None:
    """The UNet of the checkpoint that the host lists as `name`: the loaded one, or else what its file's header tells of
    it.

    None where nothing is loaded and the header tells nothing.
    """
    from modules import sd_models

    found = sd_models.get_closet_checkpoint_match(name) if name else None
    model = getattr(sd_models.model_data, "sd_model", None)
    loaded = getattr(getattr(model, "sd_checkpoint_info", None), "filename", None)
    if found is None or found.filename == loaded:
        return loaded_unet()
    try:
        with open_tensors(Path(found.filename)) as file:
            return unet_outline(file.shapes)
    except Refused:  # a file only the host can read; the job will tell
        return None


def unet_outline(shapes: Mapping[str, tuple[int, ...]]) -> nn.Module | None:
    """Of a checkpoint's tensors: a UNet of its input and its cross-attention projections, without weights.

    None where they are not those of such a UNet, or are packed (quantised), so that their shapes tell nothing.
    """
    named = {match["name"]: shape for key, shape in shapes.items() if (match := _UNET.search(key))}
    outline = nn.Module()
    if len(named.get(_FIRST, ())) == 4:
        out, channels, *_ = named[_FIRST]
        _put(outline, _FIRST, nn.Conv2d(channels, out, 3, device="meta"))
    attended = {name: shape for name, shape in named.items() if _OF_ATTENTION.search(name)}
    for name, shape in attended.items():
        if len(shape) != 2 or attended.get(f"{name[:-1]}q") != (shape[0], shape[0]):
            return None
        _put(outline, name, nn.Linear(shape[1], shape[0], bias=False, device="meta"))
    return outline if attended else None


def _put(outline: nn.Module, name: str, module: nn.Module) -> None:
    *path, last = name.split(".")
    place: Any = outline
    for step in path:
        if step not in place._modules:
            place.add_module(step, nn.Module())
        place = place._modules[step]
    place.add_module(last, module)

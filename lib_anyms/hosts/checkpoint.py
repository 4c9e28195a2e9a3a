"""The UNet of the checkpoint chosen on the page, also while the host has not loaded it yet."""

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
_CROSS_ATTENTION = re.compile(r"\.attn2\.to_[qk]$")
_INPUT = "input_blocks.0.0"  # the convolution that gives the UNet's input channels


def chosen_unet(name: str) -> nn.Module | None:
    """The UNet of the checkpoint that the host lists as `name`: the loaded one, or an outline from its file's header.

    None where nothing is loaded and the header does not show a UNet.
    """
    from modules import sd_models

    chosen = sd_models.get_closet_checkpoint_match(name) if name else None
    model = getattr(sd_models.model_data, "sd_model", None)
    loaded = getattr(getattr(model, "sd_checkpoint_info", None), "filename", None)
    if chosen is None or chosen.filename == loaded:
        return loaded_unet()
    try:
        with open_tensors(Path(chosen.filename)) as file:
            return unet_outline(file.shapes)
    except Refused:  # only the host can read this file; the job checks the UNet again
        return None


def unet_outline(shapes: Mapping[str, tuple[int, ...]]) -> nn.Module | None:
    """A UNet without weights from a checkpoint's shapes: its input and its cross-attention projections.

    None where the tensors are not those of such a UNet, or are packed (quantised), so that their shapes say nothing.
    """
    named: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes.items():
        match = _UNET.search(key)
        if match:
            named[match["name"]] = shape
    outline = nn.Module()
    if len(named.get(_INPUT, ())) == 4:
        out, channels, *_ = named[_INPUT]
        _put(outline, _INPUT, nn.Conv2d(channels, out, 3, device="meta"))
    projections = {name: shape for name, shape in named.items() if _CROSS_ATTENTION.search(name)}
    for name, shape in projections.items():
        if len(shape) != 2 or projections.get(f"{name[:-1]}q") != (shape[0], shape[0]):
            return None
        _put(outline, name, nn.Linear(shape[1], shape[0], bias=False, device="meta"))
    return outline if projections else None


def _put(outline: nn.Module, name: str, module: nn.Module) -> None:
    """Add `module` under its dotted name, with the modules it is in."""
    *parents, last = name.split(".")
    parent: Any = outline
    for step in parents:
        if step not in parent._modules:
            parent.add_module(step, nn.Module())
        parent = parent._modules[step]
    parent.add_module(last, module)

"""What one job did, kept after it for the doctor's report: counts, sizes and times, no pictures and no prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from lib_anyms.engine.image_stream import ImageStream
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout
from lib_anyms.models.model_files import ModelPair

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_OURS = "lib_anyms"


@dataclass(frozen=True)
class PassResult:
    """One sampling: layers, whole UNet calls, its largest token grid, and of each subject there the share of its box
    that it owns and the share of the picture. `failure` is the cause of what the stream raised.
    """

    layers: int
    calls: int
    grid: TokenGrid | None
    owned: tuple[tuple[float, float], ...]
    failure: str
    neighbours: tuple[str, ...]


@dataclass(frozen=True)
class JobReport:
    """`outcome` is empty for a job that ran through, else the cause of its refusal or of stepping aside.

    `notes`: causes too.
    """

    host: str
    outcome: str
    settings: tuple[tuple[str, Any], ...]
    layout: Layout | None
    pair: ModelPair | None
    passes: tuple[PassResult, ...]
    steps: int
    seconds: float
    encoding_seconds: float
    bytes: int
    notes: tuple[str, ...] = ()


def report_pass(stream: ImageStream) -> PassResult:
    """`stream`'s pass as it was, its hooks still on or not."""
    grid = max(stream.grids, key=lambda grid: grid.tokens, default=None)
    return PassResult(
        stream.layers, stream.calls, grid, _owned(stream.layout, grid), stream.failure, neighbours(stream.unet)
    )


def _owned(layout: Layout, grid: TokenGrid | None) -> tuple[tuple[float, float], ...]:
    if grid is None:
        return ()
    visible = [len(tokens) / grid.tokens for tokens in layout.visible_tokens(grid)]
    return tuple(zip(layout.visible_shares(grid), visible))


def neighbours(unet: nn.Module) -> tuple[str, ...]:
    """Whose hooks and replaced forwards hang on the UNet, ours left out: "module of the code: how many of what"."""
    found = Counter(_foreign(unet))
    return tuple(f"{owner}: {count} {kind}" for (owner, kind), count in sorted(found.items()))


def _foreign(unet: nn.Module) -> Iterator[tuple[str, str]]:
    for module in unet.modules():
        hung = [(hook, "hooks") for kind in _HOOKS for hook in getattr(module, kind).values()]
        if "forward" in vars(module):
            hung.append((vars(module)["forward"], "replaced forwards"))
        for function, kind in hung:
            owner = str(getattr(function, "__module__", None) or type(function).__module__)
            if owner.partition(".")[0] != _OURS:
                yield owner, kind

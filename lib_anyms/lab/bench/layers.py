"""Single cross-attention layers: every form against the yardstick, and the cost of hooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from lib_anyms.lab.bench.forms import FORMS, Work, floor
from lib_anyms.lab.bench.streams import boxes_of
from lib_anyms.lab.bench.timing import Result, clock_of, compare, interleaved
from lib_anyms.layout.geometry import TokenGrid

FLOOR = "one attention of all owned tokens"


@dataclass(frozen=True)
class Size:
    """A layer's feature map and width."""

    name: str
    grid: TokenGrid
    width: int
    heads: int


# SDXL at 1024 x 1024: its two kinds of layers.
SDXL_LAYERS = (
    Size("layer 64x64x640", TokenGrid(64, 64), 640, 10),
    Size("layer 32x32x1280", TokenGrid(32, 32), 1280, 20),
)


def layer_results(
    sizes: tuple[Size, ...],
    subjects: tuple[int, ...],
    tokens: tuple[int, ...],
    rounds: int,
    like: torch.Tensor,
    batch: int = 2,
) -> Iterator[Result]:
    """Every form on layers of these sizes, against the yardstick. `like` gives device and dtype."""
    for size in sizes:
        for count in subjects:
            for token_count in tokens:
                yield from _layer(size, count, token_count, rounds, like, batch)


@torch.inference_mode()
def _layer(size: Size, count: int, tokens: int, rounds: int, like: torch.Tensor, batch: int) -> Iterator[Result]:
    visible = [list(box.on(size.grid).indices(size.grid)) for box in boxes_of(count)]  # no boxes overlap
    work = Work.random(visible, size.grid, size.width, size.heads, tokens, batch, like)
    variants = {FLOOR: partial(floor, work), **{name: partial(form, work) for name, form in FORMS.items()}}
    times = interleaved(variants, rounds, 1, like.device.type, clock=clock_of(like.device.type))
    for name in FORMS:
        yield compare(f"{size.name}, {name}", count, tokens, times, name, FLOOR)


@torch.inference_mode()
def hook_result(rounds: int) -> Result:
    """A module with the two hooks of a layer, empty, against the module alone. `ms`: of both hooks and the call."""
    hooked, bare, one = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1), torch.zeros(1, 1)
    hooked.register_forward_hook(lambda _module, _args, _output: None)
    hooked.register_forward_pre_hook(lambda _module, _args: None)
    times = interleaved({"hooked": lambda: hooked(one), "bare": lambda: bare(one)}, rounds, 200, clock=clock_of("cpu"))
    return compare("launches, two empty hooks", 0, 0, times, "hooked", "bare", against="the module alone")

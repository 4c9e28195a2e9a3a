"""The overhead of hooks and engine in a layer with almost no arithmetic: the host's work before a GPU can start."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.engine.sdpa import attend
from lib_anyms.lab.bench.forms import Work
from lib_anyms.lab.bench.streams import layout_of, stream_for
from lib_anyms.lab.bench.timing import Result, Times, clock_of, compare, interleaved, ratio
from lib_anyms.layout.geometry import TokenGrid

_TRANSFORMERS = (2, 2, 2, 2, 10, 10, 10, 10, 10, 10, 2)  # the layers in each of SDXL's: 70
_GRID, _WIDTH, _HEADS, _TOKENS = TokenGrid(4, 4), 16, 2, 4
BARE = "the layers alone"


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = _HEADS
        self.to_q = nn.Linear(_WIDTH, _WIDTH)
        self.to_out = nn.ModuleList([nn.Linear(_WIDTH, _WIDTH)])

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self.to_q(hidden)
        out: torch.Tensor = self.to_out[0](hidden)
        return out


class _Transformer(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([nn.ModuleDict({"attn2": _Attention()}) for _ in range(layers)])

    def forward(self, picture: torch.Tensor, hidden: torch.Tensor) -> None:
        for block in self.transformer_blocks:
            block["attn2"](hidden)  # type: ignore[index]


class _StandIn(nn.Module):
    """SDXL's cross-attention layers by name and number, and nothing between them."""

    def __init__(self) -> None:
        super().__init__()
        self.output_blocks = nn.ModuleList(map(_Transformer, _TRANSFORMERS))

    def forward(self, picture: torch.Tensor, hidden: torch.Tensor) -> None:
        for transformer in self.output_blocks:
            transformer(picture, hidden)


@torch.inference_mode()
def launch_results(subjects: tuple[int, ...], rounds: int, like: torch.Tensor) -> Iterator[Result]:
    """For each number of subjects the time a layer adds (`ms`), in both forms; and the attention alone of "at once".

    Both forms run on any device here. `like` gives device and dtype.
    """
    for count in subjects:
        variants: dict[str, Callable[[], object]] = {BARE: _caller(_StandIn().to(like), like)}
        for form in ("by subject", "at once"):
            network = _StandIn().to(like)
            stream = stream_for(network, layout_of(count), _TOKENS, like)
            stream.region_merge.use_fused = form == "at once"
            stream.inject()
            variants[form] = _caller(network, like)
        times = interleaved(variants, rounds, 1, like.device.type, clock=clock_of(like.device.type))
        for form in ("by subject", "at once"):
            yield _result_of(f"launches, a layer {form}", count, times, form)
        yield _attention_result(count, rounds, like)


def _caller(network: nn.Module, like: torch.Tensor) -> Callable[[], object]:
    picture = torch.zeros(2, 1, _GRID.height, _GRID.width).to(like)
    hidden = torch.zeros(2, _GRID.tokens, _WIDTH).to(like)
    return lambda: network(picture, hidden)


def _result_of(case: str, count: int, times: Times, name: str) -> Result:
    added = np.array(times[name]) - np.array(times[BARE])
    layers = len(cross_attention_layers(_StandIn()))
    ms = 1000 * float(np.median(added)) / layers
    return Result(case, count, _TOKENS, *ratio(times[name], times[BARE]), ms, against=BARE)


def _attention_result(count: int, rounds: int, like: torch.Tensor) -> Result:
    layout = layout_of(count)
    work = Work.random(layout.visible_tokens(_GRID), _GRID, _WIDTH, _HEADS, _TOKENS, 2, like)
    query = torch.zeros(2, _HEADS, len(work.token_idx), _WIDTH // _HEADS).to(like)
    alone = {"attention": lambda: attend(query, *work.all_sets, work.fused_crops.mask)}
    times = interleaved(alone, rounds, 70, like.device.type, clock=clock_of(like.device.type))
    return compare("launches, the attention alone", count, _TOKENS, times, "attention", "attention", against="itself")

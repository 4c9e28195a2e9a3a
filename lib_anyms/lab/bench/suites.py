"""The suites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lib_anyms.lab.bench.jobs import job_results
from lib_anyms.lab.bench.launches import launch_results
from lib_anyms.lab.bench.layers import SDXL_LAYERS, hook_result, layer_results
from lib_anyms.lab.bench.timing import Result
from lib_anyms.lab.bench.whole import UNetCase, sprites_case, unet_results
from lib_anyms.standalone.structure import SDXL, Structure

ALL = (1, 2, 4, 7, 8, 12)
BEYOND = (16, 24)  # more than a layout may have: single layers only
TOKENS = {"base": 4, "plus": 16}
PLUS = {"plus": 16}
ONE_PICTURE = 2  # batch entries: one unconditional, one conditional


@dataclass(frozen=True)
class Scope:
    """How much a suite measures. rounds: of layers, small and large UNets. beyond: more subjects, in single layers."""

    subjects: tuple[int, ...]
    rounds: tuple[int, int, int]
    beyond: tuple[int, ...] = ()
    large: bool = False  # also the full-size UNet: 5 GB in bfloat16 and minutes on a CPU


SCOPES = {
    "quick": Scope((1, 4, 7, 12), (9, 9, 0)),
    "full": Scope(ALL, (25, 25, 15), BEYOND, large=True),
}
GPU = "gpu"


def results_of(suite: str, structure: Structure = SDXL, traces: Path | None = None) -> Iterator[Result]:
    """Run a suite. structure: of the large UNet, smaller in tests. traces: the folder for a GPU's profiles."""
    if suite == GPU:
        yield from gpu_results("cuda", structure, traces=traces)
        return
    scope = SCOPES[suite]
    layers, small, large = scope.rounds
    like = torch.zeros(())
    yield hook_result(layers)
    yield from launch_results(scope.subjects, layers, like)
    yield from layer_results(SDXL_LAYERS, (*scope.subjects, *scope.beyond), tuple(TOKENS.values()), layers, like)
    yield from unet_results(sprites_case(), (0, *scope.subjects), TOKENS, small)
    if scope.large:
        case = UNetCase("SDXL UNet, 512 px", structure, 64, 2, torch.zeros((), dtype=torch.bfloat16))
        yield from unet_results(case, (0, 7, 12), PLUS, large, peers=False)


def gpu_results(
    device: str,
    structure: Structure = SDXL,
    side: int = 128,
    rounds: int = 15,
    steps: int = 30,
    traces: Path | None = None,
) -> Iterator[Result]:
    """Full size at 1024 px in both half precisions, with 2 and 6 batch entries; layers and launches on the same device.

    For one image also the profiler's sum and whole jobs of `steps`.
    """
    yield hook_result(rounds)
    yield from launch_results((1, 7, 12), rounds, torch.zeros((), device=device))
    for dtype in (torch.float16, torch.bfloat16):
        like = torch.zeros((), dtype=dtype, device=device)
        name = str(dtype).removeprefix("torch.")
        yield from layer_results(SDXL_LAYERS, (1, 7, 12, *BEYOND), tuple(TOKENS.values()), rounds, like)
        for batch in (ONE_PICTURE, 6):
            case = UNetCase(f"SDXL UNet, {8 * side} px, {name}, {batch} rows", structure, side, batch, like)
            yield from unet_results(case, (0, *ALL), PLUS, rounds)
            if batch == ONE_PICTURE:
                yield from job_results(case, (7, 12), steps, traces)

"""Interleaved timing: all variants run in a new order each round, and only ratios within a round count.

A machine that slows down slows a whole round alike, so ratios are stable where seconds are not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

_RESAMPLES = 1000
_EDGES = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Result:
    """`ratio` of the case's time to that of `against`: median and 95 % interval. `ms`: the case's median time.

    `mib`: the memory it keeps or, on a GPU, its peak beyond the plain call (for a whole job: its peak).
    """

    case: str
    subjects: int
    tokens: int
    ratio: float
    low: float
    high: float
    ms: float
    mib: float = 0.0
    against: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


Times = dict[str, list[float]]


Clock = Callable[[], float]


def clock_of(device: str) -> Clock:
    """Processor seconds of a single computing thread: other processes hardly change them. Else wall-clock seconds."""
    return time.thread_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def interleaved(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    repeats: int = 1,
    device: str = "cpu",
    uncounted: int = 2,
    clock: Clock = time.perf_counter,
) -> Times:
    """Seconds of each variant in each round: the mean of `repeats` calls. `uncounted` warm-up rounds come first."""
    times: Times = {name: [] for name in variants}
    order, shuffle = list(variants), random.Random(0)
    for number in range(-uncounted, rounds):
        shuffle.shuffle(order)
        for name in order:
            call = variants[name]
            _wait(device)
            start = clock()
            for _ in range(repeats):
                call()
            _wait(device)
            if number >= 0:
                times[name].append((clock() - start) / repeats)
    return times


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def ratio(mine: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median of the ratios round by round, and its 95 % interval (bootstrap)."""
    ratios = np.array(mine) / np.array(theirs)
    drawn = np.random.default_rng(0).choice(ratios, (_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), _EDGES)
    return float(np.median(ratios)), float(low), float(high)


def compare(
    case: str, subjects: int, tokens: int, times: Times, mine: str, theirs: str, mib: float = 0.0, against: str = ""
) -> Result:
    """Variant `mine` of `times` compared with `theirs`."""
    middle, low, high = ratio(times[mine], times[theirs])
    return Result(
        case, subjects, tokens, middle, low, high, 1000 * float(np.median(times[mine])), mib, against or theirs
    )

"""Interleaved timing: all variants take turns in a new order each round, and only ratios within a round count.

A machine that slows down slows all of a round alike, so ratios hold where seconds do not.
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
class Row:
    """`ratio` of the case's time to what it is compared with (median, 95 % interval), `ms` its own median, `mib` what
    it keeps or, on a GPU, its peak beyond the plain call (of a whole job: its peak). `against`: what it is compared
    with.
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
    """The thread's own seconds where it is the only one that computes: what else the machine does hardly moves them."""
    return time.thread_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def interleaved(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    repeats: int = 1,
    device: str = "cpu",
    uncounted: int = 2,
    clock: Clock = time.perf_counter,
) -> Times:
    """Seconds of each variant in each round, the mean of `repeats` calls in a row; `uncounted` rounds go before."""
    times: Times = {name: [] for name in variants}
    order, shuffle = list(variants), random.Random(0)
    for number in range(-uncounted, rounds):
        shuffle.shuffle(order)
        for name in order:
            call = variants[name]
            _wait(device)
            began = clock()
            for _ in range(repeats):
                call()
            _wait(device)
            if number >= 0:
                times[name].append((clock() - began) / repeats)
    return times


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def ratio(mine: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median of the ratios round by round, and the interval it lies in."""
    told = np.array(mine) / np.array(theirs)
    drawn = np.random.default_rng(0).choice(told, (_RESAMPLES, len(told)))
    low, high = np.percentile(np.median(drawn, axis=1), _EDGES)
    return float(np.median(told)), float(low), float(high)


def row(
    case: str, subjects: int, tokens: int, times: Times, mine: str, theirs: str, mib: float = 0.0, against: str = ""
) -> Row:
    """Variant `mine` of `times` held against `theirs`."""
    middle, low, high = ratio(times[mine], times[theirs])
    return Row(case, subjects, tokens, middle, low, high, 1000 * float(np.median(times[mine])), mib, against or theirs)

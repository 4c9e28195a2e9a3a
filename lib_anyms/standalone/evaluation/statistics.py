"""Means with 95 % intervals by the bootstrap over scenes; differences are paired, scene by scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

RESAMPLES = 2000
_EDGES = (2.5, 97.5)  # percent

Values = Mapping[int, float]  # scene number -> value


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` scenes and the interval it lies in."""

    value: float
    low: float
    high: float
    n: int


def estimate(values: Values, seed: int = 0) -> Estimate | None:
    """The mean over scenes; None of none."""
    if not values:
        return None
    told = np.array([values[scene] for scene in sorted(values)], dtype=np.float64)
    low, high = np.percentile(_weights(len(told), seed) @ told, _EDGES)
    return Estimate(float(told.mean()), float(low), float(high), len(told))


@lru_cache(maxsize=16)
def _weights(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(RESAMPLES, count): how much of each resample a scene makes up."""
    drawn = np.random.default_rng(seed).multinomial(count, [1 / count] * count, RESAMPLES)
    return drawn / count


def difference(mine: Values, theirs: Values) -> dict[int, float]:
    """Mine less theirs in the scenes both have."""
    return {scene: mine[scene] - theirs[scene] for scene in mine.keys() & theirs.keys()}


def mean(values: Values) -> float:
    """Of at least one scene."""
    return sum(values.values()) / len(values)

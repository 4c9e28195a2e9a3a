"""The noise levels of a WebUI's sampling pass: where a step stands among them, however often a sampler calls the UNet.

Counting calls does not do: HeunPP2 makes 57 calls in 20 steps, which the hosts count as 20, and DPM adaptive makes as
many as it needs. The hosts keep the levels to themselves, so the sampler computes them once more.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import logging
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("anyms")
CLOSE = 1e-3  # as a share of a level: rounding in half precision
LAST = 1 - 1e-6  # progress stays below 1


@dataclass(frozen=True)
class Schedule:
    """levels: of the steps, falling, above 0. Sigmas, or time steps where the sampler names those."""

    levels: tuple[float, ...]

    def progress(self, level: float) -> float:
        """The share of the steps that are done at `level`, 0..1; in proportion to its logarithm between two levels."""
        count = len(self.levels)
        below = bisect_left(self.levels, -level * (1 + CLOSE), key=lambda other: -other)  # the first not above it
        if below == count:
            done = count - level / self.levels[-1]
        elif below == 0 or self.levels[below] > level * (1 - CLOSE):
            done = float(below)
        else:
            high, low = self.levels[below - 1], self.levels[below]
            done = below - 1 + math.log(high / level) / math.log(high / low)
        return min(done / count, LAST)


def schedule_of(p: Any, denoiser: Any, first: float) -> Schedule | None:
    """The schedule of the pass in which `denoiser` begins at the level `first`; None where it cannot be computed."""
    for levels in _schedules(p, denoiser):
        falling = len(levels) > 0 and levels[-1] > 0 and all(high > low for high, low in itertools.pairwise(levels))
        if falling and abs(levels[0] / first - 1) < CLOSE:
            return Schedule(levels)
    return None


def _schedules(p: Any, denoiser: Any) -> Iterator[tuple[float, ...]]:
    """Levels for each way in which a pass may begin: from noise, from a picture, from a hires fix's first picture."""
    sampler = denoiser.sampler
    parameters = inspect.signature(sampler.func).parameters
    read = next((read for name, read in _READERS.items() if name in parameters), None)
    quiet = copy.copy(p)  # the sampler writes into the infotext
    quiet.extra_generation_params = dict(p.extra_generation_params)
    totals = [denoiser.steps, *_img2img_steps(quiet)] if read is not None else []
    for total in dict.fromkeys(totals):
        try:
            yield read(sampler, quiet, denoiser, total)  # type: ignore[misc]  # there are no totals without it
        except Exception:  # of another host's or extension's sampler: its calls are counted instead
            log.debug("the schedule of %s is unknown", type(sampler).__name__, exc_info=True)


def _img2img_steps(p: Any) -> Iterator[int]:
    """The steps of the whole schedule, of which a pass that begins with a picture makes the last ones."""
    from modules import sd_samplers_common

    for steps in (None, getattr(p, "hr_second_pass_steps", 0) or p.steps):
        if getattr(p, "denoising_strength", None):
            yield int(sd_samplers_common.setup_img2img_steps(p, steps)[0])


def _sigmas(sampler: Any, p: Any, denoiser: Any, total: int) -> list[float]:
    return [float(sigma) for sigma in sampler.get_sigmas(p, total)][total - denoiser.steps :]


def _levels(sampler: Any, p: Any, denoiser: Any, total: int) -> tuple[float, ...]:
    """Of samplers that get the sigmas. The last sigma is 0."""
    return tuple(_sigmas(sampler, p, denoiser, total)[:-1])


def _even_levels(sampler: Any, p: Any, denoiser: Any, total: int) -> tuple[float, ...]:
    """Of samplers that get the range only (DPM fast, DPM adaptive): even in the sigma's logarithm."""
    *sigmas, _ = _sigmas(sampler, p, denoiser, total)
    count, ratio = len(sigmas), sigmas[-1] / sigmas[0]
    return tuple(sigmas[0] * ratio ** (step / count) for step in range(count))


def _timesteps(sampler: Any, p: Any, denoiser: Any, total: int) -> tuple[float, ...]:
    """Of DDIM and its like. Forge turns the time steps into sigmas."""
    timesteps = [int(timestep) for timestep in sampler.get_timesteps(p, total)]
    if total != denoiser.steps:
        timesteps = timesteps[: denoiser.steps - 1]
    if not getattr(denoiser, "classic_ddim_eps_estimation", False):
        return tuple(map(float, reversed(timesteps)))
    alphas = denoiser.inner_model.inner_model.alphas_cumprod
    return tuple(float(((1 - alphas[timestep]) / alphas[timestep]) ** 0.5) for timestep in reversed(timesteps))


# A parameter of a sampler's function -> the reader of its levels, in this order.
_Reader = Callable[[Any, Any, Any, int], "tuple[float, ...]"]
_READERS: dict[str, _Reader] = {
    "sigmas": _levels,
    "sigma_sched": _levels,
    "sigma_max": _even_levels,
    "timesteps": _timesteps,
}

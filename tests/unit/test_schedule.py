"""Progress by noise level: the right share of the steps for every kind of sampler, and none where it is unknown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lib_anyms.hosts.schedule import LAST, Schedule, schedule_of
from lib_anyms.hosts.webui import WebUI
from tests.support.fake_webui import fake_webui

SIGMAS = [16.0, 8.0, 4.0, 2.0, 0.0]  # of four steps


@pytest.fixture(autouse=True)
def _webui(tmp_path: Path) -> Iterator[None]:
    with fake_webui(tmp_path):
        yield


# -- where a level stands ----------------------------------------------------------------------------------------------

PLACES = {
    16.0: 0.0,
    20.0: 0.0,  # noise added on top, as "churn" does
    8.0: 0.25,
    8.0 * (1 + 1e-6): 0.25,  # rounded in single precision
    8.0 * (1 - 1e-6): 0.25,
    math.sqrt(8.0 * 4.0): 0.375,  # DPM++ SDE and DPM2 look half-way
    2.0: 0.75,
    1.0: 0.875,
    0.0: LAST,
}


@pytest.mark.parametrize("level", PLACES)
def test_the_share_of_the_steps_at_a_level(level: float) -> None:
    assert Schedule(tuple(SIGMAS[:-1])).progress(level) == pytest.approx(PLACES[level], abs=1e-9)


def test_a_step_has_its_own_share_in_half_precision_too() -> None:
    """A subject that starts there acts in that step, whatever the rounding."""
    for count in (3, 20, 30, 150):
        sigmas = torch.linspace(14.6, 0.03, count)
        schedule = Schedule(tuple(map(float, sigmas)))
        for step, sigma in enumerate(sigmas.half()):
            assert schedule.progress(float(sigma)) == step / count


# -- the levels of a sampler -------------------------------------------------------------------------------------------


def k_diffusion(model: Any, x: Any, sigmas: Any) -> None: ...
def by_range(model: Any, x: Any, sigma_min: Any, sigma_max: Any, n: Any = 0) -> None: ...
def by_timesteps(model: Any, x: Any, timesteps: Any) -> None: ...
def by_nothing(model: Any, x: Any) -> None: ...


class Sampler:
    """A host's: it writes into the infotext while it computes a schedule."""

    def __init__(self, func: Any) -> None:
        self.func = func

    def get_sigmas(self, p: Any, steps: int) -> torch.Tensor:
        p.extra_generation_params["Schedule type"] = "Karras"
        return torch.tensor([2.0 ** (4 * step / steps) for step in range(steps, 0, -1)] + [0.0])

    def get_timesteps(self, p: Any, steps: int) -> torch.Tensor:
        return torch.arange(0, 1000, 1000 // steps) + 1


def job(func: Any, steps: int, **values: Any) -> tuple[Any, Any]:
    """(p, denoiser) of a pass of `steps` steps."""
    p = SimpleNamespace(steps=4, extra_generation_params={}, **values)
    return p, SimpleNamespace(sampler=Sampler(func), steps=steps)


def levels(func: Any, steps: int, first: float, **values: Any) -> tuple[float, ...] | None:
    p, denoiser = job(func, steps, **values)
    schedule = schedule_of(p, denoiser, first)
    assert p.extra_generation_params == {}
    return schedule.levels if schedule is not None else None


def test_samplers_that_get_the_sigmas() -> None:
    assert levels(k_diffusion, 4, 16.0) == (16.0, 8.0, 4.0, 2.0)


def test_a_pass_that_begins_with_a_picture_makes_the_last_steps() -> None:
    assert levels(k_diffusion, 3, 8.0, denoising_strength=0.5) == (8.0, 4.0, 2.0)  # img2img: 2 + 1 of 4


def test_a_second_pass_makes_all_its_steps() -> None:
    """Six steps at strength 0.5: the last six of twelve."""
    computed = levels(k_diffusion, 6, 4.0, denoising_strength=0.5, hr_second_pass_steps=6)
    assert computed == pytest.approx([2 ** (step / 3) for step in (6, 5, 4, 3, 2, 1)])


def test_samplers_that_get_the_range_only() -> None:
    """DPM fast and DPM adaptive go evenly in the logarithm, from the first to the last level above 0."""
    computed = levels(by_range, 3, 16.0)
    assert computed == pytest.approx([2 ** (4 - step * 8 / 9) for step in range(3)])


def test_samplers_that_get_time_steps() -> None:
    assert levels(by_timesteps, 4, 751.0) == (751.0, 501.0, 251.0, 1.0)
    assert levels(by_timesteps, 3, 251.0, denoising_strength=0.5) == (251.0, 1.0)  # img2img: two of four


def test_time_steps_that_the_host_turns_into_sigmas() -> None:
    p, denoiser = job(by_timesteps, 4)
    alphas = torch.linspace(0.99, 0.01, 1000)
    denoiser.classic_ddim_eps_estimation = True
    denoiser.inner_model = SimpleNamespace(inner_model=SimpleNamespace(alphas_cumprod=alphas))
    sigmas = ((1 - alphas) / alphas).sqrt()
    schedule = schedule_of(p, denoiser, float(sigmas[751]))
    assert schedule is not None
    assert schedule.levels == pytest.approx([float(sigmas[step]) for step in (751, 501, 251, 1)])


@pytest.mark.parametrize(
    ("func", "first"),
    [(k_diffusion, 15.0), (by_timesteps, 999.0), (by_nothing, 16.0)],
    ids=["another first level", "UniPC's own time steps", "a sampler that gets neither"],
)
def test_an_unknown_schedule(func: Any, first: float) -> None:
    assert levels(func, 4, first) is None


def test_a_sampler_that_fails_has_no_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sampler, "get_sigmas", lambda *_: 1 / 0)
    assert levels(k_diffusion, 4, 16.0) is None


# -- a host's progress -------------------------------------------------------------------------------------------------


class Sigma:
    """Counts how often the device is waited for."""

    def __init__(self, value: float) -> None:
        self.value, self.reads = value, 0

    def max(self) -> float:
        self.reads += 1
        return self.value


def walked(host: WebUI, p: Any, denoiser: Any, sigmas: list[float]) -> list[float]:
    """The progress in each call of one pass."""
    seen = []
    for number, value in enumerate(sigmas):
        denoiser.step, denoiser.total_steps, sigma = number, 4, Sigma(value)
        host.begin_step(SimpleNamespace(denoiser=denoiser, sigma=sigma, total_sampling_steps=4))
        seen.append(host.progress())
        assert host.progress() == seen[-1]
        assert sigma.reads <= (2 if number == 0 else 1)
    return seen


HEUNPP2 = [16.0, 8.0, 4.0, 8.0, 4.0, 2.0, 4.0, 2.0, 2.0]


def test_more_calls_than_steps_keep_their_place() -> None:
    """HeunPP2 looks one and two steps ahead. The host counts four calls, so the count is at its end after four."""
    p, denoiser = job(k_diffusion, 4)
    assert walked(WebUI(p), p, denoiser, HEUNPP2) == [0.0, 0.25, 0.5, 0.25, 0.5, 0.75, 0.5, 0.75, 0.75]


def test_each_pass_has_a_schedule() -> None:
    p, denoiser = job(k_diffusion, 4, denoising_strength=0.5)
    host = WebUI(p)
    assert walked(host, p, denoiser, [16.0, 8.0]) == [0.0, 0.25]
    denoiser.steps = 3
    assert walked(host, p, denoiser, [8.0, 4.0, 2.0]) == pytest.approx([0.0, 1 / 3, 2 / 3], abs=1e-3)


def test_calls_are_counted_where_the_schedule_is_unknown() -> None:
    p, denoiser = job(by_nothing, 4)
    assert walked(WebUI(p), p, denoiser, [16.0, 3.0, 1.0, 0.1, 0.1]) == [0.0, 0.25, 0.5, 0.75, LAST]


def test_a_host_without_sigmas_counts_calls() -> None:
    host = WebUI(SimpleNamespace(sd_model=None))
    host.begin_step(SimpleNamespace(denoiser=SimpleNamespace(step=3, total_steps=4), total_sampling_steps=4))
    assert host.progress() == 0.75

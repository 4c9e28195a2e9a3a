"""Start and end of a subject: by the noise level, in samplers that make any number of calls; and windows of no step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch

from tests.contract.cases import CLOSE, WEBUIS, Judge, on, one, two
from tests.contract.hosts import StandIn
from tests.contract.jobs import SAMPLERS, Denoise, _moved, schedule, timestep_of

STEPS = 8


def heunpp2(denoise: Denoise, x: torch.Tensor, sigmas: list[float]) -> Iterator[torch.Tensor]:
    """Three calls a step, at this level and the two that follow. The host counts one."""
    for sigma, *ahead in zip(sigmas, sigmas[1:], [*sigmas[2:], 0.0]):
        slope = denoise(x, sigma)
        slopes = [slope]
        for level in itertools.takewhile(bool, ahead):
            slopes.append(denoise(_moved(x, slopes[-1], sigma, level), level))
        x = _moved(x, sum(slopes) / len(slopes), sigma, ahead[0])
        yield x


@on(*WEBUIS)
@pytest.mark.parametrize("window", [{"end": 0.5}, {"start": 0.5}, {"start": 0.25, "end": 0.75}], ids=str)
def test_more_calls_than_the_host_counts(
    host: StandIn, judge: Judge, monkeypatch: pytest.MonkeyPatch, window: dict[str, float]
) -> None:
    monkeypatch.setitem(SAMPLERS, "HeunPP2", heunpp2)
    request = one(**window)
    painted = host.paint(request, steps=STEPS, sampler="HeunPP2")
    assert len(painted.calls) == 3 * STEPS - 3
    levels = [timestep_of(sigma) for sigma in schedule(STEPS)[:-1]]
    first, last = (round(window.get(name, default) * STEPS) for name, default in (("start", 0), ("end", 1)))
    inside = [float(call.inputs["timesteps"][0]) in levels[first:last] for call in painted.calls]
    assert {True, False} == set(inside)
    assert judge.acting(host, painted) == inside
    assert max(judge.differences(host, painted, request)) <= CLOSE


@on(*WEBUIS)
def test_a_window_that_no_step_falls_into_is_noted(host: StandIn, judge: Judge) -> None:
    """Lightning: the four steps begin at 0, 0.25, 0.5 and 0.75."""
    painted = host.paint(one(start=0.8), steps=4)
    assert not any(judge.acting(host, painted))
    note = "AnyMS: subject 'red' acts from 0.8 to 1 of the steps, and none of the 4 UNet calls was between them"
    assert painted.comments[0].startswith(note)
    assert painted.entries.keys() == {"AnyMS", "AnyMS note"}
    assert painted.entries["AnyMS note"] == painted.comments[0]


@on(*WEBUIS)
def test_only_the_subject_that_did_not_act_is_noted(host: StandIn) -> None:
    request = two()
    request["subjects"][0].update(start=0.0, end=0.2)
    request["subjects"][1].update(start=0.3, end=0.45)
    painted = host.paint(request, steps=4)
    assert [comment.partition(" acts")[0] for comment in painted.comments] == ["AnyMS: subject 'blue'"]


@on(*WEBUIS)
def test_the_next_job_has_no_note(host: StandIn) -> None:
    host.paint(one(start=0.8), steps=4)
    painted = host.paint(one(start=0.75), steps=4)
    assert (painted.comments, painted.entries.keys()) == ([], {"AnyMS"})

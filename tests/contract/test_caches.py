"""AnyMS beside caches and forecasts: the calls that run are the oracle's, and the report counts the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lib_anyms.engine.skipped import Skipped
from lib_anyms.errors import Refused
from lib_anyms.job.live_sessions import last_report
from tests.contract import caches
from tests.contract.cases import CLOSE, FAR, WEBUIS, Judge, on, two
from tests.contract.hosts import StandIn
from tests.contract.jobs import Job, Painted
from tests.contract.ldm_unet import LdmUNet

STEPS = 6


def right_calls(host: StandIn, judge: Judge, painted: Painted, ran: list[bool]) -> None:
    """The calls that ran are the oracle's, and the job is not ended."""
    differences = judge.differences(host, painted, two())
    assert len(differences) == len(ran)
    assert max(difference for difference, did_run in zip(differences, ran) if did_run) <= CLOSE
    assert painted.entries.keys() - {"AnyMS note"} == {"AnyMS"}
    assert host.hooks() == 0


def skipped() -> Skipped:
    report = last_report()
    assert report is not None
    assert report.outcome == ""
    return report.passes[-1].skipped


@on(*WEBUIS)
@pytest.mark.parametrize("sampler", ["Euler", "Heun"])
def test_steps_that_a_forecast_answers(host: StandIn, judge: Judge, sampler: str) -> None:
    with caches.forecast(host) as called:
        painted = host.paint(two(), steps=STEPS, sampler=sampler)
    right_calls(host, judge, painted, called)
    assert skipped().steps == called.count(False) > 0
    assert painted.comments == []


@on(*WEBUIS)
def test_a_forecast_in_both_passes_of_a_hires_fix(host: StandIn, judge: Judge) -> None:
    with caches.forecast(host) as called:
        painted = host.paint(two(), steps=5, hires=(12, 18))
    right_calls(host, judge, painted, called)
    assert called == [True, False, True, False, True, True, False, True, False]
    assert skipped().steps == 4


@on(*WEBUIS)
def test_calls_that_a_cache_in_the_unet_s_class_answers(
    host: StandIn, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LdmUNet, "forward", caches.cached_output(2))
    painted = host.paint(two(), steps=STEPS)
    monkeypatch.undo()
    right_calls(host, judge, painted, [True, False] * 3)
    assert skipped() == Skipped(silent=3, by=(caches.__name__,))
    assert painted.comments == []


@on(*WEBUIS)
def test_a_replayed_graph_keeps_the_subjects_and_is_noted(host: StandIn, judge: Judge) -> None:
    with caches.replayed(host.unet):
        painted = host.paint(two(), steps=4)
    right_calls(host, judge, painted, [True, False, False, False])
    assert skipped().silent == 3
    assert "answered 3 times in place of the UNet, and AnyMS acted in 1 calls" in painted.comments[0]


@on(*WEBUIS)
def test_calls_that_run_some_layers_only(host: StandIn, judge: Judge) -> None:
    """DeepCache: every output is the oracle's with the same cache, so the layers that run act in each call."""
    cache = caches.DeepCache()
    cache.install(host.unet)
    try:
        painted = host.paint(two(), steps=STEPS)
    finally:
        del host.unet.forward
    assert skipped() == Skipped(partial=3, by=(caches.__name__,))
    beside: dict[str, Any] = {"prepare": lambda unet: caches.DeepCache().install(unet)}
    assert max(judge.differences(host, painted, two(), **beside)) <= CLOSE
    assert min(judge.differences(host, painted, **beside)) > FAR
    assert painted.entries.keys() == {"AnyMS"}


@on(*WEBUIS)
@pytest.mark.parametrize("why", ["a bad request", "a silent first call"])
def test_a_refused_job_lets_a_cache_take_its_patch_back(
    host: StandIn, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """The host calls no post_sample after an exception of the UNet."""
    whole = LdmUNet.forward
    monkeypatch.setattr(LdmUNet, "forward", caches.cached_output(2))
    p = Job(steps=STEPS)
    p.scripts = SimpleNamespace(post_sample=lambda _p, _arguments: setattr(LdmUNet, "forward", whole))
    request = two()
    if why == "a bad request":
        request = two(colour="red")
    else:
        monkeypatch.setattr(LdmUNet, "forward", lambda _unet, x, **_inputs: x)
    with pytest.raises(Refused):
        host.process(p, request)
    assert LdmUNet.forward is whole
    assert host.hooks() == 0
    assert torch.equal(host.paint().latents[0], host.baseline.latents[0])

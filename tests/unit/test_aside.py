"""A step in which no layer fired: step aside for a known cause, refuse an unknown one, and always say why."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from lib_anyms.engine.image_stream import compiled
from lib_anyms.errors import Refused
from lib_anyms.hosts.webui import WebUI
from lib_anyms.job.request import Request
from lib_anyms.job.session import close_session, live
from lib_anyms.webui import lifecycle
from tests.support.fake_host import FakeHost, sample
from tests.support.streams import hook_count
from tests.support.tiny_unet import tiny_unet


class Job(SimpleNamespace):
    """A host's `p`, with AnyMS on."""

    def __init__(self, host: FakeHost) -> None:
        super().__init__(extra_generation_params={}, comments=[], host=host)

    def comment(self, text: str) -> None:
        self.comments.append(text)

    def begin(self, **settings: Any) -> None:
        lifecycle.job_begins(self)
        lifecycle.pass_begins(self, lambda: job_request(**settings))

    def step(self, progress: float = 0.0) -> None:
        lifecycle.step_begins(SimpleNamespace(denoiser=SimpleNamespace(p=self), progress=progress))

    def shown_reason(self, acted: bool = False) -> str:
        """The one sentence on the page, which is also in the infotext; beside the request if AnyMS acted before."""
        assert len(self.comments) == 1
        assert self.extra_generation_params["AnyMS skipped"] == self.comments[0]
        assert self.extra_generation_params.keys() == {"AnyMS skipped"} | ({"AnyMS"} if acted else set())
        assert hook_count(self.host.current) == 0
        return self.comments[0]


def job_request(**settings: Any) -> Request:
    cat = {"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}
    return Request.from_json({"subjects": [cat], **settings})


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    host = FakeHost(tiny_unet(), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda _p: host)
    yield Job(host)
    close_session()


def bypass_layers(monkeypatch: pytest.MonkeyPatch, unet: Any) -> None:
    """The UNet is called but none of its layers, as with a TensorRT engine behind its forward."""
    monkeypatch.setattr(unet, "forward", lambda x, *_args, **_more: x)


# -- known causes ------------------------------------------------------------------------------------------------------


def compile_whole(unet: nn.Module) -> None:
    unet.compile(backend="eager")


def compile_block(unet: Any) -> None:
    block = unet.middle_block[1].transformer_blocks[0]
    unet.middle_block[1].transformer_blocks[0] = torch.compile(block, backend="eager")


def compile_forward(unet: nn.Module) -> None:
    unet.forward = torch.compile(unet.forward, backend="eager")  # type: ignore[method-assign]


@pytest.mark.parametrize("how", [compile_whole, compile_block, compile_forward])
def test_a_compiled_unet_is_known_and_a_plain_one_is_not(job: Job, how: Any) -> None:
    """Checked before anything is attached: a hook present while torch compiles may stay in the graph for good."""
    assert compiled(job.host.current) is None
    how(job.host.current)
    assert compiled(job.host.current) == "torch.compile"
    job.begin()
    assert job.shown_reason().startswith("AnyMS: torch.compile runs in place of the UNet")


def test_an_optimized_module_in_the_unet_s_place_is_known(job: Job) -> None:
    job.host.current = torch.compile(job.host.current, backend="eager")
    job.begin()
    assert "torch.compile runs in place of the UNet" in job.shown_reason()


CAUSES = {
    "an engine": ({"bypass": "TensorRT"}, "AnyMS: TensorRT runs in place of the UNet"),
    "an unknown engine": ({"bypass": "SomeUnet"}, "AnyMS: SomeUnet runs in place of the UNet"),
}


@pytest.mark.parametrize("when", ["before", "after", "within"])
@pytest.mark.parametrize("cause", CAUSES)
def test_a_known_cause_makes_the_job_step_aside(
    job: Job, monkeypatch: pytest.MonkeyPatch, cause: str, when: str
) -> None:
    """Scripts run in any order: Forge's MultiDiffusion may come after us, an engine may start at any step."""
    facts, sentence = CAUSES[cause]
    if when == "before":
        vars(job.host).update(facts)
    job.begin()
    before = sample(job.host.current)
    if when == "after":
        vars(job.host).update(facts)
    job.step()
    if when == "within":
        vars(job.host).update(facts)
        bypass_layers(monkeypatch, job.host.current)
        sample(job.host.current)  # raises nothing
        job.step(0.5)
    else:
        assert torch.equal(sample(job.host.current), before)
    lifecycle.pass_ends(job)
    assert job.shown_reason().startswith(sentence)


def test_a_known_cause_in_the_last_step_is_reported_too(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.begin()
    job.step()
    job.host.bypass = "TensorRT"
    bypass_layers(monkeypatch, job.host.current)
    sample(job.host.current)
    assert hook_count(job.host.current) == 0
    lifecycle.pass_ends(job)
    assert "TensorRT" in job.shown_reason()


# -- unknown ones ------------------------------------------------------------------------------------------------------


def test_layers_that_do_not_fire_for_no_known_reason_are_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.begin()
    job.step()
    bypass_layers(monkeypatch, job.host.current)
    with pytest.raises(Refused, match="0 of 17 cross-attention layers"):
        sample(job.host.current)
    assert hook_count(job.host.current) == 0


def test_some_layers_that_do_not_fire_are_refused_even_with_a_known_cause(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.begin()
    job.step()
    job.host.bypass = "an engine"
    middle = job.host.current.middle_block[1]
    monkeypatch.setattr(middle, "forward", lambda x, _context: x)
    with pytest.raises(Refused, match="15 of 17 cross-attention layers"):
        sample(job.host.current)


@pytest.mark.parametrize("at", ["next step", "end"])
def test_a_unet_that_never_ran_is_reported(job: Job, at: str) -> None:
    job.begin()
    job.step()
    if at == "next step":
        job.step(0.5)
    lifecycle.pass_ends(job)
    assert job.shown_reason().startswith("AnyMS: the UNet AnyMS was attached to never ran")


def test_a_graph_that_replays_without_the_unet_is_reported(job: Job) -> None:
    """A CUDA graph is recorded in the first step, where every layer fires. After that none fires."""
    job.begin()
    job.step()
    sample(job.host.current)
    for progress in (0.25, 0.5, 0.75):
        job.step(progress)
    lifecycle.pass_ends(job)
    assert "stopped running after 1 calls" in job.shown_reason(acted=True)


def test_a_step_that_the_user_stopped_is_not_reported(job: Job) -> None:
    job.begin()
    job.step()
    job.host.stopped = True
    lifecycle.pass_ends(job)
    assert job.comments == []


# -- a sampling that is not announced ----------------------------------------------------------------------------------


def alternative(job: Job, enabled: bool = True, **settings: Any) -> None:
    """Like "img2img alternative test": the script replaces `p.sample` by a function that announces no pass."""
    script = SimpleNamespace(title=lambda: "img2img alternative test")
    job.scripts, job.script_args = SimpleNamespace(selectable_scripts=[script]), (1,)
    lifecycle.job_begins(job)
    job.step()
    lifecycle.pass_ends(job, (lambda: job_request(**settings)) if enabled else None)


def test_a_sampling_that_is_not_announced_is_reported(job: Job) -> None:
    alternative(job)
    assert job.shown_reason().startswith(
        "AnyMS: the script img2img alternative test samples in a way that does not reach AnyMS"
    )


def test_a_sampling_without_anyms_is_not_reported(job: Job) -> None:
    alternative(job, enabled=False)
    alternative(job, scale=0)
    assert (job.comments, job.extra_generation_params) == ([], {})


def test_an_announced_sampling_is_not_reported(job: Job) -> None:
    job.begin()
    job.step()
    sample(job.host.current)
    lifecycle.pass_ends(job, job_request)
    assert job.comments == []
    assert job.extra_generation_params.keys() == {"AnyMS"}
    assert live() is not None


def test_a_skipped_image_has_a_reason_and_the_next_one_has_not(job: Job) -> None:
    job.host.stopped = True
    job.begin()
    assert "stopped while AnyMS read the reference pictures" in job.shown_reason()
    job.host.stopped = False
    lifecycle.pass_begins(job, job_request)
    assert job.extra_generation_params.keys() == {"AnyMS"}


# -- what the hosts' objects say ---------------------------------------------------------------------------------------


def test_an_engine_of_a1111_is_named_as_users_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from lib_anyms.hosts.a1111 import A1111

    fake = ModuleType("modules")
    fake.sd_unet = SimpleNamespace(current_unet=type("TrtUnet", (), {})())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules", fake)
    host = A1111(SimpleNamespace(sd_model=None))
    assert host.bypassed_by() == "TensorRT"
    fake.sd_unet.current_unet = None  # type: ignore[attr-defined]
    assert host.bypassed_by() is None


STATES = [({}, False), ({"interrupted": True}, True), ({"skipped": True}, True), ({"stopping_generation": True}, False)]


@pytest.mark.parametrize(("state", "stopped"), STATES)
def test_status_text_and_interruption_are_the_host_s(
    monkeypatch: pytest.MonkeyPatch, state: dict, stopped: bool
) -> None:
    fake = ModuleType("modules")
    fake.shared = SimpleNamespace(state=SimpleNamespace(textinfo="before", **state))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules", fake)
    host = WebUI(SimpleNamespace(sd_model=None))
    assert host.interrupted() is stopped
    assert host.show_status("AnyMS reads") == "before"
    assert fake.shared.state.textinfo == "AnyMS reads"  # type: ignore[attr-defined]
    fake.shared = SimpleNamespace()  # type: ignore[attr-defined]
    assert (host.show_status("x"), host.interrupted()) == (None, False)

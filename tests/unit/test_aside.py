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
from lib_anyms.engine.skipped import Skipped
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.webui import WebUI
from lib_anyms.job.live_sessions import close_session, last_report, live
from lib_anyms.job.request import Request
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


def steps(job: Job, *called: bool) -> None:
    """A pass of steps; in some of them the UNet is called."""
    for number, is_called in enumerate(called):
        job.step(number / len(called))
        if is_called:
            sample(job.host.current)


def test_steps_that_a_forecast_answers_are_counted_and_named(job: Job) -> None:
    """Spectrum: a wrapper predicts some steps. The image keeps its subjects, so the infotext keeps its entry."""
    job.begin()
    job.host.wrapper = "lib_spectrum.forecaster"
    steps(job, True, True, False, True, False, True)
    lifecycle.pass_ends(job)
    assert job.comments == []
    assert job.extra_generation_params.keys() == {"AnyMS"}
    assert hook_count(job.host.current) == 0
    report = last_report()
    assert (report.passes[0].calls, report.passes[0].failure, report.outcome) == (4, "", "")
    assert report.passes[0].skipped == Skipped(steps=2, by=("lib_spectrum.forecaster",))


def test_a_cache_in_the_last_step_is_counted_too(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.begin()
    steps(job, True, True)
    bypass_layers(monkeypatch, job.host.current)
    steps(job, True, False)
    lifecycle.pass_ends(job)
    assert last_report().passes[0].skipped == Skipped(steps=1, silent=1, by=(__name__,))


def test_mostly_skipped_steps_are_noted_at_the_end(job: Job) -> None:
    """A CUDA graph is replayed, or a cache skips very much: the subjects may be weak."""
    job.begin()
    steps(job, True, False, False, False)
    assert job.comments == []  # the rest of the pass may still run
    lifecycle.pass_ends(job)
    assert job.extra_generation_params.keys() == {"AnyMS", "AnyMS note"}
    assert job.comments == [job.extra_generation_params["AnyMS note"]]
    assert "answered 3 times in place of the UNet, and AnyMS acted in 1 calls" in job.comments[0]
    assert last_report().notes == ("steps_skipped",)


def test_each_pass_needs_a_whole_call_first(job: Job) -> None:
    """What a cache repeats from an earlier pass has no image stream."""
    job.begin()
    steps(job, True)
    lifecycle.pass_begins(job, job_request)
    lifecycle.pass_ends(job)
    lifecycle.pass_begins(job, job_request)
    steps(job, False)
    lifecycle.pass_ends(job)
    assert job.shown_reason().startswith("AnyMS: the UNet AnyMS was attached to never ran")


# -- refusals ----------------------------------------------------------------------------------------------------------


def refuse_request() -> Request:
    return job_request(adapter="no such file")


def test_a_refusal_lets_the_other_scripts_clean_up(job: Job) -> None:
    """Block caches patch the UNet's class in `process` and take it back in `post_sample`, which an error skips."""
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, refuse_request)
    assert job.host.ended == 0
    job.step()
    with pytest.raises(Refused, match="no such file"):
        sample(job.host.current)
    assert job.host.ended == 1
    lifecycle.pass_ends(job)
    assert (job.comments, hook_count(job.host.current)) == ([], 0)


def test_an_error_of_the_stream_lets_the_other_scripts_clean_up(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("an error of another extension")

    job.begin()
    monkeypatch.setattr(job.host, "end_scripts", fail)
    job.step()
    monkeypatch.setattr(job.host, "cond", (True,))
    with pytest.raises(Refused, match="batch entries"):  # ours, not the other extension's
        sample(job.host.current)
    assert hook_count(job.host.current) == 0


@pytest.mark.parametrize("iterations", [1, 2])
def test_a_refusal_that_never_fired_is_reported(job: Job, iterations: int) -> None:
    """The image exists, made by something that runs without the UNet."""
    lifecycle.job_begins(job)
    for _ in range(iterations):
        lifecycle.pass_begins(job, refuse_request)
        assert hook_count(job.host.current) == 1
        job.step()
        lifecycle.pass_ends(job)
    reason = job.shown_reason()
    assert reason.startswith("AnyMS: the UNet never ran")
    assert "no such file" in reason
    sample(job.host.current)  # raises nothing any more


def test_a_stopped_job_s_refusal_is_not_reported(job: Job) -> None:
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, refuse_request)
    job.host.stopped = True
    lifecycle.pass_ends(job)
    assert job.comments == []


@pytest.mark.parametrize("request_of", [refuse_request, lambda: Request.from_json({"subjects": 3})])
def test_a_bypass_comes_before_a_refusal(job: Job, request_of: Any) -> None:
    """The refusal would be armed on a UNet that never runs."""
    job.host.bypass = "TensorRT"
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, request_of)
    assert job.shown_reason().startswith("AnyMS: TensorRT runs in place of the UNet")


def test_a_refusal_without_a_unet_is_shown(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> nn.Module:
        raise SteppedAside("no_unet", got="a Flux model")

    monkeypatch.setattr(job.host, "unet", missing)
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, lambda: Request.from_json({"subjects": 3}))
    assert "a Flux model" in job.shown_reason()


def test_forge_neo_s_own_compiler_is_known() -> None:
    from lib_anyms.hosts.forge import Forge

    model = SimpleNamespace()
    host = Forge(SimpleNamespace(sd_model=SimpleNamespace(forge_objects=SimpleNamespace(unet=None))))
    assert host.bypassed_by() is None
    host.p.sd_model.forge_objects.unet = SimpleNamespace(model=model)
    assert host.bypassed_by() is None
    model._torch_compile_config = ("dynamic",)
    assert host.bypassed_by() == "torch.compile"


def test_the_scripts_of_a_webui_end_with_the_last_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, ended = ModuleType("modules"), []
    fake.scripts = SimpleNamespace(PostSampleArgs=lambda samples: ("samples", samples))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules", fake)
    runner = SimpleNamespace(post_sample=lambda p, arguments: ended.append((p, arguments)))
    p = SimpleNamespace(sd_model=None, scripts=runner, sampler=SimpleNamespace(last_latent="latents"))
    WebUI(p).end_scripts()
    assert ended == [(p, ("samples", "latents"))]
    WebUI(SimpleNamespace(sd_model=None)).end_scripts()  # a job without scripts
    assert len(ended) == 1


@pytest.mark.parametrize("place", ["wrapper", "method", "none"])
def test_what_answers_in_place_of_the_unet_is_named_by_its_module(place: str) -> None:
    def answer() -> None: ...

    answer.__module__ = "lib_spectrum.forecaster"
    model, patcher = nn.Identity(), SimpleNamespace(model_options={})
    model.forge_objects = SimpleNamespace(unet=patcher)
    host = WebUI(SimpleNamespace(sd_model=model))
    if place == "wrapper":
        patcher.model_options["model_function_wrapper"] = answer
    if place == "method":
        model.apply_model = answer
    assert host.wrapped_by() == ("" if place == "none" else "lib_spectrum.forecaster")


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

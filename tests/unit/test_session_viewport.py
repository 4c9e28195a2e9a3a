"""Passes of one job with different viewports: encode once, crop the layout per pass, keep the user's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lib_anyms.errors import SteppedAside
from lib_anyms.job.kept_key_values import KeptKeyValues
from lib_anyms.job.live_sessions import live, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.job.token_cache import TokenCache
from lib_anyms.layout.geometry import WHOLE, Viewport
from lib_anyms.runtime import runtime
from lib_anyms.webui import lifecycle
from tests.support.fake_host import FakeHost, sample
from tests.support.streams import hook_count
from tests.support.tiny_unet import tiny_unet

LEFT, RIGHT = Viewport(0, 0, 0.5, 1), Viewport(0.5, 0, 1, 1)
FAR = Viewport(-1, 0, -0.5, 1)


def request(**boxes: list[float]) -> Request:
    """Subjects by colour, back to front."""
    subjects = [{"name": name, "box": box, "images": [Image.new("RGB", (9, 9), name)]} for name, box in boxes.items()]
    return Request.from_json({"subjects": subjects})


def sides() -> Request:
    return request(red=[0, 0, 0.5, 1], blue=[0.5, 0, 1, 1])


def output_of(host: FakeHost, job_request: Request, *viewports: Viewport) -> torch.Tensor:
    """The UNet's output in the last of these passes."""
    session = open_session(Session(host, job=object()))
    for viewport in viewports:
        host.shown = viewport
        session.begin_pass(job_request)
        session.begin_step(SimpleNamespace(progress=0.0))
        output = sample(host.current)
    session.finish_pass()
    return output


@pytest.mark.parametrize(("viewport", "colour"), [(LEFT, "red"), (RIGHT, "blue")])
def test_a_pass_of_one_half_renders_the_subject_of_that_half(folder: Path, viewport: Viewport, colour: str) -> None:
    host = FakeHost(tiny_unet(), folder)
    alone = output_of(host, request(**{colour: [0, 0, 1, 1]}), WHOLE)
    other = output_of(host, request(**{"red" if colour == "blue" else "blue": [0, 0, 1, 1]}), WHOLE)
    assert torch.equal(output_of(host, sides(), viewport), alone)
    assert not torch.equal(alone, other)


def test_each_pass_has_its_own_layout_and_subjects_are_encoded_once(folder: Path, encodings: list[int]) -> None:
    host = FakeHost(tiny_unet(), folder)
    singly = [output_of(host, sides(), viewport) for viewport in (WHOLE, RIGHT, LEFT)]
    encodings.clear()
    runtime.of(TokenCache).clear()
    runtime.of(KeptKeyValues).clear()
    job_request = sides()
    session = open_session(Session(host, job=object()))
    for viewport, expected in zip((WHOLE, RIGHT, LEFT, WHOLE), [*singly, singly[0]]):
        host.shown = viewport
        session.begin_pass(job_request)
        hooks, stream = hook_count(host.current), session.stream
        session.begin_pass(job_request)  # Forge's hires fix calls twice
        assert (hook_count(host.current), session.stream) == (hooks, stream)
        session.begin_step(SimpleNamespace(progress=0.0))
        assert torch.equal(sample(host.current), expected)
    session.finish_pass()
    assert hook_count(host.current) == 0
    assert len(encodings) == 1


def test_a_pass_without_a_subject_is_untouched_and_other_passes_are_not(folder: Path, encodings: list[int]) -> None:
    host = FakeHost(tiny_unet(), folder)
    session = open_session(Session(host, job=object()))
    plain = sample(host.current)
    job_request = request(red=[0, 0, 0.5, 1])
    host.shown = RIGHT
    with pytest.raises(SteppedAside) as aside:
        session.begin_pass(job_request)
    assert aside.value.cause == "subjects_elsewhere"
    assert (hook_count(host.current), encodings) == (0, [])
    host.shown = LEFT
    session.begin_pass(job_request)
    session.begin_step(SimpleNamespace(progress=0.0))
    assert not torch.equal(sample(host.current), plain)
    host.shown = RIGHT
    with pytest.raises(SteppedAside):
        session.begin_pass(job_request)
    assert hook_count(host.current) == 0
    session.begin_step(SimpleNamespace(progress=0.0))
    assert torch.equal(sample(host.current), plain)


def test_an_unknown_viewport_leaves_no_hook_of_the_previous_pass(folder: Path) -> None:
    host = FakeHost(tiny_unet(), folder)
    session = open_session(Session(host, job=object()))
    session.begin_pass(sides())
    assert hook_count(host.current) > 0

    def unknown() -> Viewport:
        raise SteppedAside("parts_unknown", got="a script")

    host.viewport = unknown  # type: ignore[method-assign]
    with pytest.raises(SteppedAside, match="the script a script"):
        session.begin_pass(sides())
    assert hook_count(host.current) == 0


def test_a_unet_that_did_not_run_is_reported_when_the_viewport_changes(folder: Path) -> None:
    host = FakeHost(tiny_unet(), folder)
    session = open_session(Session(host, job=object()))
    session.begin_pass(sides())
    session.begin_step(SimpleNamespace(progress=0.0))
    host.shown = LEFT
    with pytest.raises(SteppedAside) as aside:
        session.begin_pass(sides())
    assert aside.value.cause == "unet_not_called"
    assert hook_count(host.current) == 0


# -- what stays on the host's job --------------------------------------------------------------------------------------


@pytest.fixture
def host(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """The host that lifecycle detects."""
    fake = FakeHost(tiny_unet(), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda p: fake)
    return fake


class Job(SimpleNamespace):
    """A host's `p`: it keeps each comment once."""

    def __init__(self) -> None:
        super().__init__(extra_generation_params={}, comments={})

    def comment(self, text: str) -> None:
        self.comments[text] = 1


def passes(p: Any, host: FakeHost, read: Callable[[], Request], *viewports: Viewport) -> dict[str, Any]:
    """Run one job with these passes -> its infotext entries."""
    lifecycle.job_begins(p)
    for viewport in viewports:
        host.shown = viewport
        lifecycle.pass_begins(p, read)
        lifecycle.pass_begins(p, read)
        assert (live().stream is not None and live().stream.injected) == bool(read().layout.seen_in(viewport))
    lifecycle.pass_ends(p)
    lifecycle.job_ends(p)
    assert hook_count(host.current) == 0
    return dict(p.extra_generation_params)


def test_the_infotext_keeps_the_user_s_layout(host: FakeHost) -> None:
    p = Job()
    uncropped, cropped = passes(p, host, sides, WHOLE), passes(p, host, sides, WHOLE, Viewport(0.25, 0, 1, 1))
    assert uncropped["AnyMS"] == cropped["AnyMS"]
    assert uncropped.keys() == cropped.keys() == {"AnyMS"}
    assert vars(p).keys() == {"extra_generation_params", "comments"}
    assert p.comments == {}


@pytest.mark.parametrize("viewports", [(WHOLE, FAR), (FAR, WHOLE), (FAR, WHOLE, FAR)])
def test_a_pass_without_a_subject_is_reported_and_the_infotext_keeps_the_layout(
    host: FakeHost, viewports: tuple[Viewport, ...]
) -> None:
    p = Job()
    entries = passes(p, host, sides, *viewports)
    assert entries["AnyMS skipped"].startswith("AnyMS: no subject's box overlaps a part")
    assert "red" in entries["AnyMS"]
    assert list(p.comments) == [entries["AnyMS skipped"]]


def test_without_any_subject_in_a_pass_the_infotext_has_no_layout(host: FakeHost) -> None:
    assert passes(Job(), host, sides, FAR).keys() == {"AnyMS skipped"}


def test_many_jobs_of_one_script_are_reported_once(host: FakeHost, caplog: pytest.LogCaptureFixture) -> None:
    """The tiles of a script are jobs with the same `p`."""
    p = Job()
    for _ in range(3):
        assert "AnyMS skipped" in passes(p, host, sides, FAR)
    assert len(p.comments) == 1
    assert len([record for record in caplog.records if "no subject's box" in record.getMessage()]) == 1


def test_another_job_s_steps_are_not_ours(host: FakeHost) -> None:
    p, other = Job(), Job()

    def step(of: Any) -> torch.Tensor:
        lifecycle.step_begins(SimpleNamespace(denoiser=SimpleNamespace(p=of), progress=0.0))
        return sample(host.current)

    plain = sample(host.current)
    lifecycle.job_begins(p)
    lifecycle.pass_begins(p, sides)
    ours = step(p)
    assert not torch.equal(ours, plain)
    assert torch.equal(step(other), plain)
    assert torch.equal(step(p), ours)

"""The entries that the WebUI's callbacks leave in an image's infotext."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from lib_anyms.webui import lifecycle
from tests.support.fake_host import FakeHost, sample
from tests.support.tiny_unet import tiny_unet


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    host = FakeHost(tiny_unet(), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda _p: host)
    return SimpleNamespace(extra_generation_params={"Other": "kept"}, comment=lambda _text: None, host=host)


def request(**settings: Any) -> Request:
    cat = {"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}
    return Request.from_json({"subjects": [cat], **settings})


def play(p: Any, job_request: Request, **options: Any) -> dict[str, Any]:
    """Run a job as the host does -> its infotext when the host would save its image."""
    lifecycle.job_begins(p)
    lifecycle.pass_begins(p, lambda: job_request, **options)
    lifecycle.job_ends(p)
    return dict(p.extra_generation_params)


def test_the_infotext_has_the_request(job: Any) -> None:
    assert play(job, request()) == {"Other": "kept", "AnyMS": infotext.write(request())}


def test_a_setting_keeps_the_request_out_of_the_infotext(job: Any) -> None:
    assert play(job, request(), write=False) == {"Other": "kept"}


@pytest.mark.parametrize("second", ["the same job again", "a copy of it"])
def test_a_script_s_next_job_has_no_entry_of_the_previous_one(job: Any, second: str) -> None:
    """Copies of a job are shallow: they share one infotext."""
    other = copy.copy(job) if second == "a copy of it" else job
    assert "AnyMS" in play(job, request())
    assert play(other, request(scale=0)) == {"Other": "kept"}
    job.host.bypass = "an engine"
    assert set(play(other, request())) == {"Other", "AnyMS skipped"}
    job.host.bypass = None
    assert set(play(job, request())) == {"Other", "AnyMS"}


@pytest.mark.parametrize("inner", [{"enabled": False}, {"scale": 0}, {"scale": 0.3}])
def test_a_job_within_ours_removes_nothing_from_our_infotext(job: Any, inner: dict[str, Any]) -> None:
    """It runs between sampling and saving our image, on a copy that shares our infotext."""
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, request)
    lifecycle.pass_ends(job)
    entries = play(copy.copy(job), request(**inner))
    assert entries == (
        {"Other": "kept", "AnyMS": infotext.write(request(**inner))} if inner.get("scale") else {"Other": "kept"}
    )
    assert job.extra_generation_params == {"Other": "kept", "AnyMS": infotext.write(request())}


# -- passes of one image with and without AnyMS ------------------------------------------------------------------------


class Passes:
    """The passes of a job's images. In a pass "without", something runs in place of the UNet."""

    def __init__(self, p: Any) -> None:
        self.p = p
        self.p.comments = {}
        self.p.comment = lambda text: self.p.comments.setdefault(text, 1)
        lifecycle.job_begins(p)

    def image(self, *passes: str) -> dict[str, Any]:
        """Run the passes of one image -> its infotext. In the second step of "replaced" a refiner runs."""
        for each in passes:
            self.p.host.bypass = "TensorRT" if each == "without" else None
            lifecycle.pass_begins(self.p, request)
            first = self.p.host.current
            for unet in (first, tiny_unet() if each == "replaced" else first):
                self.step(unet)
            self.p.host.current = first
        lifecycle.pass_ends(self.p, request)
        return dict(self.p.extra_generation_params)

    def step(self, unet: Any) -> None:
        self.p.host.current = unet
        lifecycle.step_begins(SimpleNamespace(denoiser=SimpleNamespace(p=self.p), progress=0.5))
        sample(unet)


WHOLE_IMAGE = "AnyMS: TensorRT runs in place of the UNet, so {} was made"


@pytest.mark.parametrize(
    ("passes", "kept", "what"),
    [
        (("with", "with"), True, ""),
        (("with", "without"), True, "that pass"),
        (("without", "with"), True, "that pass"),
        (("without", "without"), False, "the image"),
        (("without",), False, "the image"),
    ],
)
def test_the_layout_stays_where_any_pass_of_the_image_had_anyms(
    job: Any, passes: tuple[str, ...], kept: bool, what: str
) -> None:
    entries = Passes(job).image(*passes)
    assert ("AnyMS" in entries) is kept
    assert entries.get("AnyMS skipped", "").startswith(WHOLE_IMAGE.format(what) if what else "")
    assert [*job.comments] == ([entries["AnyMS skipped"]] if what else [])  # one sentence, and the true one


def test_a_refiner_keeps_the_layout_of_the_first_steps(job: Any) -> None:
    entries = Passes(job).image("replaced")
    assert entries["AnyMS"] == infotext.write(request())
    assert "the UNet was replaced at 50% of the steps (refiner?)" in entries["AnyMS skipped"]


def test_every_image_of_a_job_has_the_entries_of_the_passes_it_had(job: Any) -> None:
    """The host writes an image's infotext after its passes, so later images must not change or inherit it."""
    passes = Passes(job)
    kinds = [("with", "without"), ("without",), ("with",), ("with", "without")]
    entries = [{*passes.image(*kind)} - {"Other"} for kind in kinds]
    assert entries == [{"AnyMS", "AnyMS skipped"}, {"AnyMS skipped"}, {"AnyMS"}, {"AnyMS", "AnyMS skipped"}]
    assert job.extra_generation_params["Other"] == "kept"


def test_an_interrupted_first_pass_is_no_layout(job: Any) -> None:
    passes = Passes(job)
    job.host.stopped = True
    assert {*passes.image("with")} == {"Other", "AnyMS skipped"}
    job.host.stopped = False
    assert {*passes.image("with")} == {"Other", "AnyMS"}


@pytest.mark.parametrize(("end", "noted"), [(0.5, True), (1.0, False)])
def test_a_note_is_about_its_image_only(job: Any, end: float, noted: bool) -> None:
    cat = {"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")], "end": end}
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, lambda: request(subjects=[cat]))
    lifecycle.step_begins(SimpleNamespace(denoiser=SimpleNamespace(p=job), progress=0.75))
    sample(job.host.current)
    lifecycle.pass_ends(job)
    assert (infotext.NOTE in job.extra_generation_params) == noted
    assert set(play(job, request())) == {"Other", "AnyMS"}

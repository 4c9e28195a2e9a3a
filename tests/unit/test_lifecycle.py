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
from tests.support.fake_host import FakeHost
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

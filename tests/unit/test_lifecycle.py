"""What the WebUI's callbacks leave in a picture's infotext."""

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


def play(p: Any, wish: Request, **how: Any) -> dict[str, Any]:
    """A job as the host calls us -> its infotext when its picture would be saved."""
    lifecycle.job_begins(p)
    lifecycle.pass_begins(p, lambda: wish, **how)
    lifecycle.job_ends(p)
    return dict(p.extra_generation_params)


def test_a_picture_says_what_it_was_made_with(job: Any) -> None:
    assert play(job, request()) == {"Other": "kept", "AnyMS": infotext.write(request())}


def test_a_user_may_not_want_that(job: Any) -> None:
    assert play(job, request(), tell=False) == {"Other": "kept"}


@pytest.mark.parametrize("second", ["the same job again", "a copy of it"])
def test_a_script_s_next_job_says_nothing_of_the_one_before(job: Any, second: str) -> None:
    """Copies are shallow: they share one infotext."""
    other = copy.copy(job) if second == "a copy of it" else job
    assert "AnyMS" in play(job, request())
    assert play(other, request(scale=0)) == {"Other": "kept"}
    job.host.bypass = "an engine"
    assert set(play(other, request())) == {"Other", "AnyMS skipped"}
    job.host.bypass = None
    assert set(play(job, request())) == {"Other", "AnyMS"}


@pytest.mark.parametrize("inner", [{"enabled": False}, {"scale": 0}, {"scale": 0.3}])
def test_a_job_made_within_ours_takes_nothing_from_its_infotext(job: Any, inner: dict[str, Any]) -> None:
    """Between the sampling and the saving of our picture, by a copy that shares our infotext."""
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, request)
    lifecycle.pass_ends(job)
    made = play(copy.copy(job), request(**inner))
    assert made == (
        {"Other": "kept", "AnyMS": infotext.write(request(**inner))} if inner.get("scale") else {"Other": "kept"}
    )
    assert job.extra_generation_params == {"Other": "kept", "AnyMS": infotext.write(request())}

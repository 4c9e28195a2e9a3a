"""Jobs with other always-on scripts beside AnyMS, through the host's API."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hosts.studio import LAYERS, SCENE, Call, Job, Studio, read_calls, started_again, two_subjects

Scripts = dict[str, list[Any]]  # title -> arguments
_numbers = itertools.count()


def listed(studio: Studio, kind: str = "txt2img") -> set[str]:
    """Titles of the host's scripts for such a job, in lower case."""
    return set(studio.host.get("/sdapi/v1/scripts").body[kind])


def needs_script(studio: Studio, title: str, kind: str = "txt2img") -> str:
    """The title of the script that starts with `title`; skips the test if the host lacks it."""
    for name in listed(studio, kind):
        if name.startswith(title.lower()):
            return name
    pytest.skip(f"host: not an option in {studio.kind.name}: it has no script {title}")


def paint_beside(studio: Studio, scripts: Scripts, request: Any = None, kind: str = "txt2img", **changes: Any) -> Job:
    """A job that must succeed. `request`: AnyMS's, or None to leave AnyMS out."""
    all_scripts = {**scripts, **({"AnyMS": [request]} if request is not None else {})}
    always_on = {title: {"args": arguments} for title, arguments in all_scripts.items()}
    answer = studio.host.post(f"/sdapi/v1/{kind}", {**SCENE, **changes, "alwayson_scripts": always_on})
    assert answer.status == 200, f"{answer.body}\n{studio.host.tail()}"
    return Job(answer.body["images"], json.loads(answer.body["info"]))


def watch_beside(studio: Studio, scripts: Scripts, request: Any = None, **changes: Any) -> tuple[Job, list[Call]]:
    """The same, and its UNet calls."""
    folder: Path = studio.host.data / f"calls beside {next(_numbers)}"
    job = paint_beside(studio, {**scripts, "AnyMS test probe": [{"record": str(folder)}]}, request, **changes)
    return job, read_calls(folder)


def apart(one: bytes, other: bytes) -> int:
    """The largest difference of two pictures' pixels, 0 to 255."""
    values = [np.frombuffer(pixels, np.uint8).astype(np.int16) for pixels in (one, other)]
    return int(np.abs(values[0] - values[1]).max())


@contextlib.contextmanager
def once_more(studio: Studio, extension: str, data: Path) -> Iterator[Studio]:
    """The same host as a second process, with one more extension."""
    folder = os.environ.get("ANYMS_NEIGHBOURS_DIR")
    if not folder:
        pytest.skip("host: ANYMS_NEIGHBOURS_DIR is not set")
    if not Path(folder, extension).is_dir():
        pytest.skip(f"host: ANYMS_NEIGHBOURS_DIR has no {extension}")
    with started_again(studio, data, extension=Path(folder) / extension) as loaded:
        yield loaded


def all_layers(calls: list[Call], times: int = 1) -> bool:
    """Make a picture whose UNet runs `times` times in each call."""
    return bool(calls) and {(call.fired, call.changed) for call in calls} == {(times * LAYERS, times * LAYERS)}


def beside(
    studio: Studio, scripts: Scripts, request: Any = None, times: int = 1, **changes: Any
) -> tuple[Job, list[Call]]:
    """A picture with both, which neither makes alone, and its UNet calls; every layer acts."""
    request = request or two_subjects()
    job, calls = watch_beside(studio, scripts, request, **changes)
    assert all_layers(calls, times)
    alone = paint_beside(studio, scripts, **changes)
    assert alone.pixels != studio.paint(**changes).pixels  # the neighbour does something
    assert job.pixels[-1] not in (alone.pixels[-1], studio.paint(request, **changes).pixels[-1])
    assert "AnyMS skipped" not in job.info["infotexts"][0]
    return job, calls

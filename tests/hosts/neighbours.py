"""Jobs with other always-on scripts beside AnyMS, through the host's API."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hosts.studio import SCENE, Call, Job, Studio, read_calls

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

"""Another checkpoint and back, with AnyMS on.

It reloads models, so it is a separate file that runs after those that compare pictures.
"""

from __future__ import annotations

import pytest

from lib_anyms.standalone.random_sdxl import write_random_sdxl
from lib_anyms.standalone.structure import TINY
from tests.hosts import tiny
from tests.hosts.neighbours import apart
from tests.hosts.replay import Replay
from tests.hosts.studio import LAYERS, Studio, two_subjects

CLOSE = 1e-4
RELOADED = 1  # of 255: a reload may change this much, without AnyMS too


def test_another_checkpoint_and_back(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each job's UNet output equals diffusers' for its checkpoint: no layer of the other model is used."""
    request = two_subjects(adapter=studio.files.adapters["base"].name, encoder=studio.files.encoder.name)
    before, rest = studio.paint(request).pixels[0], studio.hooks_at_rest
    files = write_random_sdxl(tmp_path_factory.mktemp("other"), TINY, seed=5)
    other = tiny.place(studio.host.place.name, studio.host.data, "tiny", files, "other")
    studio.host.post("/sdapi/v1/refresh-checkpoints", {})
    try:
        with studio.options(sd_model_checkpoint=other.checkpoint.name):
            calls = studio.record(request)
            assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
            theirs = Replay(type(studio.files)(other.checkpoint, studio.files.encoder, studio.files.adapters))
            assert max(theirs.differences(calls, request)) < CLOSE
            assert max(Replay(studio.files).differences(calls, request)) > 100 * CLOSE
        with studio.options(sd_model_checkpoint=studio.files.checkpoint.name):
            job, calls = studio.watch(request)
    finally:
        tiny.remove(other)
        studio.host.post("/sdapi/v1/refresh-checkpoints", {})
    assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
    assert max(Replay(studio.files).differences(calls, request)) < CLOSE
    assert apart(job.pixels[0], before) <= RELOADED
    assert studio.hooks() == rest

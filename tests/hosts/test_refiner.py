"""The refiner exchanges the UNet in mid-sampling, and no host tells scripts.

It reloads models: a file of its own, run last.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.hosts.studio import LAYERS, Studio, two_subjects


@pytest.fixture
def second_checkpoint(studio: Studio) -> Iterator[str]:
    """The same weights once more, under a name of their own."""
    first = studio.files.checkpoint
    files = [path for path in (first, first.with_suffix(".yaml")) if path.exists()]
    copies = [shutil.copy(path, path.with_stem("second")) for path in files]
    studio.host.post("/sdapi/v1/refresh-checkpoints", {})
    yield "second.safetensors"
    for path in copies:
        path.unlink()
    studio.host.post("/sdapi/v1/refresh-checkpoints", {})


def test_the_refiner_is_stepped_aside_for(studio: Studio, second_checkpoint: str) -> None:
    assert studio.baseline
    rest = studio.hooks_at_rest
    refined = {"steps": 6, "refiner_checkpoint": second_checkpoint, "refiner_switch_at": 0.5}
    # named: reForge takes the first of all checkpoints for the chosen one while none was ever chosen
    with studio.options(sd_model_checkpoint=studio.files.checkpoint.name, **studio.kind.refiner):
        job = studio.paint(two_subjects(), **refined)
        told = studio.parameters(job.images[0])
        assert told["AnyMS skipped"].startswith("AnyMS: the UNet was exchanged at 50% of the steps (refiner?)")
        assert "AnyMS" not in told
        assert studio.hooks() == rest

        calls = studio.record(two_subjects())  # the first checkpoint is back
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}

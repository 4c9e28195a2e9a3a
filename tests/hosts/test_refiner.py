"""The refiner exchanges the UNet during sampling, and no host notifies scripts.

It reloads models, so it is a separate file that runs last.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.hosts.studio import LAYERS, Studio, two_subjects


@pytest.fixture
def second_checkpoint(studio: Studio) -> Iterator[str]:
    """The same weights again, under another name."""
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
    # by name: until a checkpoint is chosen, reForge uses the first one
    with studio.options(sd_model_checkpoint=studio.files.checkpoint.name, **studio.kind.refiner):
        job = studio.paint(two_subjects(), **refined)
        parameters = studio.parameters(job.images[0])
        assert parameters["AnyMS skipped"].startswith("AnyMS: the UNet was replaced at 50% of the steps (refiner?)")
        assert "AnyMS" not in parameters
        assert studio.hooks() == rest

        calls = studio.record(two_subjects())  # the first checkpoint is back
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}

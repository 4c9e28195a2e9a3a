"""The refiner exchanges the UNet during sampling, and no host notifies scripts.

It reloads models, so it is a separate file that runs last.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from tests.hosts import tiny
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
        assert parameters["AnyMS"] == infotext.write(Request.from_json(two_subjects()))  # of the first half
        assert studio.hooks() == rest

        calls = studio.record(two_subjects())  # the first checkpoint is back
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}


@pytest.fixture
def other_checkpoint(studio: Studio) -> Iterator[str]:
    """A checkpoint of another family: the small world's structure, to which the tiny SDXL's adapters do not fit."""
    placed = tiny.place(studio.host.place.name, studio.host.data, "sprites", None, "another")
    for adapter in placed.adapters.values():
        adapter.unlink()
    placed = replace(placed, adapters={})
    studio.host.post("/sdapi/v1/refresh-checkpoints", {})
    yield placed.checkpoint.name
    tiny.remove(placed)
    studio.host.post("/sdapi/v1/refresh-checkpoints", {})


def test_a_hires_pass_of_another_family_keeps_the_layout_of_each_picture(studio: Studio, other_checkpoint: str) -> None:
    rest = studio.hooks_at_rest
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5, "hr_checkpoint_name": other_checkpoint}
    with studio.options(sd_model_checkpoint=studio.files.checkpoint.name):
        job = studio.paint(two_subjects(), n_iter=2, **hires, **studio.kind.hires)
    layout = infotext.write(Request.from_json(two_subjects()))
    for image in job.images[-2:]:
        parameters = studio.parameters(image)
        assert parameters["AnyMS"] == layout
        assert "so that pass was made without AnyMS" in parameters["AnyMS skipped"]
    assert studio.hooks() == rest

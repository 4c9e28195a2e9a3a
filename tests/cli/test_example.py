"""The library example for diffusers: at most ten lines, and they work."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image

from lib_anyms.job.live_sessions import last_report
from lib_anyms.standalone.pipeline import load_pipeline
from lib_anyms.standalone.processes import CHECKOUT
from tests.support.files import random_files

EXAMPLE = CHECKOUT / "examples" / "diffusers_example.py"
FAST = {"width": 64, "height": 64, "num_inference_steps": 2}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A small pipeline on the CPU in place of SDXL on a GPU, and the example's files in the current folder."""
    files = random_files()
    shutil.copy(files.adapters["plus"], tmp_path / "ip-adapter-plus_sdxl_vit-h.safetensors")
    shutil.copy(files.encoder, tmp_path / "image_encoder.safetensors")
    for name, colour in (("cat", "red"), ("dog", "blue")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    loaded = load_pipeline(files.checkpoint, "cpu", torch.float32)
    call = StableDiffusionXLPipeline.__call__
    monkeypatch.setattr(StableDiffusionXLPipeline, "from_single_file", lambda path: loaded)
    monkeypatch.setattr(StableDiffusionXLPipeline, "to", lambda self, device: self)
    monkeypatch.setattr(
        StableDiffusionXLPipeline, "__call__", lambda self, *args, **named: call(self, *args, **FAST, **named)
    )
    return loaded


def test_the_example_makes_a_picture_with_its_subjects(pipeline: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    without = np.asarray(pipeline("a cat and a dog on grass").images[0])
    torch.manual_seed(0)
    runpy.run_path(str(EXAMPLE))
    report = last_report()
    assert report is not None
    assert (report.steps, report.notes) == (2, ())
    picture = np.asarray(Image.open(tmp_path / "picture.png"))
    assert picture.shape == without.shape == (64, 64, 3)
    assert not np.array_equal(picture, without)
    torch.manual_seed(0)
    assert np.array_equal(np.asarray(pipeline("a cat and a dog on grass").images[0]), without)  # ejected again


def test_the_example_has_at_most_ten_lines() -> None:
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 10

"""Pictures from a running host's API, with AnyMS and with the probe."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open

from lib_anyms.job import infotext
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.hosts.kinds import Kind
from tests.hosts.server import Answer, HostServer
from tests.ui.editor import EXTRA_OUTPUT

SCENE: dict[str, Any] = {
    "prompt": "a cat and a dog on a beach",
    "negative_prompt": "blurry",
    "seed": 7,
    "steps": 3,
    "width": 192,
    "height": 128,
    "cfg_scale": 5.0,
    "sampler_name": "Euler",
    "scheduler": "Automatic",
}
LAYERS = 70
_SLOT = (
    *("pictures", "Name", "role", "left", "top", "right", "bottom", "Strength", "Starts at", "Ends at"),
    *("Affected layers", "Use subject", "Own prompt", "Avoid", "silhouette"),
)
_SETTINGS = (
    *("Overall strength", "Merging", "Adapter", "Image encoder", "Negative-prompt image", "Image fit"),
    *("Several pictures", "Prompt elsewhere", "Share of prompts", "Fidelity"),
    *("Other extensions' inpainting", "Refine each subject", "Refining: padding", "Refining: size"),
    *("Later strength", "Later strength: from", "Layer order"),
)
LABELS = [
    "request",
    "AnyMS",
    *_SETTINGS,
    *(f"{name} {number}" for number in range(1, 13) for name in _SLOT),
    EXTRA_OUTPUT,
]
_numbers = itertools.count()


def reference(colour: str, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Image.Image:
    """A picture of one subject."""
    picture = Image.new(mode, size, (0, 0, 0, 0) if mode == "RGBA" else "white")
    ImageDraw.Draw(picture).ellipse((4, 4, size[0] - 6, size[1] - 3), fill=colour)
    return picture


def encoded(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def pixels_of(image: str) -> bytes:
    return Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB").tobytes()


def two_subjects(**settings: Any) -> dict[str, Any]:
    """A request with every usual field. The boxes overlap, and the order is not the proposed one."""
    cat = {"name": "cat", "images": [encoded(reference("orange"))], "box": [0.05, 0.1, 0.6, 0.95], "role": "attribute"}
    dog = {
        "name": "dog",
        "images": [encoded(reference("navy", mode="RGBA"))],
        "box": [0.4, 0.2, 1.0, 0.9],
        "weight": 0.8,
    }
    defaults = {"version": 1, "enabled": True, "scale": 0.8, "mode": "crop-merge", "adapter": "auto"}
    return {**defaults, "subjects": [cat, dog], **settings}


@dataclass(frozen=True)
class Job:
    """The API's answer: pictures as base64, and its information."""

    images: list[str]
    info: dict[str, Any]

    @property
    def pixels(self) -> list[bytes]:
        return [pixels_of(image) for image in self.images]


@dataclass(frozen=True)
class Call:
    """One recorded call of the UNet; see probe/scripts/anyms_probe.py."""

    tensors: dict[str, torch.Tensor]
    fired: int
    changed: int
    progress: float

    @property
    def is_cond(self) -> tuple[bool, ...]:
        return tuple(bool(flag) for flag in self.tensors["is_cond"])


class Studio:
    """A running host with a small SDXL."""

    def __init__(self, host: HostServer, files: RandomFiles) -> None:
        self.host = host
        self.files = files

    @property
    def kind(self) -> Kind:
        return self.host.place.kind

    def needs(self, case: str) -> None:
        """Skip the test if this host cannot do `what`, with the reason from kinds.py."""
        if case in self.kind.missing:
            pytest.skip(f"host: not an option in {self.kind.name}: {self.kind.missing[case]}")

    @cached_property
    def baseline(self) -> Job:
        """A picture without AnyMS, made before all others."""
        return self.paint()

    @cached_property
    def composed(self) -> Job:
        return self.paint(two_subjects())

    @cached_property
    def hooks_at_rest(self) -> int:
        return self.hooks()

    def ask(
        self, request: Any = None, probe: dict[str, Any] | None = None, kind: str = "txt2img", **changes: Any
    ) -> Answer:
        """One job. `request`: AnyMS's JSON object, or None to leave AnyMS out."""
        scripts: dict[str, Any] = {}
        if request is not None:
            scripts["AnyMS"] = {"args": [request]}
        if probe is not None:
            scripts["AnyMS test probe"] = {"args": [probe]}
        return self.host.post(f"/sdapi/v1/{kind}", {**SCENE, **changes, "alwayson_scripts": scripts})

    def paint(self, request: Any = None, **changes: Any) -> Job:
        """`ask` for a job that must succeed."""
        answer = self.ask(request, **changes)
        assert answer.status == 200, f"{answer.body}\n{self.host.tail()}"
        return Job(answer.body["images"], json.loads(answer.body["info"]))

    def record(self, request: Any = None, **changes: Any) -> list[Call]:
        """The UNet calls of a job that must succeed."""
        return self.watch(request, **changes)[1]

    def watch(self, request: Any = None, **changes: Any) -> tuple[Job, list[Call]]:
        """A job that must succeed, and its UNet calls."""
        job, folder = self._watch(request, **changes)
        return job, read_calls(folder)

    def hooks_after_sampling(self, request: Any) -> int:
        """The number of hooks on the UNet when other extensions of the same job may use it again."""
        return int((self._watch(request)[1] / "hooks").read_text(encoding="utf-8"))

    def _watch(self, request: Any, **changes: Any) -> tuple[Job, Path]:
        folder = self.host.data / f"calls {next(_numbers)}"
        return self.paint(request, probe={"record": str(folder)}, **changes), folder

    def parameters(self, image: str) -> dict[str, Any]:
        """The infotext in a picture, read by the host's own parser."""
        answer = self.host.post("/sdapi/v1/png-info", {"image": image})
        assert answer.status == 200
        return answer.body["parameters"]

    def recalled(self, image: str) -> dict[str, Any]:
        """The request that a picture's infotext holds, as the API takes it."""
        return infotext.read(self.parameters(image)[infotext.NAME]).to_json()

    def hooks(self) -> int:
        """The number of hooks on the UNet, without the probe's."""
        return self.host.get("/anyms-probe/hooks").body["hooks"]

    @contextlib.contextmanager
    def options(self, **values: Any) -> Iterator[None]:
        """Change the host's settings inside the block; `override_settings` would leak into later jobs."""
        before = self.host.get("/sdapi/v1/options").body
        assert not values.keys() - before.keys()
        try:
            assert self.host.post("/sdapi/v1/options", values).status == 200
            yield
        finally:
            self.host.post("/sdapi/v1/options", {name: before[name] for name in values})


@contextlib.contextmanager
def started_again(studio: Studio, data: Path, *flags: str, extension: Path | None = None) -> Iterator[Studio]:
    """The same host as a second process on a copy of its data, with more flags or one more extension."""
    shutil.copytree(
        studio.host.data, data, dirs_exist_ok=True, ignore=shutil.ignore_patterns("calls *", "outputs", "gradio")
    )
    if extension is not None:
        shutil.copytree(extension, data / "extensions" / extension.name)
    (data / "tmp").mkdir(exist_ok=True)  # Forge Couple needs it for the page; Forge Neo creates it later
    host = HostServer(studio.host.place, data, *flags)
    try:
        host.start()
        yield Studio(host, studio.files)
    finally:
        host.stop()


@contextlib.contextmanager
def as_before(studio: Studio) -> Iterator[Studio]:
    """Check that the host makes the same picture before and after, with no hooks on its UNet."""
    before, hooks = studio.baseline, studio.hooks_at_rest
    yield studio
    assert studio.paint().pixels == before.pixels
    assert studio.hooks() == hooks


@contextlib.contextmanager
def renamed(*files: Path) -> Iterator[None]:
    """Move the files away inside the block."""
    away = {path: path.rename(path.with_suffix(".away")) for path in files}
    try:
        yield
    finally:
        for path, hidden in away.items():
            hidden.rename(path)


def read_calls(folder: Path) -> list[Call]:
    """The probe's records, in order."""
    return [_read_call(path) for path in sorted(folder.glob("*.safetensors"))]


def _read_call(path: Path) -> Call:
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    return Call(tensors, int(metadata["fired"]), int(metadata["changed"]), float(metadata["progress"]))

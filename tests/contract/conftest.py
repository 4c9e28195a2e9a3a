"""A stand-in of each host, with the small random SDXL, and the extension loaded as hosts load it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lib_anyms.hosts.prompts import PromptSchedule
from lib_anyms.job.live_sessions import close_session
from lib_anyms.standalone.pipeline import load_pipeline
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.contract.cases import Judge
from tests.contract.hosts import A1111StandIn, DiffusersStandIn, ForgeStandIn, StandIn
from tests.contract.jobs import STRUCTURE
from tests.contract.ldm_unet import load_ldm_unet
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.files import random_files
from tests.support.webui_job import load_script, script_classes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def files() -> RandomFiles:
    return random_files(STRUCTURE)


@pytest.fixture(scope="package")
def webui(files: RandomFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeWebUI]:
    """A WebUI's modules, with adapter and encoder in the folders its users choose."""
    models = tmp_path_factory.mktemp("models")
    for path, folder in ((files.adapters["base"], "ipadapter"), (files.encoder, "clip_vision")):
        (models / folder).mkdir()
        shutil.copy(path, models / folder)
    with fake_webui(models) as loaded:
        yield loaded


@pytest.fixture(scope="package")
def script(webui: FakeWebUI) -> Any:
    return script_classes(load_script(ROOT))[0]()


@pytest.fixture(scope="package")
def stand_ins(files: RandomFiles, webui: FakeWebUI, script: Any) -> dict[str, StandIn]:
    diffusers_unet = load_pipeline(files.checkpoint, "cpu", torch.float32).unet
    adapter_and_encoder = [files.adapters["base"], files.encoder]
    hosts = (
        A1111StandIn(load_ldm_unet(files.checkpoint, STRUCTURE), webui, script),
        ForgeStandIn(load_ldm_unet(files.checkpoint, STRUCTURE, sized=True), webui, script),
        DiffusersStandIn(diffusers_unet.requires_grad_(False), adapter_and_encoder),
    )
    return {host.name: host for host in hosts}


@pytest.fixture(params=["a1111", "forge", "diffusers"])
def host(request: pytest.FixtureRequest, stand_ins: dict[str, StandIn]) -> Iterator[StandIn]:
    """Checks after each test that the host's UNet has no hooks and the outputs it had before the first test."""
    loaded = stand_ins[request.param]
    before = loaded.at_rest
    yield loaded
    assert loaded.hooks() == 0
    assert torch.equal(loaded.paint(steps=1).latents[0], before.latents[0])


@pytest.fixture(autouse=True)
def _nothing_live() -> Iterator[None]:
    yield
    close_session()


@pytest.fixture(scope="package")
def judge(files: RandomFiles) -> Judge:
    return Judge(files)


@pytest.fixture
def texts(webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Encode prompts as the stand-ins do; the list has those that were encoded."""
    encoded: list[str] = []

    def encode(p: Any, prompts: Any, _negative: bool) -> list[PromptSchedule]:
        encoded.extend(prompts)
        return [PromptSchedule(((0, p.text(prompt, 1)["crossattn"][0]),)) for prompt in prompts]

    monkeypatch.setattr(webui("lib_anyms.hosts.webui"), "encode_webui_prompts", encode)
    return encoded

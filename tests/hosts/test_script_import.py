"""scripts/anyms.py as a WebUI loads it, without a WebUI: stand-ins for `modules` and `gradio`, no diffusers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib_anyms.job import infotext
from tests.hosts.server import install_extension
from tests.hosts.studio import LABELS, two_subjects
from tests.support import webui_job
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.tiny_unet import tiny_unet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WebUI's data folder with our extension; its path has a space and a non-ASCII letter."""
    folder = tmp_path_factory.mktemp("hôst data")
    (folder / "models" / "ipadapter").mkdir(parents=True)
    (folder / "models" / "clip_vision").mkdir()
    write_adapter(folder / "models" / "ipadapter" / "adapter.safetensors", tiny_unet())
    write_encoder(folder / "models" / "clip_vision" / "encoder.safetensors")
    (folder / "request.json").write_text(json.dumps(two_subjects()), encoding="utf-8")
    install_extension(folder)
    return folder


def play(kind: str, extension: Path, data: Path) -> dict[str, Any]:
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [sys.executable, "-I", "-B", webui_job.__file__, kind, str(extension), str(data)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", ["a1111", "forge", "reforge"])
def test_a_whole_job(data: Path, kind: str) -> None:
    extension = data / "extensions" / "sd-webui-anyms"
    played = play(kind, extension, data)
    assert played["from"] == str(extension)
    assert played["loaded"] == []
    assert (played["classes"], played["title"], played["labels"]) == (1, "AnyMS", LABELS)
    assert (played["sentence"], played["comments"]) == ("", [])
    assert played["changed"] == [True, True]
    assert played["disabled"] == [False, False]
    assert (played["hooks"], played["after"]) == (0, True)
    recalled = infotext.read(played["infotext"]["AnyMS"])
    assert [subject.name for subject in recalled.subjects] == ["cat", "dog"]


@pytest.mark.parametrize("kind", ["a1111", "forge", "reforge"])
def test_an_import_failure_is_shown_and_refuses_requests(data: Path, tmp_path: Path, kind: str) -> None:
    extension = install_extension(tmp_path / "hôst data")
    (extension / "lib_anyms" / "layout" / "geometry.py").write_text(
        "raise RuntimeError('half an update')\n", encoding="utf-8"
    )
    played = play(kind, extension, data)
    assert played["title"] == "AnyMS"
    assert any(text.startswith("AnyMS could not be loaded") for text in played["shown"])
    assert any("RuntimeError: half an update" in text for text in played["shown"])
    assert (
        played["sentence"]
        == "AnyMS: the extension could not be loaded (RuntimeError: half an update). Restart the WebUI."
    )
    assert played["disabled"] == [False, False]
    assert (played["hooks"], played["after"]) == (0, True)

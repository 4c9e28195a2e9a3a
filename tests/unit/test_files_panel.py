"""The panel's part "model files": sentence, button, progress, and the settings behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib_anyms.models import known_files, model_files
from lib_anyms.models.downloads import Downloads
from lib_anyms.models.known_files import FIRST_ADAPTER, KNOWN, known_file
from tests.support.adapter_files import PROJECTION, write_adapter, write_encoder
from tests.support.fake_webui import fake_webui
from tests.support.file_server import file_server
from tests.support.tiny_unet import tiny_unet

ENCODER = known_file(FIRST_ADAPTER.encoder)


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The accordion on an empty page; its adapter is a small one from a local server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    small = write_adapter(tmp_path / "small", tiny_unet()).read_bytes()
    with file_server(small) as server, fake_webui(tmp_path / "models") as webui:
        files = webui("lib_anyms.webui.ui.files")
        adapter = replace(KNOWN[0], size=len(small), sha256=hashlib.sha256(small).hexdigest())
        others = [replace(file, gives=(("base", PROJECTION),)) if file is ENCODER else file for file in KNOWN[1:]]
        for module in (known_files, files):
            monkeypatch.setattr(module, "KNOWN", (adapter, *others))
        for module in (files, model_files):
            monkeypatch.setattr(module, "FIRST_ADAPTER", adapter)
        downloads = Downloads()
        for module in (files, webui("lib_anyms.hosts.fetching")):
            monkeypatch.setattr(module, "downloads", downloads)
        monkeypatch.setattr(files, "POLL", 0.01)
        shared = webui("modules.shared")
        shared.opts.anyms_mirror = server.address + "/"
        yield SimpleNamespace(files=files, webui=webui, folder=tmp_path / "models", server=server, state=shared.state)
        shared.opts.anyms_mirror = ""
        downloads.stop()
        server.released.set()
        downloads.wait(10)
        vars(shared.state).pop("job", None)


def build(panel: SimpleNamespace) -> dict[str, Any]:
    """Its components by class name; the buttons by their text."""
    gradio = panel.webui("gradio")
    gradio.COMPONENTS.clear()
    panel.files.element(lambda name: name)
    parts = {type(component).__name__: component for component in gradio.COMPONENTS}
    parts["buttons"] = {part.value: part for part in gradio.COMPONENTS if type(part).__name__ == "Button"}
    return parts


def pressed(parts: dict[str, Any], label: str) -> list[tuple[str, str, dict[str, Any]]]:
    act, inputs, outputs = parts["buttons"]["Download"].events["click"]
    assert inputs == outputs[2:] == [parts["Dropdown"]]
    return list(act(label))


def test_the_page_alone_downloads_nothing(panel: SimpleNamespace) -> None:
    build(panel)
    assert panel.server.ranges == []
    assert not panel.folder.exists()


def test_the_button_downloads_the_missing_file_and_the_next_job_finds_it(panel: SimpleNamespace) -> None:
    parts = build(panel)
    assert parts["Dropdown"].value.startswith("ip-adapter-plus_sdxl_vit-h.safetensors")
    assert "No IP-Adapter for SDXL was found" in panel.files._sentence()
    assert "Apache-2.0" in panel.files._sentence()
    assert "noobIPAMARK1_mark1.safetensors: fair-ai-public-1.0-sd" in panel.files._sentence()
    assert any("1.4 GB, needs CLIP-ViT-bigG-14, for Illustrious" in label for label in panel.files._labels())
    results = pressed(parts, parts["Dropdown"].value)
    path = panel.folder / "ipadapter" / "ip-adapter-plus_sdxl_vit-h.safetensors"
    assert path.is_file()
    assert "SHA-256 is right" in results[-1][0]
    assert [update.get("value") for *_, update in results[:-1]] == [None] * (len(results) - 1)
    assert "No image encoder" in results[-1][1]  # the next missing file, which the list selects
    assert results[-1][2]["value"].startswith(ENCODER.name)
    assert results[-1][2]["value"] in results[-1][2]["choices"]
    write_encoder(panel.folder / "ipadapter" / "encoder.safetensors")
    assert panel.files.ALL_THERE in panel.files._sentence()
    assert "already" in pressed(parts, parts["Dropdown"].value)[-1][0]
    assert path.is_file()


def test_one_button_downloads_all_missing_files(panel: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = build(panel)
    act, _, outputs = parts["buttons"]["Download all that is missing"].events["click"]
    assert outputs[2] is parts["Dropdown"]
    small = replace(panel.files.KNOWN[0], name=ENCODER.name, encoder="", gives=(("plus", 1),))
    monkeypatch.setattr(known_files, "KNOWN", (panel.files.KNOWN[0], small))
    results = list(act())
    assert all((panel.folder / "ipadapter" / file.name).is_file() for file in (FIRST_ADAPTER, small))
    assert small.name in results[-1][0]

    hint = panel.webui("lib_anyms.webui.ui.model_hint")
    (panel.folder / "ipadapter" / FIRST_ADAPTER.name).unlink()
    (panel.folder / "ipadapter" / small.name).unlink()
    assert hint.shown("auto", "auto")[2] == '{"count": 2, "size": "0.0 GB"}'
    panel.server.behaviours = ["status 404"]
    assert "404" in list(act())[-1][0]
    assert len(panel.server.behaviours) == 0  # the second file was not begun


def test_progress_is_shown_in_between(panel: SimpleNamespace) -> None:
    panel.server.behaviours = [f"slow {len(panel.server.content) // 8}"]
    parts = build(panel)
    shown = [progress for progress, *_ in pressed(parts, parts["Dropdown"].value)]
    assert any("<progress" in text for text in shown[:-1])
    assert "<progress" not in shown[-1]


def test_a_failure_is_one_sentence(panel: SimpleNamespace) -> None:
    parts = build(panel)
    panel.server.behaviours = ["wrong", "status 404"]
    assert "is not the known file" in pressed(parts, parts["Dropdown"].value)[-1][0]
    assert "404" in pressed(parts, parts["Dropdown"].value)[-1][0]
    panel.state.job = "task"
    assert "is not downloaded while an image is generating" in pressed(parts, parts["Dropdown"].value)[-1][0]
    for label in ("", "../x", "<b>", KNOWN[0].address()):
        assert "AnyMS cannot download" in pressed(parts, label)[-1][0]
    assert "<b>" not in pressed(parts, "<b>")[-1][0]
    assert not (panel.folder / "ipadapter").exists() or list((panel.folder / "ipadapter").iterdir()) == []


def test_without_gradio_s_queue_the_button_starts_it_and_shows_it_when_pressed_again(panel: SimpleNamespace) -> None:
    options = panel.webui("modules.shared").cmd_opts
    options.no_gradio_queue = True
    try:
        parts = build(panel)
    finally:
        del options.no_gradio_queue
    panel.server.behaviours = ["stall 1000"]
    act = parts["buttons"]["Download"].events["click"][0]
    for _ in range(2):
        assert "<progress" in act(parts["Dropdown"].value)[0]
    panel.server.released.set()
    panel.files.downloads.wait(10)
    assert panel.server.ranges[0] is None
    assert (panel.folder / "ipadapter" / KNOWN[0].name).is_file()


def test_stop_ends_it(panel: SimpleNamespace) -> None:
    panel.server.behaviours = ["stall 1000"]
    parts = build(panel)
    act, _, _ = parts["buttons"]["Download"].events["click"]
    progress = act(parts["Dropdown"].value)
    next(progress)
    panel.server.released.set()
    assert "stopped at" in parts["buttons"]["Stop"].events["click"][0]() or "stopped at" in list(progress)[-1][0]


def test_a_file_without_a_known_hash_is_not_listed(panel: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel.files, "KNOWN", (replace(KNOWN[0], sha256=""), *KNOWN[1:]))
    assert panel.files._offered() == [*KNOWN[1:]]

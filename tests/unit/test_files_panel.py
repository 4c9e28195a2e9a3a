"""The panel's part "model files": the sentence, the button, the progress, and the settings behind them."""

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
    """The part, on a page of its own, whose adapter is a small one of a server of ours."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    small = write_adapter(tmp_path / "small", tiny_unet()).read_bytes()
    with file_server(small) as server, fake_webui(tmp_path / "models") as webui:
        files = webui("lib_anyms.webui.ui.files")
        row = replace(KNOWN[0], size=len(small), sha256=hashlib.sha256(small).hexdigest())
        fits = [replace(each, gives=(("base", PROJECTION),)) if each is ENCODER else each for each in KNOWN[1:]]
        for module in (known_files, files):
            monkeypatch.setattr(module, "KNOWN", (row, *fits))
        for module in (files, model_files):
            monkeypatch.setattr(module, "FIRST_ADAPTER", row)
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
    """Its components by their class, and the accordion."""
    gradio = panel.webui("gradio")
    gradio.MADE.clear()
    panel.files.element(lambda name: name)
    made = {type(each).__name__: each for each in gradio.MADE}
    made["buttons"] = {each.value: each for each in gradio.MADE if type(each).__name__ == "Button"}
    return made


def pressed(made: dict[str, Any], label: str) -> list[tuple[str, str, dict[str, Any]]]:
    act, inputs, outputs = made["buttons"]["Download"].events["click"]
    assert inputs == outputs[2:] == [made["Dropdown"]]
    return list(act(label))


def test_nothing_is_fetched_by_the_page_alone(panel: SimpleNamespace) -> None:
    build(panel)
    assert panel.server.asked == []
    assert not panel.folder.exists()


def test_the_button_fetches_what_is_missing_and_the_next_job_finds_it(panel: SimpleNamespace) -> None:
    made = build(panel)
    assert made["Dropdown"].value.startswith("ip-adapter-plus_sdxl_vit-h.safetensors")
    assert "No IP-Adapter for SDXL was found" in panel.files._sentence()
    assert "Apache-2.0" in panel.files._sentence()
    told = pressed(made, made["Dropdown"].value)
    path = panel.folder / "ipadapter" / "ip-adapter-plus_sdxl_vit-h.safetensors"
    assert path.is_file()
    assert "SHA-256 is right" in told[-1][0]
    assert [update.get("value") for *_, update in told[:-1]] == [None] * (len(told) - 1)
    assert "No image encoder" in told[-1][1]  # what lacks next, and the list has it chosen
    assert told[-1][2]["value"].startswith(ENCODER.name)
    assert told[-1][2]["value"] in told[-1][2]["choices"]
    write_encoder(panel.folder / "ipadapter" / "encoder.safetensors")
    assert panel.files.ALL_THERE in panel.files._sentence()
    assert "already" in pressed(made, made["Dropdown"].value)[-1][0]
    assert path.is_file()


def test_progress_is_shown_in_between(panel: SimpleNamespace) -> None:
    panel.server.behaviours = [f"slow {len(panel.server.content) // 8}"]
    made = build(panel)
    told = [progress for progress, *_ in pressed(made, made["Dropdown"].value)]
    assert any("<progress" in each for each in told[:-1])
    assert "<progress" not in told[-1]


def test_what_goes_wrong_is_one_sentence(panel: SimpleNamespace) -> None:
    made = build(panel)
    panel.server.behaviours = ["wrong", "status 404"]
    assert "is another file" in pressed(made, made["Dropdown"].value)[-1][0]
    assert "404" in pressed(made, made["Dropdown"].value)[-1][0]
    panel.state.job = "task"
    assert "a picture is being made" in pressed(made, made["Dropdown"].value)[-1][0]
    for label in ("", "../x", "<b>", KNOWN[0].address()):
        assert "is no file AnyMS can fetch" in pressed(made, label)[-1][0]
    assert "<b>" not in pressed(made, "<b>")[-1][0]
    assert not (panel.folder / "ipadapter").exists() or list((panel.folder / "ipadapter").iterdir()) == []


def test_without_gradio_s_queue_the_button_begins_it_and_shows_it_when_pressed_again(panel: SimpleNamespace) -> None:
    options = panel.webui("modules.shared").cmd_opts
    options.no_gradio_queue = True
    try:
        made = build(panel)
    finally:
        del options.no_gradio_queue
    panel.server.behaviours = ["stall 1000"]
    act = made["buttons"]["Download"].events["click"][0]
    for _ in range(2):
        assert "<progress" in act(made["Dropdown"].value)[0]
    panel.server.released.set()
    panel.files.downloads.wait(10)
    assert panel.server.asked[0] is None
    assert (panel.folder / "ipadapter" / KNOWN[0].name).is_file()


def test_stop_ends_it(panel: SimpleNamespace) -> None:
    panel.server.behaviours = ["stall 1000"]
    made = build(panel)
    act, _, _ = made["buttons"]["Download"].events["click"]
    told = act(made["Dropdown"].value)
    next(told)
    panel.server.released.set()
    assert "stopped at" in made["buttons"]["Stop"].events["click"][0]() or "stopped at" in list(told)[-1][0]


def test_a_row_without_a_traced_hash_is_not_listed(panel: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel.files, "KNOWN", (replace(KNOWN[0], sha256=""), *KNOWN[1:]))
    assert panel.files._offered() == [*KNOWN[1:]]

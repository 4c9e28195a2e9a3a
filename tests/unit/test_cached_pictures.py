"""Pictures that come back with an infotext: what the page gets, who may load them, and when none are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib_anyms.job import infotext
from lib_anyms.job.request import Request, picture_hash
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.unit.test_page import BLUE, RED, Page, encoded, fill_both, held
from tests.unit.test_web_api import API, App, accounts, basic


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    with fake_webui(tmp_path) as loaded:
        loaded("modules.paths").data_path = str(tmp_path / "data")
        loaded("lib_anyms.webui.ui.settings").register(loaded("lib_anyms.webui.ui.cached_pictures").settings_changed)
        yield loaded


@pytest.fixture
def page(webui: FakeWebUI) -> Page:
    return Page(webui)


def generated(page: Page) -> Request:
    """The request of a job of the page, whose pictures are cached."""
    fill_both(page)
    return page.webui("lib_anyms.webui.ui.cached_pictures").remember(page.request())


def test_a_pasted_infotext_brings_its_pictures_back(page: Page) -> None:
    request = generated(page)
    fresh = Page(page.webui)
    assert fresh.paste({"AnyMS": infotext.write(request)}) == ""
    assert fresh.request() == request


def test_several_pictures_come_back_in_their_order_and_a_missing_one_is_named(page: Page) -> None:
    page.fill(
        enabled=True, slot1_pictures=held(RED, BLUE), slot1_name="cat", slot2_pictures=held(BLUE), slot2_name="dog"
    )
    request = page.webui("lib_anyms.webui.ui.cached_pictures").remember(page.request())
    fresh = Page(page.webui)
    assert fresh.paste({"AnyMS": infotext.write(request)}) == ""
    assert fresh.request() == request
    cache = page.webui("lib_anyms.webui.ui.cached_pictures").store()
    (cache.folder / f"{picture_hash(RED)}.png").unlink()
    lacking = Page(page.webui)
    note = lacking.paste({"AnyMS": infotext.write(request)})
    assert note.endswith("are missing. Add again that of: cat (1 of 2 pictures).")
    assert lacking.by_name["slot1_pictures"].value.count("data:") == 1


def test_pictures_on_the_page_are_taken_from_any_slot(page: Page) -> None:
    fill_both(page)
    request = page.request()  # not generated, so nothing is cached
    assert request.layout.subjects[0].name == "<dog>"
    note = page.paste({"AnyMS": infotext.write(request)})
    assert note == ""
    assert page.request() == request


def restored(page: Page, parameters: Any) -> str:
    """Open an image with this infotext in the editor -> the note."""
    fn, inputs, outputs = page.panel_events["opened"]
    content = json.dumps({"number": 1, "parameters": parameters})
    updates = fn(content, *(component.value for component in inputs[1:]))
    for component, change in zip(outputs, updates, strict=True):
        component.value = change.get("value", component.value) if isinstance(change, dict) else change
    return outputs[0].value


def test_an_image_of_anyms_opened_in_the_editor_restores_everything(page: Page) -> None:
    request = generated(page)
    quoted = json.dumps(infotext.write(request), ensure_ascii=False)  # as the hosts write a value with commas
    parameters = (
        f'AnyMS: "no entry", a cat\nNegative prompt: dog\nSteps: 4, Sampler: Euler a, AnyMS: {quoted}, Version: v1.10.1'
    )
    fresh = Page(page.webui)
    assert restored(fresh, parameters) == ""
    assert fresh.request() == request
    assert fresh.by_name["enabled"].value is True


@pytest.mark.parametrize("parameters", ["a cat\nSteps: 3", "", None, 5, 'Steps: 3, AnyMS: "{'])
def test_an_image_without_anyms_is_one_sentence_and_changes_nothing(page: Page, parameters: Any) -> None:
    fill_both(page)
    before = page.values
    assert restored(page, parameters).startswith("AnyMS: this image has no AnyMS entry")
    assert page.values == before


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ({}, True),
        ({"listen": True}, False),
        ({"share": True}, False),
        ({"ngrok": "token"}, False),
        ({"server_name": "0.0.0.0"}, False),
        ({"server_name": "127.0.0.1"}, True),
        ({"listen": True, "gradio_auth": "ann:pw"}, True),
        ({"share": True, "gradio_auth_path": "file"}, True),
        ({"listen": True, "api_auth": "bob:pw"}, False),  # the page stays open to all
        ({"listen": True, "nowebui": True, "api_auth": "bob:pw"}, True),
    ],
)
def test_by_default_nothing_is_kept_where_strangers_may_look(page: Page, flags: dict[str, Any], kept: bool) -> None:
    accounts(page.webui, **flags)
    request = generated(page)
    cached, name = page.webui("lib_anyms.webui.ui.cached_pictures"), picture_hash(request.pictures[0][0])
    assert (cached.address(name) is not None) == kept
    page.webui("modules.shared").opts.set("anyms_keep", "always")
    generated(page)
    assert cached.address(name)


def test_never_empties_the_cache_at_once(page: Page) -> None:
    generated(page)
    folder = page.webui("lib_anyms.webui.ui.cached_pictures").store().folder
    assert len([*folder.iterdir()]) == 2
    page.webui("modules.shared").opts.set("anyms_keep", "never")
    assert [*folder.iterdir()] == []
    generated(page)
    assert [*folder.iterdir()] == []


def test_the_setting_bounds_the_cache(page: Page) -> None:
    page.webui("modules.shared").opts.anyms_kept_mib = 16
    assert page.webui("lib_anyms.webui.ui.cached_pictures").store().limit == 16 * 2**20


def test_without_infotext_nothing_is_kept(page: Page) -> None:
    page.webui("modules.shared").opts.anyms_infotext = False
    generated(page)
    assert not page.webui("lib_anyms.webui.ui.cached_pictures").store().folder.exists()


def test_a_full_disk_does_not_stop_a_job(
    page: Page, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib_anyms.webui.picture_cache.os.replace", full)
    assert generated(page).active
    assert "could not be kept" in caplog.text


def test_a_cached_picture_is_served_only_with_the_host_s_login(page: Page) -> None:
    request = generated(page)
    name = picture_hash(request.pictures[0][0])
    accounts(page.webui, api_auth="bob:pw")
    api = API(page.webui, App())
    assert api.get("pictures/{name}", name=name) == 401
    answer = api.get("pictures/{name}", basic("bob:pw"), name=name)
    assert (answer.media_type, answer.headers["Cache-Control"]) == ("image/png", "private, no-store")
    assert encoded(request.pictures[0][0])[:20] == encoded(RED)[:20]
    assert answer.content.startswith(b"\x89PNG")
    for wrong in ("0" * 12, "../" + name, name.upper()):
        with pytest.raises(api.refusal) as refusal:
            api.get("pictures/{name}", basic("bob:pw"), name=wrong)
        assert refusal.value.status_code == 404

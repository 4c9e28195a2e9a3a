"""Cards on the page and in the API, without a browser: save, list, put into a slot, send, restore from an infotext."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lib_anyms.cards.address import card_of
from lib_anyms.cards.card import read_card, write_card
from lib_anyms.cards.kept_pictures import BLANK, open_kept
from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.tiny_unet import tiny_unet
from tests.unit.test_cards import card_bytes, encoding


class Panel:
    """The accordion with its cards."""

    def __init__(self, webui: FakeWebUI) -> None:
        self.panel = webui("lib_anyms.webui.ui.panel")
        webui("gradio").COMPONENTS.clear()
        self.built = self.panel.build(lambda name: name)
        self.by_label = {component.label: component for component in webui("gradio").COMPONENTS if component.label}
        self.buttons = {component.value: component for component in webui("gradio").COMPONENTS if component.value}

    def do(self, component: Any, event: str, **changed: Any) -> list[Any]:
        """Run the function of an event; its outputs take the values."""
        function, inputs, outputs = component.events[event]
        values = function(*(component.value for component in inputs))
        values = list(values) if isinstance(values, (list, tuple)) else [values]
        for output, value in zip(outputs, values, strict=True):
            output.value = value.get("value", output.value) if isinstance(value, dict) else value
        return [output.value for output in outputs]

    def save(self) -> list[Any]:
        return self.do(self.buttons["Save subject as card"], "click")

    def press(self, file: str, as_: str = "card", slot: int = 1) -> str:
        self.by_label["card of subject"].value = str(slot)
        self.by_label["card"].value = json.dumps({"file": file, "as": as_, "count": 1})
        return self.do(self.by_label["card"], "change")[0]

    def request(self) -> Request:
        self.built.components[1].value = True
        return self.panel.page_request([component.value for component in self.built.components])

    def pictures(self, slot: int) -> list[str]:
        return json.loads(self.by_label[f"pictures {slot}"].value or "[]")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("ipadapter", "clip_vision"):
        (tmp_path / name).mkdir()
    write_adapter(tmp_path / "ipadapter" / "adapter.safetensors", tiny_unet())
    write_encoder(tmp_path / "clip_vision" / "encoder.safetensors")
    return tmp_path


@pytest.fixture
def webui(models: Path) -> Iterator[FakeWebUI]:
    with fake_webui(models) as loaded:
        model = SimpleNamespace(model=SimpleNamespace(diffusion_model=tiny_unet()))
        loaded("modules.sd_models").model_data.sd_model = model
        yield loaded


def red(tmp_path: Path) -> str:
    Image.new("RGB", (9, 6), "red").save(tmp_path / "red.png")
    return base64.b64encode((tmp_path / "red.png").read_bytes()).decode()


def test_a_subject_is_saved_and_put_into_another_slot(webui: FakeWebUI, models: Path) -> None:
    page = Panel(webui)
    assert any("There are no cards yet" in str(text) for text in page.buttons)
    page.by_label["pictures 1"].value = json.dumps([red(models)])
    page.by_label["Name 1"].value = "red ball"
    message, shown = page.save()
    assert message == "<p>Saved as red-ball.safetensors in anyms-cards.</p>"
    assert 'data-card="red-ball.safetensors"' in shown
    assert 'data-as="pictures"' in shown
    card = read_card((models / "anyms-cards" / "red-ball.safetensors").read_bytes(), "")
    assert page.press("red-ball.safetensors", slot=2) == "<p>Subject 2 is now red ball.</p>"
    assert page.by_label["Name 2"].value == "red ball"
    assert page.by_label["role 2"].value == "subject"
    (address,) = page.pictures(2)
    assert card_of(address) == card.hash
    request = page.request()
    assert [used.hash if used else None for used in sorted(request.cards, key=bool)] == [None, card.hash]
    message, _ = page.save()
    assert "is a card already" in message  # slot 2 is selected
    assert page.press("red-ball.safetensors", "pictures", slot=2).startswith("<p>Subject 2")
    assert [card_of(picture) for picture in page.pictures(2)] == [""]
    assert page.request().cards == (None, None)


def test_a_card_brings_its_prompts_into_empty_fields_and_shows_them_beside_others(
    webui: FakeWebUI, models: Path
) -> None:
    page = Panel(webui)
    page.by_label["pictures 1"].value = json.dumps([red(models)])
    page.by_label["Name 1"].value = "ball"
    page.by_label["Own prompt 1"].value = "a <b>red</b> ball"
    page.by_label["Avoid 1"].value = "blur"
    page.save()
    card = read_card((models / "anyms-cards" / "ball.safetensors").read_bytes(), "")
    assert (card.prompt, card.avoid) == ("a <b>red</b> ball", "blur")
    assert page.press("ball.safetensors", slot=2) == "<p>Subject 2 is now ball.</p>"
    assert (page.by_label["Own prompt 2"].value, page.by_label["Avoid 2"].value) == ("a <b>red</b> ball", "blur")
    assert {(one.prompt, one.avoid) for one in page.request().layout.subjects} == {(card.prompt, card.avoid)}
    page.by_label["Own prompt 2"].value = "a blue ball"
    message = page.press("ball.safetensors", slot=2)
    assert page.by_label["Own prompt 2"].value == "a blue ball"  # the user's words stay
    assert "The slot keeps its prompt" in message
    assert "a &lt;b&gt;red&lt;/b&gt; ball" in message


@pytest.mark.parametrize("text", ["a ball <lora:fur:1>", "a ball AND a box"])
def test_prompts_that_would_be_refused_are_not_saved(webui: FakeWebUI, models: Path, text: str) -> None:
    page = Panel(webui)
    page.by_label["pictures 1"].value = json.dumps([red(models)])
    page.by_label["Own prompt 1"].value = text
    assert "into the main prompt" in page.save()[0]
    assert not (models / "anyms-cards").exists()


def test_a_slot_that_has_a_card_and_a_picture_is_refused(webui: FakeWebUI, models: Path) -> None:
    (models / "anyms-cards").mkdir()
    (models / "anyms-cards" / "fox.safetensors").write_bytes(card_bytes())
    page = Panel(webui)
    page.press("fox.safetensors")
    both = [*page.pictures(1), red(models)]
    for order in (both, both[::-1], both[:1] * 2):
        page.by_label["pictures 1"].value = json.dumps(order)
        with pytest.raises(Exception, match="has a card and pictures"):
            page.request()


def test_names_are_shown_as_text_and_a_missing_card_is_one_sentence(webui: FakeWebUI, models: Path) -> None:
    (models / "anyms-cards").mkdir()
    (models / "anyms-cards" / "a'b.safetensors").write_bytes(card_bytes('<img src=x onerror="x">'))
    (models / "anyms-cards" / "bare.safetensors").write_bytes(write_card("bare", "background", [encoding()], []))
    page = Panel(webui)
    shown = page.do(page.by_label["find a card"], "change")[0]
    assert "<img src=x" not in shown
    assert "&lt;img src=x onerror=&quot;" in shown
    page.by_label["find a card"].value = "BACKGROUND"
    shown = page.do(page.by_label["find a card"], "change")[0]
    assert "bare" in shown
    assert "onerror" not in shown
    assert "There is" not in page.press("bare.safetensors")
    assert page.by_label["role 1"].value == "background"
    assert open_kept(BLANK, "").size == (8, 8)
    for file, as_ in (("../x", "card"), ("no", "card"), ("bare.safetensors", "pictures")):
        assert page.press(file, as_).startswith("<p>AnyMS: ")
    page.by_label["card"].value = "{"
    page.do(page.by_label["card"], "change")


def test_an_infotext_brings_the_card_back_from_the_library_or_names_it(webui: FakeWebUI, models: Path) -> None:
    library = webui("lib_anyms.hosts.webui").card_library()
    file = library.add(card_bytes("fox"))
    page = Panel(webui)
    page.press(file)
    text = infotext.write(page.request())
    paste = webui("lib_anyms.webui.ui.paste")
    arrived = paste.arrived({infotext.NAME: text})
    texts = [""] * 12
    note, first, *_ = paste.compare(arrived, *texts)
    assert not note["value"]
    assert json.loads(first["value"]) == page.pictures(1)
    (library.folder / file).unlink()
    note, *_ = paste.compare(arrived, *texts)
    assert "fox" in note["value"]
    note, first, *_ = paste.compare(arrived, page.by_label["pictures 1"].value, *texts[1:])
    assert "value" not in first  # the card is on the page already


def test_the_api_lists_and_saves(webui: FakeWebUI, models: Path) -> None:
    api = webui("lib_anyms.webui.web_api")
    assert api.list_cards() == []
    subject = {"name": "ball", "images": [red(models)], "prompt": "a red ball"}
    assert api.save_card({"subjects": [subject]}) == {"file": "ball.safetensors"}
    (entry,) = api.list_cards("ball")
    assert (entry["name"], entry["role"], len(entry["adapters"])) == ("ball", "subject", 1)
    assert (entry["prompt"], entry["avoid"]) == ("a red ball", "")
    assert api.list_cards("fox") == []
    assert str(models) not in json.dumps(entry)
    with pytest.raises(webui("fastapi").HTTPException, match="AnyMS: the request has 2 subjects") as refusal:
        api.save_card({"subjects": [subject] * 2})
    assert refusal.value.status_code == 422
    webui("modules.shared").opts.anyms_cards = str(models / "elsewhere")
    assert api.list_cards() == []

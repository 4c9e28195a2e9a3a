"""Files from an earlier version keep their meaning: requests, infotexts, cards, layouts, settings, page fields.

artefacts/README.md says how they were written.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib_anyms.cards.card import Card
from lib_anyms.cards.fingerprint import fingerprint
from lib_anyms.cards.library import Library, read_file
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.job import infotext
from lib_anyms.job.request import Request, picture_hash
from lib_anyms.job.schema import request_schema
from lib_anyms.layout.layout import Layout
from lib_anyms.webui import picture_cache
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.unit.test_javascript import node

__all__ = ["node"]  # a fixture

ARTEFACTS = Path(__file__).parent / "artefacts"
MODEL = Path(__file__).parents[2] / "javascript" / "anyms" / "model"  # the page's code that needs no page
REQUESTS = ("least", "every-field", "cards", "off", "mode-off", "twelve")
CARDS = ("red-fox", "hat")
FOX, CUT_FOX, HAT, SEA = "464862c33d0d", "24fd7aeddbff", "58ce00545f10", "a8cd4a93e550"  # picture hashes
ODD_NAME = 'a "fox", grey: quick\nand\\sly 狐 🦊 <b>'
DEFAULTS = {"role": "subject", "weight": 1.0, "start": 0.0, "end": 1.0, "blocks": "all"}
ODD_FOX = {"name": ODD_NAME, **DEFAULTS, "box": [0.125, 0.25, 0.75, 1], "weight": 1.25, "start": 0.1, "end": 0.8}
ODD_FOX["blocks"] = "style"
SEA_SUBJECT = {"name": "sea", **DEFAULTS, "box": [0, 0, 1, 1], "role": "background"}
HAT_SUBJECT = {"name": "hat", **DEFAULTS, "box": [0.4, 0.1, 0.6, 0.3], "role": "attribute", "weight": 0.0, "end": 0.5}
HAT_SUBJECT["blocks"] = "composition"
SETTINGS = {
    "enabled": True,
    "scale": 0.35,
    "mode": "masked-sum",
    "adapter": "tiny-adapter.safetensors",
    "encoder": "tiny, encoder.safetensors",
    "unconditional": "cond-only",
    "fit": "crop",
    "combine": "concatenate",
}


def load(name: str) -> Any:
    return json.loads((ARTEFACTS / name).read_text(encoding="utf-8"))


def read_request(name: str) -> Request:
    return Request.from_json(load(f"requests/{name}.json"), Library(ARTEFACTS / "cards"))


def subjects(layout: Layout | None) -> list[dict[str, Any]]:
    assert layout is not None
    return layout.to_json()["subjects"]


def assert_contains(value: Any, expected: Any) -> None:
    """`value` equals `expected`, except that its objects may have more keys: later versions may add fields."""
    if isinstance(expected, dict):
        for key, part in expected.items():
            assert_contains(value[key], part)
    elif isinstance(expected, list):
        assert len(value) == len(expected)
        for one, other in zip(value, expected):
            assert_contains(one, other)
    else:
        assert value == expected


# -- API requests -----------------------------------------------------------------------------------------------------


def test_every_field_of_a_request_has_its_value() -> None:
    request = read_request("every-field")
    assert {name: getattr(request, name) for name in SETTINGS} == SETTINGS
    assert_contains(subjects(request.layout), [SEA_SUBJECT, ODD_FOX, HAT_SUBJECT])
    hashes = [[picture_hash(picture) for picture in pictures] for pictures in request.pictures]
    assert hashes == [[SEA], [FOX, CUT_FOX], [HAT]]
    masked = request.pictures[1][1]  # the mask removes the left 6 columns, then the crop keeps the right 18 columns
    assert masked.size == (18, 9)
    assert masked.getpixel((5, 8)) == (255, 165, 0)


def test_the_least_request_has_the_defaults() -> None:
    request = read_request("least")
    assert (request.scale, request.mode, request.adapter, request.encoder) == (0.6, "crop-merge", "auto", "auto")
    assert (request.unconditional, request.fit, request.combine) == ("trained", "pad", "average")
    assert_contains(subjects(request.layout), [{"name": "fox", **DEFAULTS, "box": [0.1, 0.2, 0.5, 0.9]}])
    assert request.active
    assert not read_request("off").active
    assert not read_request("mode-off").active


def test_a_request_with_cards_finds_them_by_content_name_and_hash() -> None:
    request = read_request("cards")
    hashes = [card.hash if isinstance(card, Card) else None for card in request.cards]
    assert hashes == ["bd8ce14be63b", "bd8ce14be63b", "324938f64935", None]
    assert [subject["name"] for subject in subjects(request.layout)] == ["fox", "subject 2", "hat", "sea"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_writes_the_same_infotext(name: str) -> None:
    assert_contains(read_request(name).to_json(), json.loads(load("infotext-entries.json")[name]))


def test_the_schema_still_knows_every_field() -> None:
    request, schema = load("requests/every-field.json"), request_schema()["properties"]
    assert request.keys() <= schema.keys()
    known = schema["subjects"]["items"]["properties"].keys()
    assert {key for subject in request["subjects"] for key in subject} <= known


# -- infotexts --------------------------------------------------------------------------------------------------------


def test_an_infotext_with_an_odd_name_is_read_from_the_whole_text() -> None:
    text = load("infotexts.json")["every-field"]
    recalled = infotext.read(infotext.entries(text)["AnyMS"])
    assert_contains(recalled.settings, SETTINGS)
    assert_contains(subjects(Layout(recalled.subjects)), [SEA_SUBJECT, ODD_FOX, HAT_SUBJECT])
    assert recalled.pictures == ((SEA,), (FOX, CUT_FOX), (HAT,))
    assert not any(recalled.cards)


def test_an_infotext_with_cards_keeps_their_hashes() -> None:
    recalled = infotext.read(infotext.entries(load("infotexts.json")["cards"])["AnyMS"])
    assert recalled.cards == ("bd8ce14be63b", "bd8ce14be63b", "324938f64935", "")
    assert recalled.pictures == ((), (), (), (SEA,))
    assert recalled.settings["scale"] == 1.0


def test_an_infotext_whose_entry_comes_first_is_read() -> None:
    recalled = infotext.read(infotext.entries(load("infotexts.json")["least"])["AnyMS"])
    assert [subject.name for subject in recalled.subjects] == ["fox"]


def test_infotexts_without_an_entry_have_none() -> None:
    texts = load("infotexts.json")
    assert infotext.entries(texts["none"]) == {}
    assert infotext.NAME not in infotext.entries(texts["skipped"])
    assert infotext.SKIPPED in texts["skipped"]


@pytest.mark.parametrize("name", ["least", "every-field", "cards", "twelve", "mode-off"])
def test_a_line_is_the_request_that_was_written_as_json(name: str) -> None:
    """With the defaults of then: a line leaves them out."""
    text = load("infotext-lines.json")[name]
    recalled = infotext.read(infotext.entries(text)["AnyMS"])
    assert_contains(recalled.to_json(), json.loads(load("infotext-entries.json")[name]))
    assert infotext.read(infotext.write(read_request(name))) == recalled


def test_a_line_by_hand_keeps_its_meaning() -> None:
    recalled = infotext.read(infotext.entries(load("infotext-lines.json")["by-hand"])["AnyMS"])
    sea, fox = subjects(Layout(recalled.subjects))
    assert_contains(sea, {**SEA_SUBJECT, "name": "the sea"})
    expected = {**DEFAULTS, "name": "girl's fox", "box": [0.1, 0.2, 0.5, 0.9], "weight": 1.5}
    assert_contains(fox, {**expected, "prompt": "a fox's tail; soft"})
    assert recalled.pictures == ((), (FOX,))
    assert (recalled.settings["scale"], recalled.settings["mode"]) == (0.35, "masked-sum")


def test_a_png_carries_its_infotext() -> None:
    with Image.open(ARTEFACTS / "picture.png") as picture:
        parameters = picture.info["parameters"]
    assert parameters == load("infotexts.json")["every-field"]
    assert infotext.read(infotext.entries(parameters)["AnyMS"]).subjects[1].name == ODD_NAME


# -- cards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CARDS)
def test_a_card_keeps_its_values(name: str) -> None:
    card, facts = read_file(ARTEFACTS / "cards" / f"{name}.safetensors"), load("cards/facts.json")[name]
    assert (card.name, card.role, card.hash) == (facts["name"], facts["role"], facts["hash"])
    encoding = card.encodings[0]
    for key in ("adapter", "file", "kind", "fit", "combine"):
        assert getattr(encoding, key) == facts[key]
    assert str(encoding.tokens.dtype) == facts["dtype"]
    for tensor, (shape, corners) in ((encoding.tokens, facts["tokens"]), (encoding.uncond, facts["unconditional"])):
        assert list(tensor.shape) == shape
        assert tensor.float()[[0, -1], [0, -1]].tolist() == pytest.approx(corners, abs=1e-4)
    assert [list(card.picture(number).size) for number in range(len(card.pictures))] == facts["pictures"]


@pytest.mark.parametrize("name", CARDS)
def test_a_card_still_fits_its_adapter(name: str) -> None:
    adapter = read_adapter(ARTEFACTS / "models" / "tiny-adapter.safetensors")
    card = read_file(ARTEFACTS / "cards" / f"{name}.safetensors")
    assert card.fits(adapter, fingerprint(adapter))


# -- layout files and saved layouts -----------------------------------------------------------------------------------


def test_layout_files_keep_their_subjects() -> None:
    hat = {"name": "subject 3", "box": [0.3438, 0.0937, 0.5938, 0.3125], "role": "attribute", "weight": 0.05}
    assert_contains(subjects(Layout.from_json(load("layouts/page.json"))), [SEA_SUBJECT, ODD_FOX, hat])
    assert_contains(subjects(Layout.from_json(load("layouts/python.json"))), [SEA_SUBJECT, ODD_FOX, HAT_SUBJECT])
    command_line = subjects(Layout.from_json(load("layouts/command-line.json")))
    assert [subject["name"] for subject in command_line] == ["mushroom", "fish", "cat"]
    assert command_line[2]["box"] == [0.26, 0.5, 0.68, 0.94]


def run_module(node: str, folder: Path, name: str, function: str, file: Path, as_text: bool = True) -> Any:
    """The result of one function of the page's model, called with a file's content."""
    script = folder / "read.mjs"
    arguments = [str(file), "utf-8"] if as_text else [str(file)]
    content = f"readFileSync({', '.join(map(json.dumps, arguments))})"
    lines = (
        'import { readFileSync } from "node:fs";',
        f"import {{ {function} }} from {json.dumps((MODEL / name).as_uri())};",
        f"console.log(JSON.stringify({function}({content})));",
    )
    script.write_text("\n".join(lines), encoding="utf-8")
    return json.loads(subprocess.run([node, str(script)], check=True, capture_output=True, encoding="utf-8").stdout)


def test_saved_layouts_keep_their_boxes(node: str, tmp_path: Path) -> None:
    saved = run_module(node, tmp_path, "saved-layouts.mjs", "readPresets", ARTEFACTS / "saved-layouts.json")
    assert saved == {
        "two friends": [[0.05, 0.15, 0.48, 0.95], [0.52, 0.15, 0.95, 0.95]],
        'a "trio", 猫': [[0, 0, 1, 1], [0.1, 0.5, 0.4, 0.9375], [0.6, 0.5, 0.9, 0.9375]],
    }
    browser = (MODEL.parent / "view" / "saved-list.mjs").read_text(encoding="utf-8")
    assert '"anyms-arrangements"' in browser  # the key in localStorage


def test_the_page_reads_its_layout_file(node: str, tmp_path: Path) -> None:
    layout = run_module(node, tmp_path, "exchange.mjs", "readLayout", ARTEFACTS / "layouts" / "page.json")
    assert_contains(layout[:2], [SEA_SUBJECT, ODD_FOX])
    assert (layout[2]["name"], layout[2]["weight"], layout[2]["end"]) == ("subject 3", 0.05, 0.5)


def test_the_page_reads_the_infotext_of_a_png(node: str, tmp_path: Path) -> None:
    text = run_module(node, tmp_path, "png.mjs", "infotextOf", ARTEFACTS / "picture.png", as_text=False)
    assert text == load("infotexts.json")["every-field"]


# -- the WebUI's page -------------------------------------------------------------------------------------------------


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    shutil.copytree(ARTEFACTS / "models", tmp_path / "ipadapter")
    with fake_webui(tmp_path) as loaded:
        yield loaded


def test_settings_keep_their_keys_and_defaults(webui: FakeWebUI) -> None:
    webui("lib_anyms.webui.ui.settings").register(lambda: None)
    options = webui("modules.shared").opts.data_labels
    for key, facts in load("settings.json").items():
        assert options[key].default == facts["default"]


def test_axes_keep_their_labels_kinds_and_choices(webui: FakeWebUI) -> None:
    axes = {axis.label: axis for axis in webui("lib_anyms.webui.ui.axes").AXES}
    for facts in load("axes.json"):
        axis = axes[facts["label"]]
        assert type(axis.field.default).__name__ == facts["kind"]
        if facts["choices"]:
            assert set(facts["choices"]) <= set(axis.choices())


def test_the_form_keeps_its_fields(webui: FakeWebUI) -> None:
    page, slots = load("page.json"), webui("lib_anyms.webui.ui.slots")
    built = webui("lib_anyms.webui.ui.panel").build(lambda name: f"anyms_{name}")
    names = [target.name for _, target in built.infotext_fields]
    assert set(page["fields"]) <= set(names)
    assert tuple(page["order_words"]) == (slots.PROPOSED, slots.AS_NUMBERED)
    assert slots.SLOT_VALUES[: len(page["slot_values"])] == tuple(page["slot_values"])
    assert slots.SETTINGS[: len(page["settings"])] == tuple(page["settings"])


def test_pasting_an_infotext_fills_the_form(webui: FakeWebUI) -> None:
    built = webui("lib_anyms.webui.ui.panel").build(lambda name: f"anyms_{name}")
    entry = infotext.entries(load("infotexts.json")["every-field"])
    values = {target.name: target(entry) for _, target in built.infotext_fields}
    assert (values["scale"], values["mode"], values["combine"]) == (0.35, "masked-sum", "concatenate")
    assert (values["slot2_name"], values["slot2_weight"], values["slot2_y1"]) == (ODD_NAME, 1.25, 1.0)
    assert (values["slot3_role"], values["slot3_blocks"]) == ("attribute", "composition")


def test_the_api_keeps_its_addresses(webui: FakeWebUI) -> None:
    routes: list[list[str]] = []

    class App:
        def add_api_route(self, path: str, _answer: Any, methods: list[str], **_more: Any) -> None:
            routes.extend([method, path] for method in methods)

    webui("lib_anyms.webui.web_api").register(None, App())
    for route in load("addresses.json"):
        assert route in routes


def test_the_picture_cache_finds_its_files(tmp_path: Path) -> None:
    shutil.copytree(ARTEFACTS / "picture-cache", tmp_path / "pictures")
    cache = picture_cache.PictureStore(tmp_path / "pictures", 2**20)
    first = load("requests/least.json")["subjects"][0]["images"][0]
    for name, size in ((FOX, (24, 18)), (SEA, (20, 20))):
        data = cache.find(name)
        assert data is not None
        assert Image.open(io.BytesIO(data)).size == size
    expected = Image.open(io.BytesIO(base64.b64decode(first))).convert("RGB")
    assert Image.open(io.BytesIO(cache.find(FOX) or b"")).convert("RGB").tobytes() == expected.tobytes()

"""What helps to judge and to reuse a layout, in a browser on both gradios: hints, debug view, comparison, own
arrangements.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.support.adapter_files import write_adapter
from tests.support.tiny_unet import tiny_unet
from tests.ui.editor import Editor
from tests.ui.gradios import Served
from tests.ui.test_editor import LEFT, RIGHT, fill

OURS = ("anyms-editor[tab=txt2img]", "#script_txt2img_anyms_slot1_shown", "#script_txt2img_anyms_slot2_shown")


def test_what_may_be_wrong_is_said_where_it_is_and_announced(editor: Editor) -> None:
    assert [editor.hints(slot) for slot in (1, 2)] == [[], []]
    editor.name(1, "cat")
    editor.inside("root.querySelector('.row[data-slot=\"1\"] .hints .warning')")
    assert "no picture" in editor.hints(1)[0]
    announced = editor.root.locator("[aria-live=polite]")
    assert "Subject 1: It has a name but no picture." in announced.text_content()
    assert editor.box(1).get_attribute("aria-describedby") == "hints1 keys"
    editor.give(1, "orange")
    editor.inside("!root.querySelector('.row[data-slot=\"1\"] .hints .warning')")
    fill(editor, "cat", "dog")
    editor.type("txt2img_prompt", "a cat on a beach")
    editor.inside("root.querySelector('.row[data-slot=\"2\"] .hints .hint')")
    assert editor.hints(1) == []
    assert "not found in the prompt" in editor.hints(2)[0]
    assert "may still be right" in editor.hints(2)[0]
    editor.type("txt2img_final", "a cat and a dog on a beach\nNegative prompt: x")  # what the host made of a wildcard
    editor.inside("!root.querySelector('.row[data-slot=\"2\"] .hints .hint')")
    left, top, width, height = editor.row(1).locator(".numbers input").all()
    for entry, percent in ((left, 60), (top, 20), (width, 20), (height, 20)):
        entry.fill(str(percent))
        entry.press("Enter")
    editor.press("Send back 1")
    editor.inside("root.querySelector('.box[data-slot=\"1\"]').classList.contains('warned')")
    assert "Hidden" in editor.hints(1)[0]
    editor.keep("hints")


def test_the_words_are_those_of_the_host_s_language(editor: Editor) -> None:
    words = {
        "Add subject": "Motiv dazu",
        "Added subject": "Dazugekommen ist Motiv",
        "Drop, paste or choose pictures": "Bilder ablegen, einfügen oder wählen",
        "It has a name but no picture. Drop one onto its box.": "Ein Name, aber kein Bild.",
        "left": "links",
        "Undo": "Zurück",
        "Where boxes overlap the topmost wins.": "Das oberste Feld gewinnt.",
    }
    editor.speak(words)
    editor.press("Motiv dazu")
    assert editor.said() == "Dazugekommen ist Motiv 3"
    editor.name(1, "cat")
    editor.inside("root.querySelector('.row[data-slot=\"1\"] .hints .warning')")
    assert editor.hints(1) == ["Ein Name, aber kein Bild."]
    assert (
        editor.root.locator(".rule").inner_text().startswith("Das oberste Feld gewinnt. Attributes")
    )  # what lacks a word stays
    assert "links 5 %" in editor.box(1).get_attribute("aria-label")
    assert words["Drop, paste or choose pictures"] in editor.ours("slot2_shown").locator(".more").inner_text()
    editor.press("Zurück")  # the name
    assert editor.hints(1) == []


def test_missing_model_files_are_named_before_a_job(editor: Editor) -> None:
    notice = editor.root.locator(".notice")
    assert not notice.is_visible()  # nothing is wanted yet
    editor.give(1, "orange")
    notice.filter(has_text="IP-Adapter").wait_for()
    assert "ip-adapter-plus_sdxl_vit-h" in notice.inner_text()


@pytest.fixture
def checkpoints(editor: Editor) -> Iterator[Path]:
    """An adapter without its encoder, a checkpoint that it fits, and one that it does not."""
    models = editor.folder / "models"
    (models / "ipadapter").mkdir(parents=True, exist_ok=True)
    unet = tiny_unet()
    adapter = write_adapter(models / "ipadapter" / "some.safetensors", unet)
    save_file(
        {f"model.diffusion_model.{name}": weight for name, weight in unet.state_dict().items()},
        models / "two.safetensors",
    )
    names = [f"model.diffusion_model.input_blocks.{n}.1.transformer_blocks.0.attn2" for n in range(16)]
    older = {
        f"{name}.to_{part}.weight": torch.zeros(8, width) for name in names for part, width in (("q", 8), ("k", 768))
    }
    save_file(older, models / "one.safetensors")
    yield models
    for file in (adapter, models / "one.safetensors", models / "two.safetensors"):
        file.unlink()


def test_another_checkpoint_is_held_against_the_adapter_at_once(editor: Editor, checkpoints: Path) -> None:
    notice = editor.root.locator(".notice")
    editor.give(1, "orange")
    notice.filter(has_text="image encoder").wait_for()
    shown = editor.page.locator("#setting_sd_model_checkpoint input").first
    for name, words in (
        ("one", "It is Stable Diffusion 1. Load an SDXL checkpoint."),
        ("two", "image encoder"),
        ("one", "It is"),
    ):
        shown.fill(f"{name}.safetensors")
        shown.press("Enter")
        notice.filter(has_text=words).wait_for()
    assert "pictures are made without AnyMS" in notice.inner_text()
    editor.keep("checkpoint")


def test_the_owner_of_each_token_is_shown_at_either_level(editor: Editor) -> None:
    fill(editor, "cat", "dog")
    editor.drag(editor.box(2), (-0.25, 0))
    levels = editor.root.get_by_label("Show who owns each token")
    assert not editor.root.locator(".stage canvas").is_visible()
    data = "node.getContext('2d').getImageData(0, 0, node.width, node.height).data"
    for value, words, size in (("1", "48 × 32 tokens", (48, 32)), ("2", "24 × 16 tokens", (24, 16))):
        levels.select_option(value)
        told = editor.root.locator(".levels .told").inner_text()
        assert told == words
        canvas = editor.root.locator(".stage canvas")
        assert canvas.evaluate("node => [node.width, node.height]") == list(size)
        owned = canvas.evaluate(f"node => [...{data}].filter((value, n) => n % 4 === 3 && value).length")
        boxes = [editor.fields(slot) for slot in (1, 2)]
        columns, rows = size
        union = {
            (x, y)
            for x0, y0, x1, y1 in boxes
            for x in range(int(x0 * columns + 0.5), int(x1 * columns + 0.5))
            for y in range(int(y0 * rows + 0.5), int(y1 * rows + 0.5))
        }
        assert owned == len(union)
    editor.keep("owners")
    levels.select_option("0")
    assert not editor.root.locator(".stage canvas").is_visible()


def test_one_click_asks_for_a_comparison_and_the_next_generate_for_none(editor: Editor) -> None:
    button = editor.root.get_by_role("button", name="Compare three ways")
    assert button.is_disabled()  # there is nothing to compare
    fill(editor, "cat", "dog")
    for name, asked in (("Compare three ways", "comparison"), ("Show where each acts", "maps")):
        told = editor.page.locator("#txt2img_sent textarea")
        told.fill("")
        editor.root.get_by_role("button", name=name).click()
        editor.until("document.querySelector('#txt2img_sent textarea').value.startsWith('{')")
        assert json.loads(told.input_value())["asked"] == asked
        editor.until(
            "document.querySelector('#script_txt2img_anyms_asked textarea, #script_txt2img_anyms_asked input').value === ''"
        )
        assert "asked" not in editor.sent()


def test_own_arrangements_are_kept_used_deleted_and_taken_along(editor: Editor, tmp_path: Path) -> None:
    fill(editor, "cat", "dog")
    editor.drag(editor.box(1), (0.125, 0))
    moved = editor.fields(1)
    editor.root.locator("summary").click()
    name = editor.root.get_by_label("Name of a new arrangement")
    editor.press("Keep this one")
    assert "needs a name" in editor.root.get_by_role("alert").inner_text()
    name.fill("duel")
    name.press("Enter")
    assert editor.said() == "Kept arrangement duel"
    editor.press("Undo")
    assert editor.fields(1) == LEFT

    editor.open()  # the browser keeps them
    fill(editor, "cat", "dog")
    editor.root.locator("summary").click()
    editor.press("Use it")
    assert sorted([editor.fields(1), editor.fields(2)]) == sorted([moved, RIGHT])
    with editor.page.expect_download() as saving:
        editor.press("Save my arrangements as a file")
    file = tmp_path / "arrangements.json"
    saving.value.save_as(file)
    editor.press("Delete the arrangement")
    assert editor.root.get_by_label("My arrangements", exact=True).is_disabled()
    with editor.page.expect_file_chooser() as choosing:
        editor.press("Open a file of arrangements")
    choosing.value.set_files(file)
    editor.inside("root.querySelector('.own option').value === 'duel'")
    with editor.page.expect_file_chooser() as choosing:
        editor.press("Open a file of arrangements")
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    choosing.value.set_files(other)
    editor.root.get_by_role("alert").filter(has_text="no arrangements in this file").wait_for()


def test_a_layout_is_copied_to_the_other_tab_with_its_pictures(editor: Editor) -> None:
    fill(editor, "beach", "cat")
    editor.press("Bring forward 1")
    editor.press("Copy to img2img")
    editor.other.locator(".box img").nth(1).wait_for()
    editor.until("document.querySelector('#script_img2img_anyms_slot1_name textarea').value === 'cat'")
    editor.page.locator("#img2img_generate").click()
    editor.until("document.querySelector('#img2img_sent textarea').value.startsWith('{')")
    told = json.loads(editor.page.locator("#img2img_sent textarea").input_value())["subjects"]
    mine = editor.sent()["subjects"]
    assert [subject["name"] for subject in mine] == ["cat", "beach"]
    for key in ("name", "box", "role", "pictures"):
        assert [subject[key] for subject in told] == [subject[key] for subject in mine]


def test_the_shape_follows_resize_by_and_what_a_hires_fix_cuts_is_shaded(editor: Editor) -> None:
    editor.type("img2img_scale", 1.5)
    editor.other.locator(".shape", has_text="960 × 600").wait_for()
    cut = editor.root.locator(".cut")
    assert not cut.is_visible()
    editor.page.locator("#txt2img_hr-checkbox input").check()
    editor.type("txt2img_hr_resize_x", 512)
    editor.type("txt2img_hr_resize_y", 512)
    cut.wait_for()
    assert "16.67% 0%" in cut.evaluate("node => node.style.clipPath").replace("0.00%", "0%")
    assert editor.root.locator(".cutnote").is_visible()
    editor.keep("cut")
    editor.type("txt2img_hr_resize_y", 0)  # keeps the aspect
    cut.wait_for(state="hidden")


def test_all_of_it_is_within_reach_of_a_finger(phone: Editor) -> None:
    phone.root.locator("summary").click()
    targets = phone.root.locator(".aids :is(button, select, summary, input):visible").all()
    assert len(targets) >= 9
    for target in targets:
        area = target.bounding_box()
        assert min(area["width"], area["height"]) >= 44, target.inner_text()
        assert area["x"] + area["width"] <= 360


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_axe_finds_nothing_in_our_elements(browser: Any, served: Served, axe: str, theme: str, width: int) -> None:
    seen = Editor(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme), served)
    seen.open(f"?__theme={theme}")
    nothing_for_axe(seen, axe)
    seen.keep(f"{theme}-{width}")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.close()


def nothing_for_axe(seen: Editor, axe: str) -> None:
    """Our element with all it can show at once, and two slots."""
    seen.give(1, "orange")
    seen.give(1, "green")
    seen.name(1, "cat")
    seen.name(2, "dog")
    seen.type("txt2img_prompt", "a beach")
    seen.root.locator("summary").click()
    seen.box(1).focus()
    for owners in ("0", "2"):
        seen.root.get_by_label("Show who owns each token").select_option(owners)
        seen.inside("root.querySelector('.hints .warning') && root.querySelector('.hints .hint')")
        seen.page.evaluate(axe)
        context = json.dumps({"include": [[part] for part in OURS]})
        found = seen.page.evaluate(f"axe.run({context}).then((told) => [told.violations, told.passes.length])")
        faults = [(fault["id"], [node["html"][:160] for node in fault["nodes"]]) for fault in found[0]]
        assert faults == []
        assert found[1] > 10  # it has looked at something

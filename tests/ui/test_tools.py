"""The tools below the canvas in a browser: hints, token map, comparison, saved arrangements, copy, hires overlay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import expect
from safetensors.torch import save_file

from tests.support.adapter_files import write_adapter
from tests.support.tiny_unet import tiny_unet
from tests.ui.editor import EXTRA_OUTPUT, Editor
from tests.ui.gradios import Served
from tests.ui.test_editor import LEFT, RIGHT, fill

PANEL = ("anyms-editor[tab=txt2img]", "#script_txt2img_anyms_slot1", "#script_txt2img_anyms_foot")


def test_hints_are_shown_at_their_subject_and_announced(editor: Editor) -> None:
    assert [editor.hints(slot) for slot in (1, 2)] == [[], []]
    editor.name(1, "cat")
    editor.inside("root.querySelector('#hints1 .warning')")
    assert "no picture" in editor.hints(1)[0]
    announced = editor.root.locator("[aria-live=polite]")
    assert "Subject 1: It has a name but no picture." in announced.text_content()
    assert editor.box(1).get_attribute("aria-describedby") == "hints1 keys"
    editor.give(1, "orange")
    editor.inside("!root.querySelector('#hints1 .warning')")
    fill(editor, "cat", "dog")
    editor.type("txt2img_prompt", "a cat on a beach")
    editor.inside("root.querySelector('#hints2 .hint')")
    assert editor.hints(1) == []
    assert "not found in the prompt" in editor.hints(2)[0]
    assert "may still be right" in editor.hints(2)[0]
    editor.choose(2)
    editor.root.locator("#hints2").get_by_role("button", name="Add it to the prompt").click()
    editor.inside("!root.querySelector('#hints2 .hint')")
    assert editor.field("txt2img_prompt").input_value() == "a cat on a beach, dog"
    editor.type("txt2img_prompt", "a cat on a beach")
    editor.inside("root.querySelector('#hints2 .hint')")
    editor.type("txt2img_final", "a cat and a dog on a beach\nNegative prompt: x")  # the host has replaced a wildcard
    editor.inside("!root.querySelector('#hints2 .hint')")
    left, top, width, height = editor.unfold(1)
    for entry, percent in ((left, 60), (top, 20), (width, 20), (height, 20)):
        entry.fill(str(percent))
        entry.press("Enter")
    editor.press("Send subject 1 back")
    editor.inside("root.querySelector('.box[data-slot=\"1\"]').classList.contains('warned')")
    assert "Hidden" in editor.hints(1)[0]
    editor.keep("hints")


def test_labels_are_in_the_host_s_language(editor: Editor) -> None:
    words = {
        "Add subject": "Motiv dazu",
        "Added subject {slot}": "Motiv {slot} ist dazugekommen",
        "Drop, paste or choose pictures": "Bilder ablegen, einfügen oder wählen",
        "It has a name but no picture. Drop one onto its box.": "Ein Name, aber kein Bild.",
        "Subject {subject}: left {left} %, top {top} %, width {width} %, height {height} %; "
        "layer {layer} of {layers}; no picture yet": "{left} % von links: Motiv {subject}",
        "Undo": "Zurück",
        "Where boxes overlap, the topmost wins.": "Das oberste Feld gewinnt.",
    }
    editor.speak(words)
    editor.press("Motiv dazu")
    assert editor.status() == "Motiv 3 ist dazugekommen"
    editor.name(1, "cat")
    editor.inside("root.querySelector('#hints1 .warning')")
    assert editor.hints(1) == ["Ein Name, aber kein Bild."]
    order = editor.root.locator(".order-line").text_content()
    assert order.startswith("Das oberste Feld gewinnt. Details")  # a label without a translation stays English
    assert editor.box(3).get_attribute("aria-label") == "68 % von links: Motiv 3"
    editor.choose(2)
    assert words["Drop, paste or choose pictures"] in editor.ours("slot2_shown").locator(".more").inner_text()
    editor.press("Zurück")  # the name
    assert editor.hints(1) == []


def test_missing_model_files_are_named_before_a_job(editor: Editor) -> None:
    notice = editor.root.locator(".notice")
    notice.filter(has_text="2 model files are missing (3.4 GB)").wait_for()  # as soon as the page is opened
    editor.give(1, "orange")
    notice.get_by_text("Which ones").click()
    assert "ip-adapter-plus_sdxl_vit-h" in notice.inner_text()


@pytest.fixture
def checkpoints(editor: Editor) -> Iterator[Path]:
    """An adapter without its encoder, a checkpoint that it fits (two), and one that it does not fit (one)."""
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


def test_another_checkpoint_is_checked_at_once(editor: Editor, checkpoints: Path) -> None:
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
    assert "images are made without AnyMS" in notice.inner_text()
    editor.keep("checkpoint")


def test_the_token_map_shows_the_owner_of_each_token(editor: Editor) -> None:
    fill(editor, "cat", "dog")
    editor.drag(editor.box(2), (-0.25, 0))
    levels = editor.root.get_by_label("Show which subject owns each token")
    editor.open_menu(levels)
    assert not editor.root.locator(".canvas canvas").is_visible()
    data = "node.getContext('2d').getImageData(0, 0, node.width, node.height).data"
    for value, words, size in (("1", "48 × 32 tokens", (48, 32)), ("2", "24 × 16 tokens", (24, 16))):
        levels.select_option(value)
        assert editor.root.locator(".token-levels .grid-size").inner_text() == words
        canvas = editor.root.locator(".canvas canvas")
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
    editor.keep("token-map")
    levels.select_option("0")
    assert not editor.root.locator(".canvas canvas").is_visible()


def test_one_click_makes_a_comparison_and_the_next_generate_does_not(editor: Editor) -> None:
    button = editor.foot("Compare three ways")
    assert button.is_disabled()  # no subject to compare
    fill(editor, "cat", "dog")
    extras = {"Compare three ways": "comparison", "Compare prompts": "words", "Influence maps": "maps"}
    extras["Refine subjects"] = "refine"
    for name, extra in extras.items():
        sent = editor.page.locator("#txt2img_sent textarea")
        sent.fill("")
        editor.foot(name).click()
        editor.until("document.querySelector('#txt2img_sent textarea').value.startsWith('{')")
        assert json.loads(sent.input_value())["extra"] == extra
        expect(editor.entry(EXTRA_OUTPUT)).to_have_value("")
        assert "extra" not in editor.sent()


def test_positions_are_written_into_the_prompt_and_follow_the_boxes(editor: Editor) -> None:
    fill(editor, "cat", "dog")
    editor.type("txt2img_prompt", "a cat and a dog on grass")
    editor.press("Write positions")
    prompt = editor.page.locator("#txt2img_prompt textarea")
    expect(prompt).to_have_value("a cat on the left and a dog on the right on grass")
    editor.drag(editor.box(1), (0.5, 0))
    editor.press("Write positions")
    expect(prompt).to_have_value("a cat on the right and a dog on the right on grass")


def open_saved(editor: Editor) -> None:
    """Show the saved layouts in the menu "More"."""
    details = editor.root.locator("details.saved")
    editor.open_menu(details)
    if details.get_attribute("open") is None:
        details.locator("summary").click()


def press_saved(editor: Editor, name: str) -> None:
    open_saved(editor)
    editor.press(name)


def test_layouts_are_saved_applied_deleted_and_exchanged(editor: Editor, tmp_path: Path) -> None:
    fill(editor, "cat", "dog")
    editor.drag(editor.box(1), (0.125, 0))
    moved = editor.fields(1)
    open_saved(editor)
    name = editor.root.get_by_label("Name of a layout to save")
    editor.press("Save current")
    assert "needs a name" in editor.root.get_by_role("alert").inner_text()
    open_saved(editor)
    name.fill("duel")
    name.press("Enter")
    assert editor.status() == "Saved layout duel"
    editor.press("Undo")
    assert editor.fields(1) == LEFT

    editor.open()  # the browser stores them
    fill(editor, "cat", "dog")
    press_saved(editor, "Use the saved layout")
    assert sorted([editor.fields(1), editor.fields(2)]) == sorted([moved, RIGHT])
    with editor.page.expect_download() as saving:
        press_saved(editor, "Save the saved layouts as a file")
    file = tmp_path / "arrangements.json"
    saving.value.save_as(file)
    press_saved(editor, "Delete the saved layout")
    assert editor.root.get_by_label("Saved layouts", exact=True).is_disabled()
    with editor.page.expect_file_chooser() as choosing:
        press_saved(editor, "Open a file of saved layouts")
    choosing.value.set_files(file)
    editor.inside("root.querySelector('.saved option').value === 'duel'")
    with editor.page.expect_file_chooser() as choosing:
        press_saved(editor, "Open a file of saved layouts")
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    choosing.value.set_files(other)
    editor.root.get_by_role("alert").filter(has_text="no saved layouts in this file").wait_for()


def test_a_layout_is_copied_to_the_other_tab_with_its_pictures(both_tabs: Editor) -> None:
    editor = both_tabs
    fill(editor, "beach", "cat")
    editor.press("Bring subject 1 forward")
    editor.press("Copy to img2img")
    editor.other.locator(".box img").nth(1).wait_for()
    editor.until("document.querySelector('#script_img2img_anyms_slot1_name textarea').value === 'cat'")
    editor.page.locator("#img2img_generate").click()
    editor.until("document.querySelector('#img2img_sent textarea').value.startsWith('{')")
    copied = json.loads(editor.page.locator("#img2img_sent textarea").input_value())["subjects"]
    mine = editor.sent()["subjects"]
    assert [subject["name"] for subject in mine] == ["cat", "beach"]
    for key in ("name", "box", "role", "pictures"):
        assert [subject[key] for subject in copied] == [subject[key] for subject in mine]


def test_the_shape_follows_resize_by_and_the_crop_of_a_hires_fix_is_shaded(both_tabs: Editor) -> None:
    editor = both_tabs
    editor.type("img2img_scale", 1.5)
    editor.other.locator(".shape", has_text="960 × 600").wait_for()
    shade = editor.root.locator(".hires-shade")
    assert not shade.is_visible()
    editor.page.locator("#txt2img_hr-checkbox input").check()
    editor.type("txt2img_hr_resize_x", 512)
    editor.type("txt2img_hr_resize_y", 512)
    shade.wait_for()
    assert "16.67% 0%" in shade.evaluate("node => node.style.clipPath").replace("0.00%", "0%")
    assert editor.root.locator(".hires-note").is_visible()
    editor.keep("hires")
    editor.type("txt2img_hr_resize_y", 0)  # keeps the aspect
    shade.wait_for(state="hidden")


def test_the_tools_are_large_enough_for_a_finger(phone: Editor) -> None:
    open_saved(phone)
    targets = phone.root.locator(".panel :is(button, select, summary, input):visible").all()
    assert len(targets) >= 9
    targets += phone.ours("foot").locator("button:visible").all()
    for target in targets:
        area = target.bounding_box()
        assert min(area["width"], area["height"]) >= 44, target.inner_text()
        assert area["x"] + area["width"] <= 360


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_axe_finds_no_fault_in_the_panel(browser: Any, served: Served, axe: str, theme: str, width: int) -> None:
    page = Editor(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme), served)
    page.open(f"?__theme={theme}")
    assert_accessible(page, axe, ("0", "2") if theme == "light" else ("2",))
    page.keep(f"{theme}-{width}")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def assert_no_faults(page: Any, context: str) -> None:
    """Run axe, which the page has loaded already, on the elements of `context`."""
    violations, passes = page.evaluate(
        f"axe.run({context}).then((report) => [report.violations, report.passes.length])"
    )
    faults = []
    for violation in violations:
        faults.append((violation["id"], [node["html"][:160] for node in violation["nodes"]]))
    assert faults == []
    assert passes > 10  # it has checked something


def assert_accessible(page: Editor, axe: str, token_maps: Sequence[str] = ("0", "2")) -> None:
    """axe finds no fault in the editor and two slots, while they show all they can, with each of these token maps."""
    page.give(1, "orange")
    page.give(1, "green")
    page.name(1, "cat")
    page.name(2, "dog")
    page.type("txt2img_prompt", "a beach")
    page.unfold(1)
    page.box(1).focus()
    levels = page.root.get_by_label("Show which subject owns each token")
    for halvings in token_maps:
        open_saved(page)
        levels.select_option(halvings)
        page.inside("root.querySelector('.hints .warning') && root.querySelector('.hints .hint')")
        page.page.evaluate(axe)
        context = json.dumps({"include": [[part] for part in PANEL]})
        assert_no_faults(page.page, context)

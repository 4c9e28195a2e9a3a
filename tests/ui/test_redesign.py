"""The page as a whole: its height, the inspected subject, drafts after a reload, and what undo covers."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Locator, expect

from tests.ui.editor import Editor
from tests.ui.test_editor import fill
from tests.ui.test_tools import assert_no_faults

NOTHING_STORED = """() => new Promise((resolve) => {
    indexedDB.open("anyms").onsuccess = ({ target: { result: database } }) => {
        const request = database.transaction("drafts").objectStore("drafts").get("txt2img");
        request.onsuccess = () => { database.close(); resolve(request.result === undefined); };
    };
})"""
PANEL = "enabled"  # element id of the accordion
WIDTH, TALLEST = 660, 1050  # pixels


def chosen_role(editor: Editor, slot: int) -> str:
    return editor.ours(f"slot{slot}_inspect").locator("[aria-checked=true]").first.inner_text()


def clipped(parts: Locator) -> list[str]:
    """The texts of elements whose content is wider than they are."""
    assert parts.count() > 1
    return parts.evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)")


def test_the_panel_fits_on_a_screen_with_one_subject_and_with_twelve(editor: Editor) -> None:
    editor.page.set_viewport_size({"width": 800, "height": 900})
    editor.ours(PANEL).evaluate(f"panel => (panel.style.width = '{WIDTH}px')")  # this page has steps, a host's has none
    assert editor.ours(PANEL).bounding_box()["width"] == WIDTH
    assert editor.ours(PANEL).bounding_box()["height"] <= TALLEST
    for _ in range(10):
        editor.press("Add subject")
    assert editor.ours(PANEL).bounding_box()["height"] <= TALLEST
    assert editor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    editor.unfold(1)
    assert clipped(editor.root.locator(".tag")) == []
    assert clipped(editor.ours("slot1_inspect").get_by_role("radio")) == []


def test_the_larger_view_shows_the_same_stage_and_nothing_of_it_is_hidden(editor: Editor) -> None:
    editor.page.set_viewport_size({"width": 1366, "height": 650})
    before = editor.root.locator(".canvas").bounding_box()["width"]
    editor.press("Larger view")
    area = editor.root.locator(".canvas").bounding_box()
    assert area["width"] > before
    assert area["y"] + area["height"] <= 650
    editor.drag(editor.box(1), (0.125, 0))
    editor.page.keyboard.press("Escape")
    expect(editor.root.locator("dialog.larger")).to_be_hidden()
    assert editor.fields(1)[0] == pytest.approx(0.1667, abs=1e-4)
    editor.page.mouse.click(*editor.middle(editor.box(1)))
    expect(editor.box(1)).to_be_focused()


def test_role_and_strength_are_undone_and_a_removed_subject_leaves_nothing(editor: Editor) -> None:
    fill(editor, "girl with a red hat", "dog")
    editor.choose(1)
    assert chosen_role(editor, 1) == "auto: subject"
    editor.ours("slot1_inspect").get_by_role("radio", name="detail", exact=True).click()
    assert editor.sent()["subjects"][-1]["role"] == "attribute"
    editor.press("Undo")
    editor.choose(1)
    assert chosen_role(editor, 1) == "auto: subject"
    for field, value in (("weight", "0.5"), ("prompt", "red hair")):
        editor.entry(f"slot1_{field}").fill(value)
        editor.entry(f"slot1_{field}").press("Tab")
    editor.press("Remove subject 1")
    assert [editor.entry(f"slot1_{field}").input_value() for field in ("name", "prompt", "weight")] == ["", "", "1"]
    editor.press("Add subject")
    editor.give(1, "green")
    assert "red hair" not in str(editor.sent())
    for _ in range(3):
        editor.press("Undo")
    kept = next(subject for subject in editor.sent()["subjects"] if subject["name"] == "girl with a red hat")
    assert (kept["prompt"], kept["weight"]) == ("red hair", 0.5)


def test_the_last_subjects_are_offered_after_a_reload_and_come_back_whole(editor: Editor) -> None:
    fill(editor, "cat", "dog")
    editor.drag(editor.box(1), (0.125, 0))
    editor.choose(1)
    editor.entry("slot1_weight").fill("0.5")
    editor.entry("slot1_weight").press("Tab")
    editor.inside("!root.querySelector('.box.busy')")
    before = editor.sent()
    editor.page.wait_for_timeout(1500)  # the draft is written after a pause
    for answer, count in (("Restore", 2), ("Discard", 0)):
        editor.open()
        offer = editor.root.locator(".offer")
        offer.get_by_text("Restore your last subjects (2)?").wait_for()
        assert editor.root.locator(".box img:visible").count() == 0  # never by itself
        offer.get_by_role("button", name=answer).click()
        expect(editor.root.locator(".box img:visible")).to_have_count(count)
        if count:
            assert editor.sent() == before
    editor.until(NOTHING_STORED)  # the browser removes it in its own time
    editor.open()
    assert not editor.root.locator(".offer").is_visible()


def test_a_subject_is_copied_and_pasted_by_keys(editor: Editor) -> None:
    fill(editor, "cat")
    editor.give(1, "red")
    editor.box(1).focus()
    editor.page.keyboard.press("Control+c")
    assert editor.status() == "Copied subject 1"
    editor.box(2).focus()
    for slot in (3, 4):
        editor.page.keyboard.press("Control+v")
        editor.box(slot).wait_for()
        assert editor.status() == f"Pasted as subject {slot}"
    cats = [subject for subject in editor.sent()["subjects"] if subject["name"] == "cat"]
    assert len(cats) == 3
    assert cats[0]["pictures"] == cats[1]["pictures"] == cats[2]["pictures"] != []
    for _ in range(2):
        editor.press("Undo")
    expect(editor.root.locator(".box")).to_have_count(2)


def test_a_copied_subject_is_pasted_in_the_other_tab_and_a_field_takes_its_text(both_tabs: Editor) -> None:
    editor = both_tabs
    fill(editor, "cat")
    editor.box(1).press("Control+c")
    shown = {"txt2img": "none", "img2img": "block"}
    for kind, display in shown.items():  # as the host's tabs do
        editor.page.locator(f"#tab_{kind}").evaluate(f"tab => (tab.style.display = '{display}')")
    editor.page.evaluate("document.activeElement.blur()")
    editor.page.keyboard.press("Control+v")
    expect(editor.other.locator(".box")).to_have_count(3)
    expect(editor.other.locator("[role=status]")).to_have_text("Pasted as subject 3")
    prompt = editor.page.locator("#img2img_prompt textarea")
    prompt.press("Control+v")
    assert prompt.input_value().startswith('{"anyms-subject":1')  # a field takes any text
    expect(editor.other.locator(".box")).to_have_count(3)
    editor.other.locator(".chip").first.focus()
    for _ in range(10):
        editor.page.keyboard.press("Control+v")
    expect(editor.other.locator(".desk > .problem")).to_have_text(
        "There are twelve subjects already. Remove one first."
    )
    expect(editor.other.locator(".box")).to_have_count(12)
    expect(editor.root.locator(".box")).to_have_count(2)


def test_a_box_takes_the_shape_of_its_picture(editor: Editor) -> None:
    editor.give(1, "red")  # 90 x 120 pixels
    for side, value in (("width", 768), ("height", 512)):
        editor.size(side, value)
    editor.box(1).press("f")
    x0, y0, x1, y1 = editor.fields(1)
    assert ((x1 - x0) * 768) / ((y1 - y0) * 512) == pytest.approx(0.75, abs=0.01)
    editor.box(2).press("f")
    assert editor.status() == "Subject 2 has no picture yet"


def test_a_picture_is_dragged_to_another_subject(editor: Editor) -> None:
    editor.give(1, "red")
    editor.give(1, "blue")
    thumb = editor.thumbs(1).first
    start = editor.middle(thumb)
    chip = editor.subject(2).bounding_box()
    editor.page.mouse.move(*start)
    editor.page.mouse.down()
    editor.page.mouse.move(start[0], start[1] - 20)
    editor.page.mouse.move(chip["x"] + chip["width"] / 2, chip["y"] + chip["height"] / 2)
    assert "drop-target" in editor.subject(2).get_attribute("class")
    editor.page.mouse.up()
    expect(editor.thumbs(1)).to_have_count(1)
    assert editor.status() == "Moved a picture to subject 2"
    assert not editor.root.locator("dialog[open]").is_visible()  # a drag is no press
    editor.choose(1)
    editor.thumbs(1).first.locator("button").first.press("Alt+2")
    expect(editor.thumbs(1)).to_have_count(0)
    editor.choose(2)
    expect(editor.thumbs(2)).to_have_count(2)
    start = editor.middle(editor.thumbs(2).first)
    chip = editor.root.locator(".add-chip").bounding_box()
    editor.page.mouse.move(*start)
    editor.page.mouse.down()
    editor.page.mouse.move(chip["x"] + 20, chip["y"] + 20, steps=3)
    editor.page.mouse.up()
    expect(editor.thumbs(2)).to_have_count(1)
    assert editor.status() == "Moved a picture to subject 3"
    editor.press("Undo")  # the subject and its picture in one step
    expect(editor.root.locator(".box")).to_have_count(2)
    expect(editor.thumbs(2)).to_have_count(2)


def test_escape_cancels_the_drag_of_a_picture_and_does_not_reach_the_host(editor: Editor) -> None:
    editor.give(1, "red")
    editor.page.evaluate("document.body.addEventListener('keydown', (event) => (window.hostKey = event.key))")
    start, chip = editor.middle(editor.thumbs(1).first), editor.subject(2).bounding_box()
    editor.page.mouse.move(*start)
    editor.page.mouse.down()
    editor.page.mouse.move(start[0], start[1] - 20)
    editor.page.mouse.move(chip["x"] + 20, chip["y"] + 20)
    editor.page.keyboard.press("Escape")
    assert "drop-target" not in editor.subject(2).get_attribute("class")
    editor.page.mouse.up()
    editor.choose(2)
    expect(editor.thumbs(1)).to_have_count(1)
    expect(editor.thumbs(2)).to_have_count(0)
    assert editor.page.evaluate("window.hostKey") is None


def test_a_picture_is_given_to_a_subject_or_a_new_one_by_a_finger(phone: Editor, axe: str) -> None:
    phone.give(1, "red")
    phone.give(1, "blue")
    phone.name(2, "dog")
    phone.page.evaluate(axe)

    def give(to: str) -> None:
        phone.choose(1)
        arrow = phone.thumbs(1).first.get_by_role("button", name="Move picture 1 of subject 1 to another subject")
        arrow.tap()
        question = phone.root.get_by_role("dialog", name="Move picture 1 of subject 1 to")
        assert_no_faults(phone.page, json.dumps({"include": [["anyms-editor[tab=txt2img]"]]}))
        if to == "2 dog":
            question.get_by_label("Keep it here, too").check()
        question.get_by_role("button", name=to).tap()
        expect(question).to_have_count(0)

    give("2 dog")
    assert phone.status() == "Copied a picture to subject 2"
    give("2 dog")
    assert phone.root.locator(".desk > .problem").text_content() == "Subject 2 already has this picture."
    give("New subject")
    assert phone.status() == "Moved a picture to subject 3"
    pictures = {subject["name"]: len(subject["pictures"]) for subject in phone.sent()["subjects"]}
    assert sorted(pictures.values()) == [1, 1, 1]
    phone.press("Undo")
    expect(phone.root.locator(".box")).to_have_count(2)
    expect(phone.thumbs(1)).to_have_count(2)


def test_duplicate_and_lock_by_keys(editor: Editor) -> None:
    fill(editor, "cat")
    editor.box(1).focus()
    editor.page.keyboard.press("Control+d")
    assert editor.status() == "Duplicated subject 1 as subject 3"
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["cat", "cat"]
    before = editor.fields(3)
    editor.box(3).press("l")
    editor.drag(editor.box(3), (0.125, 0))
    editor.box(3).press("ArrowRight")
    assert editor.fields(3) == before
    assert editor.status() == "Subject 3 is locked"
    for _ in range(2):
        editor.press("Undo")
    expect(editor.root.locator(".box")).to_have_count(2)

"""The region editor in a browser: each action of a user, and the request it leads to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.ui.editor import Editor, picture
from tests.ui.gradios import Served

LEFT, RIGHT = (0.05, 0.15, 0.48, 0.95), (0.52, 0.15, 0.95, 0.95)  # the proposed boxes at 768 x 512
MOVED = (0.1667, 0.15, 0.5967, 0.95)  # LEFT moved by three tokens, on the grid


def fill(editor: Editor, *names: str) -> None:
    """Subjects with these names, each with a picture."""
    for slot, name in enumerate(names, 1):
        if slot > editor.root.locator(".box").count():
            editor.press("Add subject")
        editor.name(slot, name)
        editor.give(slot, ["orange", "navy", "green", "crimson"][slot % 4])


def test_a_page_left_alone_sends_nothing(editor: Editor) -> None:
    """gradio 4 reports changes that are none; a listener that answers one of them would never end."""
    editor.give(1, "orange")
    for _ in range(20):  # what opening the page and the picture started
        editor.requests.clear()
        editor.page.wait_for_timeout(1000)
        if not editor.requests:
            break
    editor.page.wait_for_timeout(2000)
    assert editor.requests == []


def test_two_pictures_are_enough_and_a_dragged_box_is_sent(editor: Editor) -> None:
    editor.give(1, "orange")
    editor.give(2, "navy")
    request = editor.sent()
    assert [subject["box"] for subject in request["subjects"]] == [list(LEFT), list(RIGHT)]
    editor.requests.clear()
    editor.grab(editor.box(1), (0.125, 0))
    assert editor.fields(1) == LEFT  # fields change only at the end of a drag
    editor.page.mouse.up()
    assert editor.fields(1) == MOVED
    # A drag sends nothing to the server. The host may still listen to a job that began before.
    listening = re.compile(r"/internal/progress$|/queue/data\?")
    assert [address for address in editor.requests if not listening.search(address)] == []
    sent = editor.sent()
    assert [subject["box"] for subject in sent["subjects"]] == [list(MOVED), list(RIGHT)]
    assert [len(subject["pictures"]) for subject in sent["subjects"]] == [1, 1]

    editor.press("Undo")
    assert editor.fields(1) == LEFT
    for _ in range(2):
        editor.press("Undo")
    assert editor.root.get_by_role("button", name="Undo").is_disabled()  # undo removed the pictures too
    for _ in range(3):
        editor.press("Redo")
    assert editor.sent() == sent
    editor.keep("two")


def test_generate_right_after_a_drag_sends_the_new_box(editor: Editor) -> None:
    fill(editor, "cat")
    editor.drag(editor.box(1), (0.125, 0))
    assert editor.sent()["subjects"][0]["box"] == list(MOVED)


def test_eight_handles_move_their_edges_and_the_grip_moves_a_covered_box(editor: Editor) -> None:
    editor.press("Snap to the token grid")
    editor.page.keyboard.press("Escape")
    editor.box(1).focus()
    changed = {"n": [1], "ne": [1, 2], "e": [2], "se": [2, 3], "s": [3], "sw": [0, 3], "w": [0], "nw": [0, 1]}
    for edges, expected in changed.items():
        before = editor.fields(1)
        editor.drag(editor.handle(edges), (-0.02, -0.03))
        after = editor.fields(1)
        assert [n for n in range(4) if before[n] != after[n]] == expected, edges
        for n in expected:
            assert after[n] - before[n] == pytest.approx([-0.02, -0.03][n % 2], abs=3e-3)
        editor.press("Undo")
        assert editor.fields(1) == before
    editor.press("Place side by side")
    editor.choose(1)
    if editor.topmost_first()[0] == 1:
        editor.press("Send subject 2 back")
    editor.choose(1)
    editor.drag(editor.handle(""), (0.1, 0))
    assert editor.fields(1)[0] == pytest.approx(0.15, abs=3e-3)


def test_a_box_snaps_to_tokens_unless_alt_is_held(editor: Editor) -> None:
    editor.grab(editor.box(2), (-0.03, -0.05))
    editor.page.mouse.up()
    assert [editor.fields(2)[0] * 768 % 32, editor.fields(2)[1] * 512 % 32] == pytest.approx([0, 0], abs=0.1)
    editor.page.keyboard.down("Alt")
    editor.drag(editor.box(2), (0.01, 0))
    editor.page.keyboard.up("Alt")
    assert editor.fields(2)[0] * 768 % 32 == pytest.approx(7.68, abs=2)


def test_escape_cancels_a_drag_and_does_not_reach_the_host(editor: Editor) -> None:
    editor.page.evaluate("document.addEventListener('keydown', (event) => { window.lastKey = event.key; })")
    editor.grab(editor.box(1), (0.125, 0.05))
    assert editor.box(1).bounding_box()["x"] > editor.root.locator(".canvas").bounding_box()["x"] + 60
    editor.page.keyboard.press("Escape")
    editor.page.mouse.up()
    assert editor.fields(1) == LEFT
    assert editor.page.evaluate("window.lastKey") is None
    assert editor.root.get_by_role("button", name="Undo").is_disabled()
    editor.box(1).press("Control+Enter")
    assert editor.page.evaluate("window.lastKey") == "Enter"  # reaches the host: Generate


def test_the_keyboard_alone(editor: Editor) -> None:
    fill(editor, "cat", "dog")
    editor.box(1).focus()
    editor.page.keyboard.press("ArrowRight")
    assert editor.fields(1) == pytest.approx((0.0833, 0.15, 0.5133, 0.95), abs=1e-4)
    editor.page.keyboard.press("Alt+ArrowDown")
    assert editor.fields(1)[1] == pytest.approx(0.15 + 1 / 512, abs=1e-4)
    editor.page.keyboard.press("Shift+ArrowLeft")
    assert editor.fields(1)[2] == pytest.approx(0.4583, abs=1e-4)
    assert "Subject 1 cat: left 8 %" in editor.status()
    for _ in range(3):
        editor.page.keyboard.press("Control+z")
    assert editor.fields(1) == LEFT
    editor.page.keyboard.press("Control+Shift+Z")
    assert editor.fields(1)[0] == pytest.approx(0.0833, abs=1e-4)
    assert editor.focused() == "1"
    editor.page.keyboard.press("Tab")
    assert editor.focused() == "2"
    editor.page.keyboard.press("[")
    assert editor.topmost_first() == [1, 2]
    assert editor.entry("order").input_value() == "2"
    editor.page.keyboard.press("]")
    assert editor.topmost_first() == [2, 1]
    editor.page.keyboard.press("Delete")
    expect(editor.root.locator(".box")).to_have_count(1)
    assert editor.focused() == "1"
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["cat"]


def test_the_list_edits_boxes_without_dragging(editor: Editor) -> None:
    fill(editor, "cat", "dog")
    left, top, width, height = editor.unfold(1)
    for entry, percent in ((width, 50), (left, 25), (top, 10), (height, 60)):
        entry.fill(str(percent))
        entry.press("Enter")
    assert editor.fields(1) == (0.25, 0.1, 0.75, 0.7)
    left.fill("90")
    left.press("Tab")
    assert editor.fields(1) == (0.5, 0.1, 1, 0.7)  # it stays inside the picture
    assert left.input_value() == "50"
    assert editor.topmost_first() == [1, 2]  # the smaller box lies on top
    editor.press("Bring subject 2 forward")
    assert editor.topmost_first() == [2, 1]
    assert editor.focused() == "Send subject 2 back"  # "forward" is disabled for the topmost
    assert editor.entry("order").input_value() == "as numbered"
    editor.open_menu(editor.root.locator(".order-line"))
    editor.root.get_by_role("button", name="Order by role and size").click()
    assert editor.topmost_first() == [1, 2]


def test_two_of_twelve_slots_are_shown_at_first(editor: Editor) -> None:
    assert [editor.ours(f"slot{n}").is_visible() for n in range(1, 13)] == [True] + [False] * 11
    for slot in range(3, 13):
        editor.press("Add subject")
        assert editor.focused() == str(slot)
        assert [editor.ours(f"slot{n}").is_visible() for n in range(1, 13)].index(True) == slot - 1
    assert editor.ours("enabled").bounding_box()["height"] <= 1050
    assert editor.root.get_by_role("button", name="Add subject").is_disabled()
    editor.keep("twelve")
    editor.press("Remove subject 5")
    assert not editor.ours("slot5").is_visible()
    expect(editor.root.locator(".box")).to_have_count(11)
    editor.press("Undo")
    expect(editor.root.locator(".box")).to_have_count(12)
    for _ in range(10):
        editor.press("Undo")
    expect(editor.root.locator(".box")).to_have_count(2)
    assert (editor.fields(1), editor.fields(2)) == (LEFT, RIGHT)


def test_a_removed_subject_takes_no_part_and_comes_back_with_its_picture(editor: Editor) -> None:
    fill(editor, "cat", "dog", "hat")
    editor.press("Remove subject 1")
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["dog", "hat"]
    editor.press("Undo")
    sent = editor.sent()["subjects"]
    assert [subject["name"] for subject in sent] == ["cat", "dog", "hat"]
    assert all(len(subject["pictures"]) == 1 for subject in sent)


def test_a_subject_that_is_off_keeps_its_box(editor: Editor) -> None:
    fill(editor, "cat", "dog")
    editor.drag(editor.box(2), (-0.25, 0))
    assert editor.visibility(1) == "48 % visible"
    editor.choose(2)
    switch = editor.root.locator(".box-bar").get_by_role("switch")
    switch.click()
    assert switch.get_attribute("aria-checked") == "false"
    assert editor.status() == "Subject 2: switched off"
    assert (editor.visibility(1), editor.visibility(2)) == ("100 % visible", "off")
    assert "switched off" in editor.box(2).get_attribute("aria-label")
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["cat"]
    place = editor.fields(2)
    editor.drag(editor.box(2), (0.125, 0))  # it can still be moved
    assert editor.fields(2) != place
    editor.keep("off")
    editor.press("Place side by side")
    assert editor.fields(1) == (0.05, 0.15, 0.95, 0.95)
    for _ in range(2):
        editor.press("Undo")
    assert (editor.fields(2), editor.visibility(2)) == (place, "off")
    editor.press("Undo")
    assert editor.visibility(2) == "100 % visible"
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["cat", "dog"]
    editor.press("Redo")
    editor.choose(2)
    switch.press("Enter")
    assert editor.status() == "Subject 2: switched on"
    assert len(editor.sent()["subjects"]) == 2
    editor.ours("slot2_use").locator("input").dispatch_event("click")  # the plain field does the same
    editor.inside("root.querySelector('.subject[data-slot=\"2\"]').classList.contains('off')")


def test_presets_and_the_layer_order(editor: Editor) -> None:
    fill(editor, "beach", "cat", "straw hat")
    for preset in ("Place on thirds", "Place on a grid", "Place as a group photo", "Place side by side"):
        before = [editor.fields(n) for n in (2, 3)]
        editor.press(preset)
        assert editor.status() == preset
        assert editor.fields(1) == (0, 0, 1, 1)  # a background
        assert [editor.fields(n) for n in (2, 3)] != before
    assert editor.topmost_first() == [3, 2, 1]
    assert editor.visibility(1) == "32 % visible"
    editor.drag(editor.box(3), (-0.37, 0))
    assert (editor.visibility(3), editor.visibility(2)) == ("100 % visible", "29 % visible")
    editor.press("Bring subject 1 forward")
    editor.press("Bring subject 1 forward")
    assert (editor.visibility(1), editor.visibility(2), editor.visibility(3)) == ("100 % visible", "hidden", "hidden")
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["cat", "straw hat", "beach"]
    assert "The order is yours." in editor.root.locator(".order-line").text_content()
    editor.keep("overlap")


def test_a_picture_dropped_on_a_box_goes_into_its_slot(editor: Editor) -> None:
    drop = """([node, bytes]) => {
        const options = { bubbles: true, composed: true, cancelable: true };
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], "cat.png", { type: "image/png" }));
        for (const kind of ["dragover", "drop"])
            node.dispatchEvent(new DragEvent(kind, { dataTransfer: files, ...options }));
    }"""
    for number, colour in enumerate(("navy", "orange"), 1):
        editor.page.evaluate(drop, [editor.box(2).element_handle(), list(picture(colour))])
        if number == 2:
            editor.root.get_by_role("button", name="Add to subject 2").click()
        editor.thumbs(2).nth(number - 1).wait_for()
    sent = editor.sent()["subjects"]
    assert [(subject["name"], subject["box"], len(subject["pictures"])) for subject in sent] == [
        ("subject 2", list(RIGHT), 2)
    ]
    assert editor.box(1).locator("img").is_hidden()


def test_the_canvas_follows_the_picture_s_size_at_once(editor: Editor) -> None:
    def aspect() -> float:
        area = editor.root.locator(".canvas").bounding_box()
        return area["width"] / area["height"]

    assert aspect() == pytest.approx(1.5, abs=0.01)
    editor.size("width", 1024)
    editor.inside("root.querySelector('.shape').textContent === '1024 × 512'")
    assert aspect() == pytest.approx(2, abs=0.02)
    editor.page.locator("#txt2img_res_switch_btn").click()
    editor.inside("root.querySelector('.shape').textContent === '512 × 1024'")
    assert aspect() == pytest.approx(0.5, abs=0.02)
    assert (editor.fields(1), editor.fields(2)) == (LEFT, RIGHT)


def infotext(*subjects: dict[str, Any], **settings: Any) -> str:
    """The entry of AnyMS in an infotext."""
    return json.dumps({"version": 1, "subjects": list(subjects), **settings})


HAT = {"name": "hat", "box": [0.1, 0.2, 0.4, 0.41234567], "role": "attribute", "weight": 0.5, "pictures": []}
CAT = {"name": "cat", "box": [0.3, 0.1, 0.9, 1], "pictures": []}
SEA = {"name": "sea", "box": [0, 0, 1, 1], "role": "background", "pictures": []}


def test_a_pasted_infotext_is_shown_and_its_boxes_are_not_rounded(editor: Editor) -> None:
    editor.paste(infotext(HAT, CAT, SEA, scale=0.4))
    editor.inside("root.querySelectorAll('.box').length === 3 && root.querySelectorAll('.name').length")
    editor.until_fields(1, (0.1, 0.2, 0.4, 0.41234567))
    editor.inside("[...root.querySelectorAll('.subject')].map((item) => item.dataset.slot).join() === '3,2,1'")
    for slot in (1, 2, 3):
        editor.give(slot, "orange")
    assert editor.fields(1) == (0.1, 0.2, 0.4, 0.41234567)
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["hat", "cat", "sea"]
    assert (editor.visibility(1), editor.visibility(2), editor.visibility(3)) == ("hidden", "hidden", "100 % visible")
    editor.press("Bring subject 1 forward")
    assert editor.topmost_first() == [3, 1, 2]
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["cat", "hat", "sea"]


def test_a_layout_is_saved_to_a_file_and_opened_again(editor: Editor, tmp_path: Path) -> None:
    fill(editor, "cat", "hat")
    editor.choose(2)
    editor.entry("slot2_weight").fill("0.5")
    editor.entry("slot2_weight").press("Tab")
    editor.drag(editor.box(1), (0.125, 0))
    with editor.page.expect_download() as saving:
        editor.press("Save the layout as a file")
    file = tmp_path / "layout.json"
    saving.value.save_as(file)
    saved = json.loads(file.read_text(encoding="utf-8"))
    common = {"start": 0, "end": 1, "blocks": "all"}
    cat = {"name": "cat", "box": list(MOVED), "role": "subject", "weight": 1, **common}
    hat = {"name": "hat", "box": list(RIGHT), "role": "attribute", "weight": 0.5, **common}
    assert saved == {"version": 1, "subjects": [cat, hat]}

    def open_file(text: str) -> None:
        file.write_text(text, encoding="utf-8")
        with editor.page.expect_file_chooser() as choosing:
            editor.press("Open a layout file or a picture made by AnyMS")
        choosing.value.set_files(file)

    open_file(infotext({**CAT, "weight": 1.5, "blocks": "style", "role": "background"}))
    editor.until_fields(1, (0.3, 0.1, 0.9, 1))
    sent = editor.sent()["subjects"]
    assert [(subject["name"], subject["role"], subject["weight"]) for subject in sent] == [("cat", "background", 1.5)]
    assert sent[0]["blocks"] == "style"
    # The second subject keeps its picture, but takes no part.
    editor.inside("root.querySelector('.box[data-slot=\"2\"]').classList.contains('off')")
    open_file('{"version": 9, "subjects": []}')
    problem = editor.root.get_by_role("alert")
    problem.filter(has_text="not a valid layout").wait_for()
    assert "layout_version" in problem.inner_text()
    assert editor.fields(1) == (0.3, 0.1, 0.9, 1)


def test_the_plain_fields_can_be_shown_and_used(editor: Editor) -> None:
    field = editor.entry("slot1_x0")
    assert not field.is_visible()
    editor.press("Show the number fields")
    editor.page.keyboard.press("Escape")
    editor.choose(1)
    field.fill("0.25")
    field.press("Tab")
    editor.inside("root.querySelector('.box[data-slot=\"1\"]').getAttribute('aria-label').includes('left 25 %')")
    editor.choose(2)
    editor.ours("slot2_use").locator("input").uncheck()
    editor.box(2).wait_for(state="detached")
    editor.press("Undo")
    editor.box(2).wait_for()
    editor.choose(2)
    assert editor.ours("slot2_use").locator("input").is_checked()


def test_every_control_has_a_name_and_is_large_enough_for_finger_and_mouse(editor: Editor, phone: Editor) -> None:
    for screen, least in ((editor, 24), (phone, 44)):
        screen.unfold(2)
        targets = screen.root.locator("button:visible, select:visible").all()
        targets += screen.ours("slot2_inspect").locator("button:visible, input:visible").all()
        assert len(targets) > 20
        for target in targets:
            area = target.bounding_box()
            name = target.get_attribute("aria-label") or target.inner_text()
            assert name.strip()
            assert min(area["width"], area["height"]) >= least, name
    label = phone.box(2).get_attribute("aria-label")
    assert label == "Subject 2: left 52 %, top 15 %, width 43 %, height 80 %; layer 2 of 2; no picture yet"
    width = phone.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    phone.name(2, "dog")
    assert phone.subject(2).locator(".name").bounding_box()["width"] > 20  # the name is visible too
    inside = (
        "[...root.querySelectorAll('.desk button, .box')].every((node) => node.getBoundingClientRect().right <= 360)"
    )
    phone.inside(inside)
    for entry in phone.unfold(2):
        area = entry.bounding_box()
        assert area["x"] + area["width"] <= 360


def test_a_finger_drags_and_resizes_and_a_second_one_changes_nothing(phone: Editor) -> None:
    touch = phone.touch()
    x, y = phone.middle(phone.box(1))
    dx = phone.shift((0.125, 0))[0]
    touch("touchStart", (x, y))
    touch("touchMove", (x + dx / 2, y))
    touch("touchStart", (x + dx / 2, y), (x + 2 * dx, y + 9))
    touch("touchMove", (x + dx, y), (x + 3 * dx, y + 90))
    touch("touchEnd")
    phone.until_fields(1, MOVED)

    x, y = phone.middle(phone.handle("e"))
    touch("touchStart", (x, y))
    touch("touchMove", (x + dx / 2, y))
    touch("touchMove", (x + dx, y))
    touch("touchEnd")
    phone.until_fields(1, (0.1667, 0.15, 0.7083, 0.95))

    x, y = phone.middle(phone.box(1))
    touch("touchStart", (x, y))
    touch("touchMove", (x, y + 40))
    touch("touchCancel")
    phone.inside("!root.querySelector('.gesture')")
    assert phone.fields(1) == (0.1667, 0.15, 0.7083, 0.95)
    phone.keep("phone")


def test_a_pen_drags(editor: Editor) -> None:
    editor.page.evaluate(
        "document.addEventListener('pointerdown', (event) => { window.pointer = event.pointerType; }, true)"
    )
    x, y = editor.middle(editor.box(1))
    dx = editor.shift((0.125, 0))[0]
    session = editor.context.new_cdp_session(editor.page)
    common = {"y": y, "button": "left", "buttons": 1, "clickCount": 1, "pointerType": "pen"}
    kinds = ("mouseMoved", "mousePressed", "mouseMoved", "mouseMoved", "mouseReleased")
    for kind, part in zip(kinds, (0, 0, 0.5, 1, 1)):
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": x + part * dx, **common})
    assert editor.page.evaluate("window.pointer") == "pen"
    assert editor.fields(1) == MOVED


def test_without_the_script_the_plain_fields_work_and_the_page_says_so(browser: Any, served: Served) -> None:
    plain = Editor(browser.new_context(viewport={"width": 1000, "height": 900}), served)
    plain.page.goto(plain.url + "?broken", wait_until="load")
    plain.root.get_by_text("The region editor has not started").wait_for()
    plain.ours("slot3_shown").get_by_text("Reload the page").wait_for()
    for edge, value in zip(("x0", "y0", "x1", "y1"), (0.2, 0.3, 0.6, 0.7)):
        plain.entry(f"slot3_{edge}").fill(str(value))
    plain.entry("slot3_name").fill("cat")
    plain.entry("slot3_name").press("Tab")
    assert "subject 'cat' has no reference picture" in plain.sent()  # only the script can add one
    plain.keep("plain")
    plain.close()

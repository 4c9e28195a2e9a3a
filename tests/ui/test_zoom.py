"""The zoom of the stage: by wheel, keys, buttons and two fingers."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Locator, expect

from tests.ui.editor import Editor
from tests.ui.test_tools import assert_no_faults

Place = tuple[float, float]


def canvas(editor: Editor) -> Locator:
    return editor.root.locator(".canvas")


def place_at(editor: Editor, point: Place) -> Place:
    """A point of the window in fractions of the picture."""
    area = canvas(editor).bounding_box()
    return (point[0] - area["x"]) / area["width"], (point[1] - area["y"]) / area["height"]


def shows(editor: Editor, slot: int) -> bool:
    """Whether the middle of a box is in view."""
    x0, y0, x1, y1 = editor.fields(slot)
    whole, view = canvas(editor).bounding_box(), editor.root.locator(".view").bounding_box()
    x, y = whole["x"] + (x0 + x1) / 2 * whole["width"], whole["y"] + (y0 + y1) / 2 * whole["height"]
    return view["x"] < x < view["x"] + view["width"] and view["y"] < y < view["y"] + view["height"]


def wheel(editor: Editor, *turns: float) -> None:
    editor.page.keyboard.down("Control")
    for turn in turns:
        editor.page.mouse.wheel(0, turn)
    editor.page.keyboard.up("Control")


def test_the_wheel_zooms_around_the_pointer_and_boxes_are_dragged_there(editor: Editor) -> None:
    editor.root.locator(".notice").filter(has_text="2 model files").wait_for()  # its line moves the stage
    editor.middle(editor.root.locator(".view"))  # scrolls it into view
    view = editor.root.locator(".view").bounding_box()
    panel = editor.ours("enabled").bounding_box()
    point = view["x"] + view["width"] * 0.8, view["y"] + view["height"] * 0.4
    before, width = place_at(editor, point), canvas(editor).bounding_box()["width"]
    editor.page.mouse.move(*point)
    wheel(editor, -100, -100)
    editor.inside(f"root.querySelector('.canvas').clientWidth > {2 * width}")
    assert place_at(editor, point) == pytest.approx(before, abs=0.005)
    assert editor.ours("enabled").bounding_box() == panel
    x0, y0, x1, y1 = editor.fields(2)
    editor.page.mouse.down()
    editor.page.mouse.move(point[0] - 20, point[1])
    editor.page.mouse.move(point[0] - 100, point[1])
    editor.page.mouse.up()
    moved = 100 / canvas(editor).bounding_box()["width"]
    assert editor.fields(2) == pytest.approx((x0 - moved, y0, x1 - moved, y1), abs=0.5 * 32 / 768)  # on the grid
    assert place_at(editor, point) == pytest.approx(before, abs=0.005)  # the box has moved, not the stage
    handle = editor.handle("w").bounding_box()
    assert (handle["width"], handle["height"]) == (12, 12)
    wheel(editor, 100, 100, 100)
    expect(editor.root.locator(".view.zoomed")).to_have_count(0)
    assert canvas(editor).bounding_box() == view


def test_keys_zoom_and_show_the_box_that_they_move(editor: Editor) -> None:
    for key, percent in (("+", 150), ("=", 200), ("+", 300), ("-", 200)):
        editor.box(1).press(key)
        assert editor.status() == f"Zoom: {percent} %"
    for slot in (1, 2):
        for entry, value in zip(reversed(editor.unfold(slot)), (15, 15, 80, 80), strict=True):
            entry.fill(str(value))
            entry.press("Enter")
    chip = editor.subject(1).locator(".chip")
    chip.click()
    assert shows(editor, 1)
    chip.press("[")
    for _ in range(25):
        chip.press("ArrowLeft")
        chip.press("ArrowUp")
    assert shows(editor, 1)
    assert not shows(editor, 2)
    chip.press("0")
    assert editor.status() == "Zoom: 100 %"
    assert shows(editor, 2)
    assert not editor.root.locator(".whole").is_visible()


def test_the_buttons_of_the_larger_view_zoom(editor: Editor) -> None:
    zoom_in = editor.root.get_by_role("button", name="Zoom in")
    assert not zoom_in.is_visible()
    editor.press("Larger view")
    width = canvas(editor).bounding_box()["width"]
    for _ in range(5):
        zoom_in.click()
    assert canvas(editor).bounding_box()["width"] == pytest.approx(4 * width, rel=0.03)
    editor.press("Zoom out")
    middle = place_at(editor, editor.middle(editor.root.locator(".view")))
    editor.page.keyboard.press("Escape")
    expect(editor.root.locator("dialog.larger")).to_be_hidden()
    assert place_at(editor, editor.middle(editor.root.locator(".view"))) == pytest.approx(middle, abs=0.01)
    editor.root.get_by_role("button", name="300 %: show the whole stage").click()
    expect(editor.root.locator(".view.zoomed")).to_have_count(0)
    assert editor.focused() == "Larger view"


def test_axe_finds_no_fault_in_a_part_of_the_stage(editor: Editor, axe: str) -> None:
    editor.page.evaluate(axe)
    editor.press("Larger view")
    editor.press("Zoom in")
    assert_no_faults(editor.page, json.dumps({"include": [["anyms-editor[tab=txt2img]"]]}))


def test_two_fingers_zoom_the_stage_and_not_the_page(phone: Editor) -> None:
    x, y = phone.middle(phone.root.locator(".view"))
    width = canvas(phone).bounding_box()["width"]
    before = [phone.fields(slot) for slot in (1, 2)]
    touch = phone.touch()
    touch("touchStart", (x - 20, y), (x + 20, y))
    for far in (30, 40, 50):
        touch("touchMove", (x - far, y), (x + far, y))
    touch("touchEnd")
    phone.inside(f"root.querySelector('.canvas').clientWidth > {2.3 * width}")
    assert place_at(phone, (x, y)) == pytest.approx((0.5, 0.5), abs=0.01)
    assert phone.page.evaluate("visualViewport.scale") == 1
    assert [phone.fields(slot) for slot in (1, 2)] == before
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

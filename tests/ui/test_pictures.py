"""The slots' pictures in a browser: dropped, pasted, ordered, undone, restored by an infotext, behind the boxes."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from tests.ui.editor import Editor, picture

GIVE = """([node, kind, files]) => {
    const transfer = new DataTransfer();
    for (const [name, type, bytes] of files)
        transfer.items.add(new File([Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0))], name, { type }));
    const options = { bubbles: true, composed: true, cancelable: true };
    if (kind === "paste") node.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, ...options }));
    else
        for (const event of ["dragover", "drop"])
            node.dispatchEvent(new DragEvent(event, { dataTransfer: transfer, ...options }));
}"""


def give(
    editor: Editor, kind: str, node: Any, *pictures: bytes, name: str = "cat.png", mime: str = "image/png"
) -> None:
    """Drop or paste files as the browser does; the event must not reach the host."""
    editor.page.evaluate(
        "window.events = [];"
        "for (const kind of ['drop', 'paste']) document.body.addEventListener(kind, () => events.push(kind))"
    )
    files = [[name, mime, base64.b64encode(data).decode()] for data in pictures]
    editor.page.evaluate(GIVE, [node.element_handle(), kind, files])
    assert editor.page.evaluate("window.events") == []


def card(editor: Editor, slot: int) -> Any:
    return editor.ours(f"slot{slot}_shown")


def pictures_sent(editor: Editor) -> list[list[str]]:
    return [subject["pictures"] for subject in editor.sent()["subjects"]]


def with_infotext(infotext: dict[str, Any]) -> bytes:
    """A PNG with an infotext of AnyMS, as a host saves it."""
    chunks = PngInfo()
    line = json.dumps(json.dumps(infotext, ensure_ascii=False), ensure_ascii=False)
    chunks.add_text("parameters", f"a cat 猫\nSteps: 4, Sampler: Euler a, AnyMS: {line}, Version: v1.10.1")
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(data, "PNG", pnginfo=chunks)
    return data.getvalue()


def test_several_pictures_of_a_subject_are_ordered_and_removed(editor: Editor) -> None:
    for colour in ("orange", "navy", "green"):
        editor.give(1, colour)
    orange, navy, green = pictures_sent(editor)[0]
    assert card(editor, 1).locator(".count").inner_text() == "3 pictures of one subject"
    face = editor.box(1).locator("img")
    before = face.get_attribute("src")
    card(editor, 1).get_by_role("button", name="Move picture 2 of subject 1 forward").click()
    editor.inside(f"root.querySelector('.box[data-slot=\"1\"] img').getAttribute('src') !== {json.dumps(before)}")
    assert pictures_sent(editor) == [[navy, orange, green]]
    editor.keep("pictures")
    card(editor, 1).get_by_role("button", name="Remove picture 3 of subject 1").click()
    editor.thumbs(1).nth(2).wait_for(state="detached")
    assert pictures_sent(editor) == [[navy, orange]]
    for _ in range(2):
        card(editor, 1).get_by_role("button", name="Remove picture 1 of subject 1").press("Enter")
    editor.box(1).locator("img").wait_for(state="hidden")
    focused = (
        "document.querySelector('#script_txt2img_anyms_slot1_shown .anyms-pictures > div').shadowRoot.activeElement"
    )
    assert editor.page.evaluate(f"{focused}.getAttribute('aria-label')") == "Add pictures to subject 1"
    assert editor.sent()["enabled"] is False  # without any subject the host makes its own image


def test_undo_covers_pictures(editor: Editor) -> None:
    editor.give(1, "orange")
    editor.give(1, "navy")
    editor.drag(editor.box(1), (0.125, 0))
    moved, both = editor.fields(1), pictures_sent(editor)
    card(editor, 1).get_by_role("button", name="Remove picture 1 of subject 1").click()
    editor.thumbs(1).nth(1).wait_for(state="detached")
    editor.page.keyboard.press("Control+z")  # works right where the picture was removed
    editor.thumbs(1).nth(1).wait_for(state="attached")
    assert pictures_sent(editor) == both
    assert editor.fields(1) == moved
    for _ in range(2):
        editor.press("Undo")
    expect(editor.thumbs(1)).to_have_count(1)
    assert editor.fields(1) != moved
    for _ in range(2):
        editor.press("Redo")
    assert (pictures_sent(editor), editor.fields(1)) == (both, moved)

    editor.press("Remove subject 1")
    editor.press("Undo")
    assert pictures_sent(editor) == both
    give(
        editor, "drop", editor.root.locator(".mat"), picture("green"), picture("crimson")
    )  # into slot 2 and a new slot
    editor.thumbs(3).first.wait_for(state="attached")
    editor.press("Undo")  # one drop is one undo step
    expect(editor.root.locator(".box")).to_have_count(2)
    assert [editor.thumbs(slot).count() for slot in (1, 2, 3)] == [2, 0, 0]


def test_names_are_undone_one_word_at_a_time(editor: Editor) -> None:
    for slot, colour in ((1, "orange"), (2, "navy")):
        editor.give(slot, colour)
    editor.choose(1)
    editor.entry("slot1_name").press_sequentially("red cat")
    editor.inside("root.querySelector('.box[data-slot=\"1\"] .name').textContent === 'red cat'")
    editor.name(2, "dog")
    editor.drag(editor.box(1), (0.125, 0))
    editor.press("Undo")
    assert [editor.entry(f"slot{slot}_name").input_value() for slot in (1, 2)] == ["red cat", "dog"]
    for names in (["red cat", "subject 2"], ["subject 1", "subject 2"]):
        editor.press("Undo")
        assert [subject["name"] for subject in editor.sent()["subjects"]] == names
    for _ in range(2):
        editor.press("Redo")
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["red cat", "dog"]


def test_a_picture_is_pasted_into_the_focused_slot(editor: Editor) -> None:
    editor.choose(2)
    more = card(editor, 2).get_by_role("button", name="Add pictures to subject 2")
    more.focus()
    give(editor, "paste", more, picture("orange"))
    editor.thumbs(2).first.wait_for(state="attached")
    editor.box(1).focus()
    give(editor, "paste", editor.box(1), picture("navy"))
    editor.thumbs(1).first.wait_for(state="attached")
    assert [len(pictures) for pictures in pictures_sent(editor)] == [1, 1]


def test_pictures_dropped_beside_the_boxes_take_the_next_free_slots(editor: Editor) -> None:
    give(editor, "drop", editor.root.locator(".mat"), picture("orange"), picture("navy"), picture("green"))
    editor.thumbs(3).first.wait_for(state="attached")
    assert [editor.thumbs(slot).count() for slot in (1, 2, 3)] == [1, 1, 1]
    expect(editor.root.locator(".box")).to_have_count(3)
    editor.choose(2)
    give(editor, "drop", card(editor, 2).locator(".place"), picture("green"), picture("crimson"))
    editor.thumbs(2).nth(2).wait_for()
    assert [len(pictures) for pictures in pictures_sent(editor)] == [1, 3, 1]


def test_a_drop_on_a_box_with_pictures_asks_and_an_empty_box_comes_first(editor: Editor) -> None:
    for slot, colour in ((1, "orange"), (2, "navy")):
        editor.give(slot, colour)
    editor.drag(editor.box(1), (0.125, 0))  # so that the next box does not stand in line
    editor.press("Add subject")
    assert editor.fields(3) != editor.fields(1)
    give(editor, "drop", editor.box(3), picture("green"))
    editor.thumbs(3).first.wait_for(state="attached")
    assert [editor.thumbs(slot).count() for slot in (1, 2, 3)] == [1, 1, 1]

    question = editor.root.get_by_role("dialog", name="Subject 1 has pictures. Where does this one go?")
    give(editor, "drop", editor.box(1), picture("crimson"))
    question.get_by_role("button", name="Cancel").press("Escape")
    expect(question).to_have_count(0)
    give(editor, "drop", editor.box(1), picture("crimson"))
    question.get_by_role("button", name="New subject").click()
    editor.thumbs(4).first.wait_for(state="attached")
    before = editor.entry("slot1_pictures").input_value()
    give(editor, "drop", editor.box(1), picture("teal"))
    question.get_by_role("button", name="Replace the pictures of subject 1").click()
    field = "#script_txt2img_anyms_slot1_pictures :is(textarea, input)"
    editor.until(f"document.querySelector('{field}').value !== {json.dumps(before)}")
    assert [editor.thumbs(slot).count() for slot in (1, 2, 3, 4)] == [1, 1, 1, 1]
    editor.press("Undo")
    assert editor.entry("slot1_pictures").input_value() == before


def test_a_large_picture_is_shrunk_before_it_is_sent_and_a_small_one_is_not_changed(editor: Editor) -> None:
    data = io.BytesIO()
    Image.effect_noise((3000, 2000), 60).convert("RGB").save(data, "JPEG")
    give(editor, "drop", card(editor, 1).locator(".place"), data.getvalue(), name="large.jpg", mime="image/jpeg")
    give(editor, "drop", card(editor, 2).locator(".place"), picture("navy"))
    for slot in (1, 2):
        editor.thumbs(slot).first.wait_for(state="attached")
    large, small = (json.loads(editor.entry(f"slot{slot}_pictures").input_value())[0] for slot in (1, 2))
    assert Image.open(io.BytesIO(base64.b64decode(large.partition(",")[2]))).size == (1024, 683)
    assert base64.b64decode(small.partition(",")[2]) == picture("navy")


def test_a_rejected_file_is_explained(editor: Editor) -> None:
    problem = editor.root.get_by_role("alert")
    give(editor, "drop", editor.box(1), b"no picture", name="cat.heic", mime="image/heic")
    problem.filter(has_text="The browser cannot read cat.heic. Use PNG or JPEG.").wait_for()
    expect(editor.thumbs(1)).to_have_count(0)
    give(editor, "drop", editor.box(1), *(picture("orange", (40 + n, 40)) for n in range(10)))
    problem.filter(has_text="A subject takes at most 8 pictures; left out: 2.").wait_for()
    expect(editor.thumbs(1)).to_have_count(8)
    give(editor, "drop", editor.box(1), b"x", name="cat.txt", mime="text/plain")
    problem.filter(has_text="neither a picture nor a layout file").wait_for()


def test_a_layout_file_can_be_dropped(editor: Editor) -> None:
    cat = {"name": "cat", "box": [0.3, 0.1, 0.9, 1]}
    layout = json.dumps({"version": 1, "subjects": [cat]}).encode()
    give(editor, "drop", editor.root.locator(".mat"), layout, name="layout.json", mime="application/json")
    editor.until_fields(1, (0.3, 0.1, 0.9, 1))


def test_a_pasted_infotext_restores_its_pictures_and_reports_a_missing_one(editor: Editor) -> None:
    for slot, name, colours in ((1, "cat", ("orange", "navy")), (2, "dog", ("green",))):
        editor.name(slot, name)
        for colour in colours:
            editor.give(slot, colour)
    request = editor.sent()
    editor.open()
    expect(editor.thumbs(1)).to_have_count(0)
    editor.paste(json.dumps(request))
    editor.thumbs(1).nth(1).wait_for(state="attached")
    editor.thumbs(2).first.wait_for(state="attached")
    assert editor.sent() == request

    request["subjects"][1]["pictures"] = ["0" * 12]
    editor.paste(json.dumps(request))
    editor.page.get_by_text(
        "Reference pictures that are not kept on this computer are missing. Add again that of: dog."
    ).wait_for()
    editor.thumbs(2).first.wait_for(state="detached")
    expect(editor.thumbs(1)).to_have_count(2)


def test_a_picture_of_anyms_restores_its_layout_and_on_a_box_it_is_a_reference(editor: Editor) -> None:
    editor.name(1, "cat")
    editor.give(1, "orange")
    editor.drag(editor.box(1), (0.125, 0))
    request = {**editor.sent(), "scale": 0.35}
    editor.open()
    give(editor, "drop", editor.box(2), with_infotext(request))
    editor.thumbs(2).first.wait_for(state="attached")
    assert [subject["name"] for subject in editor.sent()["subjects"]] == ["subject 2"]
    give(editor, "drop", editor.root.locator(".subjects"), with_infotext(request))
    editor.thumbs(1).first.wait_for(state="attached")
    expect(editor.thumbs(2)).to_have_count(0)
    assert editor.sent() == request
    give(editor, "drop", editor.root.locator(".subjects"), picture("navy"))  # without an infotext it is a reference
    editor.thumbs(2).first.wait_for(state="attached")


def test_a_picture_behind_the_boxes_stays_in_the_browser(editor: Editor) -> None:
    background = editor.root.locator(".background")
    select = editor.root.get_by_label("Picture behind the boxes")
    assert select.locator("option").all_inner_texts() == [
        "Background: none",
        "Background: last picture",
        "Background: a file…",
    ]
    select.select_option("last")
    assert "There is no such picture yet" in editor.status()
    assert not background.is_visible()
    editor.give(1, "orange")
    before = editor.sent()
    show = """address => {
        const image = Object.assign(new Image(), { src: address });
        document.querySelector("#txt2img_gallery").append(image);
    }"""
    scene = []
    for size in ((90, 90), (768, 512)):  # a grid, then the picture itself
        scene.append(f"data:image/png;base64,{base64.b64encode(picture('green', size)).decode()}")
    editor.requests.clear()
    for address in scene:
        editor.page.evaluate(show, address)
    editor.inside(f"root.querySelector('.background').src === {json.dumps(scene[1])}")
    assert background.is_visible()
    editor.keep("behind")
    with editor.page.expect_file_chooser() as choosing:
        select.select_option("file")
    choosing.value.set_files({"name": "room.png", "mimeType": "image/png", "buffer": picture("crimson")})
    editor.inside("root.querySelector('.background').src.startsWith('blob:')")
    assert all(address.startswith(("data:", "blob:")) for address in editor.requests)
    assert editor.sent() == before
    select.select_option("none")
    background.wait_for(state="hidden")


def test_on_a_phone_pictures_fit_and_every_button_is_large_enough(phone: Editor) -> None:
    for colour in ("orange", "navy", "green"):
        phone.give(1, colour)
    phone.give(2, "crimson")
    for slot, count in ((1, 3 + 3 + 5 + 1), (2, 1 + 1 + 1 + 1)):  # crop, give, actions, add
        phone.choose(slot)
        buttons = card(phone, slot).locator("button:visible").all()
        assert len(buttons) == count
        assert_large(buttons)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    phone.keep("phone-pictures")


def assert_large(buttons: list[Any]) -> None:
    for button in buttons:
        area = button.bounding_box()
        assert min(area["width"], area["height"]) >= 44 - 0.5, button.get_attribute("aria-label")
        assert area["x"] + area["width"] <= 360


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_same_picture_is_added_only_once(editor: Editor, theme: str) -> None:
    editor.open(f"?__theme={theme}")
    for times in (1, 2):
        give(editor, "drop", editor.box(1), picture("orange"))
        if times == 2:
            editor.root.get_by_role("button", name="Add to subject 1").click()
        editor.thumbs(1).first.wait_for(state="attached")
    assert len(pictures_sent(editor)[0]) == 1
    editor.give(2, "navy")
    editor.keep(f"cards-{theme}")


def test_a_silhouette_is_chosen_shown_sent_undone_and_restored(editor: Editor) -> None:
    image = Image.new("L", (64, 64))
    image.paste(255, (0, 0, 32, 32))
    data = io.BytesIO()
    image.save(data, "PNG")
    editor.give(1, "red")
    editor.unfold(1)
    inspector = editor.ours("slot1_inspect")
    with editor.page.expect_file_chooser() as chooser:
        inspector.get_by_role("button", name="Choose a mask").click()
    chooser.value.set_files({"name": "mask.png", "mimeType": "image/png", "buffer": data.getvalue()})
    expect(editor.box(1).locator(".shape")).to_be_visible()
    assert editor.status() == "Subject 1 has a silhouette"
    (sent,) = editor.sent()["subjects"]
    assert len(sent["silhouette"]) == 12
    editor.keep("silhouette")
    inspector.get_by_role("button", name="Remove", exact=True).click()
    assert "silhouette" not in editor.sent()["subjects"][0]
    editor.press("Undo")
    assert editor.sent()["subjects"] == [sent]
    editor.box(1).press("Control+d")
    editor.box(3).locator(".shape").wait_for()

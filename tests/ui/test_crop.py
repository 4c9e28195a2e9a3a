"""The crop dialog in a browser: crop, erase, mask, background removal, and the preview of what the encoder sees."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lib_anyms.ip_adapter.cutting import cropped, masked
from lib_anyms.ip_adapter.references import FITS
from lib_anyms.layout.geometry import Box
from tests.ui.editor import Editor
from tests.ui.test_tools import assert_no_faults

SIZE = (90, 120)
DOWN, RIGHT = np.mgrid[0:120, 0:90]
COLOURS = Image.fromarray(np.stack((2 * RIGHT, 2 * DOWN, RIGHT + DOWN), -1).astype(np.uint8))  # no two pixels are equal
SQUARES = "[...root.querySelectorAll('.squares canvas')].map((canvas) => canvas.toDataURL())"


def as_file(picture: Image.Image, name: str = "colours.png") -> dict[str, Any]:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": data.getvalue()}


class CropDialog:
    """Drives the dialog."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.root = editor.root.locator("dialog.crop-dialog")
        self.view = self.root.locator(".crop-area canvas")

    def open(self) -> None:
        self.editor.ours("slot1_shown").get_by_role("button", name="Crop picture 1 of subject 1").click()
        self.root.wait_for()

    def press(self, name: str) -> None:
        self.root.get_by_role("button", name=name, exact=True).click()

    def crop(self, **percents: float) -> None:
        for name, value in percents.items():
            field = self.root.get_by_label(f"{name}, %")
            field.fill(str(value))
            field.press("Tab")

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag from `start` to `end`, in fractions of the picture."""
        area = self.view.bounding_box()
        points = [(area["x"] + x * area["width"], area["y"] + y * area["height"]) for x, y in (start, end)]
        mouse = self.editor.page.mouse
        mouse.move(*points[0])
        mouse.down()
        mouse.move(*points[1], steps=4)
        mouse.up()

    def choose_mask(self, mask: Image.Image) -> None:
        with self.editor.page.expect_file_chooser() as choosing:
            self.press("Mask from a file…")
        before = self.squares()
        choosing.value.set_files(as_file(mask, "mask.png"))
        self.until_squares_differ(before)

    def squares(self) -> list[str]:
        """The previews of the three fits, as data: URLs."""
        return self.editor.page.evaluate(
            f"(() => {{ const root = document.querySelector('anyms-editor').shadowRoot; return {SQUARES}; }})()"
        )

    def until_squares_differ(self, before: list[str]) -> None:
        self.editor.inside(f"({SQUARES}).every((shown, n) => shown !== {json.dumps(before)}[n])")

    def use(self) -> Image.Image:
        """Press "Apply" -> the slot's picture as it will be sent."""
        before = self.field()
        self.press("Apply")
        self.root.wait_for(state="hidden")
        if self.field() == before:
            self.editor.page.wait_for_timeout(300)
        return self.picture()

    def field(self) -> str:
        return self.editor.entry("slot1_pictures").input_value()

    def picture(self) -> Image.Image:
        (address,) = json.loads(self.field())
        return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


@pytest.fixture
def dialog(editor: Editor) -> CropDialog:
    editor.ours("slot1_shown").locator("input[type=file]").set_input_files(as_file(COLOURS))
    editor.thumbs(1).first.wait_for()
    dialog = CropDialog(editor)
    dialog.open()
    return dialog


def same(one: Image.Image, other: Image.Image, tolerance: int = 0) -> bool:
    """Whether all pixels differ by at most `tolerance`, of 255."""
    if one.size != other.size:
        return False
    difference = np.asarray(one, dtype=int) - np.asarray(other.convert("RGB"), dtype=int)
    return bool(np.abs(difference).max() <= tolerance)


def test_a_crop_is_previewed_and_equals_the_server_s_crop(dialog: CropDialog) -> None:
    before, original = dialog.squares(), dialog.field()
    assert len(set(before)) == len(FITS)
    dialog.crop(left=21, top=10.5, right=64, bottom=78.5)
    dialog.until_squares_differ(before)
    dialog.editor.keep("crop")
    assert dialog.field() == original
    assert same(dialog.use(), cropped(COLOURS, Box(0.21, 0.105, 0.64, 0.785)))
    dialog.open()  # the whole picture is still there
    assert [dialog.root.get_by_label(f"{name}, %").input_value() for name in ("left", "right")] == ["21", "64"]
    dialog.press("Start over")
    dialog.use()
    assert dialog.field() == original


def test_the_frame_is_dragged_by_its_edges_and_as_a_whole(dialog: CropDialog) -> None:
    dialog.stroke((1, 1), (0.5, 0.5))  # the corner
    dialog.stroke((0.25, 0.25), (0.5, 0.75))
    numbers = [
        float(dialog.root.get_by_label(f"{name}, %").input_value()) for name in ("left", "top", "right", "bottom")
    ]
    assert numbers == pytest.approx([25, 50, 75, 100], abs=3)
    width, height = dialog.use().size
    assert abs(width - 45) <= 3
    assert abs(height - 60) <= 3


@pytest.mark.parametrize("by", ["Escape", "Cancel"])
def test_a_cancelled_crop_changes_nothing_and_its_keys_do_not_reach_the_host(dialog: CropDialog, by: str) -> None:
    page, original = dialog.editor.page, dialog.field()
    page.evaluate("window.keys = []; document.addEventListener('keydown', (event) => keys.push(event.key))")
    dialog.crop(left=30)
    if by == "Escape":
        page.keyboard.press("Escape")
    else:
        dialog.press("Cancel")
    dialog.root.get_by_text("Discard the changes?").wait_for()
    dialog.press("Continue")
    assert dialog.root.is_visible()
    page.keyboard.press("Escape")
    dialog.press("Discard")
    dialog.root.wait_for(state="hidden")
    assert dialog.field() == original
    assert page.evaluate("window.keys") == []
    dialog.open()
    assert dialog.root.get_by_label("left, %").input_value() == "0"


def test_erased_pixels_are_white_and_can_be_restored(dialog: CropDialog) -> None:
    dialog.press("Erase")
    dialog.stroke((0.2, 0.5), (0.8, 0.5))
    dialog.press("Restore")
    dialog.stroke((0.8, 0.5), (0.82, 0.5))
    result = dialog.use()
    assert result.getpixel((30, 60)) == (255, 255, 255)
    for at in ((73, 60), (30, 10), (30, 110)):
        assert result.getpixel(at) == COLOURS.getpixel(at)
    dialog.open()
    dialog.press("Restore")  # also pixels that were erased before
    dialog.root.get_by_label("Size of the brush").fill("40")
    dialog.stroke((0.1, 0.5), (0.9, 0.5))
    assert same(dialog.use(), COLOURS)


@pytest.mark.parametrize("kind", ["L", "RGBA"])
def test_a_mask_from_a_file_is_read_as_the_server_reads_one(dialog: CropDialog, kind: str) -> None:
    mask = Image.new(kind, SIZE, 0)
    ImageDraw.Draw(mask).ellipse((20, 20, 70, 100), fill="white" if kind == "RGBA" else 255)
    dialog.choose_mask(mask)
    dialog.editor.keep(f"mask-{kind}")
    assert same(dialog.use(), masked(COLOURS, mask), tolerance=1)


def test_the_background_is_removed_on_request_if_there_is_a_model(dialog: CropDialog) -> None:
    editor = dialog.editor
    model, before = editor.folder / "u2netp.onnx", dialog.squares()
    model.unlink(missing_ok=True)
    dialog.press("Remove the background")
    dialog.root.get_by_role("alert").filter(has_text="rembg has none of its models").wait_for()
    assert dialog.squares() == before
    model.touch()
    dialog.press("Remove the background")
    dialog.until_squares_differ(before)
    assert not dialog.root.get_by_role("alert").is_visible()
    editor.keep("background")
    left_half = Image.new("L", SIZE, 0)
    left_half.paste(255, (0, 0, 45, 120))
    assert same(dialog.use(), masked(COLOURS, left_half), tolerance=1)


def test_a_square_chooses_its_fit(dialog: CropDialog) -> None:
    editor = dialog.editor
    for fit in ("crop", "stretch", "crop"):
        dialog.press(fit)
        dialog.root.locator(f".squares button[aria-pressed=true]:has-text('{fit}')").wait_for()
    dialog.use()
    assert editor.sent()["fit"] == "crop"


def test_on_a_phone_the_dialog_fits_and_every_control_is_large_enough(phone: Editor) -> None:
    phone.give(1, "orange")
    dialog = CropDialog(phone)
    dialog.open()
    for target in dialog.root.locator(":is(button, input[type=number]):visible").all():
        area = target.bounding_box()
        assert min(area["width"], area["height"]) >= 44 - 0.5, target.inner_text()
        assert area["x"] >= 0
        assert area["x"] + area["width"] <= 360
    phone.keep("phone-crop")


def test_axe_finds_no_fault_in_the_dialog(dialog: CropDialog, axe: str) -> None:
    page = dialog.editor.page
    page.evaluate(axe)
    assert_no_faults(page, "{ include: [['anyms-editor']] }")

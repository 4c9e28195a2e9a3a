"""A picture is cut on the page, on both gradios: a part, what is erased, a mask, the background; shown before it is
used.
"""

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

SIZE = (90, 120)
DOWN, RIGHT = np.mgrid[0:120, 0:90]
COLOURS = Image.fromarray(np.stack((2 * RIGHT, 2 * DOWN, RIGHT + DOWN), -1).astype(np.uint8))  # no two pixels alike
SQUARES = "[...root.querySelectorAll('.squares canvas')].map((canvas) => canvas.toDataURL())"


def as_file(picture: Image.Image, name: str = "colours.png") -> dict[str, Any]:
    data = io.BytesIO()
    picture.save(data, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": data.getvalue()}


class Cutting:
    """The dialog over the page."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.dialog = editor.root.locator("dialog.cutting")
        self.view = self.dialog.locator(".work canvas")

    def open(self) -> None:
        self.editor.ours("slot1_shown").get_by_role("button", name="Cut picture 1 of subject 1").click()
        self.dialog.wait_for()

    def press(self, name: str) -> None:
        self.dialog.get_by_role("button", name=name, exact=True).click()

    def part(self, **percents: float) -> None:
        for name, value in percents.items():
            field = self.dialog.get_by_label(f"{name}, %")
            field.fill(str(value))
            field.press("Tab")

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """From here to there, in fractions of the picture."""
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
        """What is shown of the three fits."""
        return self.editor.page.evaluate(
            f"(() => {{ const root = document.querySelector('anyms-editor').shadowRoot; return {SQUARES}; }})()"
        )

    def until_squares_differ(self, before: list[str]) -> None:
        self.editor.inside(f"({SQUARES}).every((shown, n) => shown !== {json.dumps(before)}[n])")

    def use(self) -> Image.Image:
        """-> the slot's picture then, as it will be sent."""
        before = self.held()
        self.press("Use it")
        self.dialog.wait_for(state="hidden")
        if self.held() == before:
            self.editor.page.wait_for_timeout(300)
        return self.picture()

    def held(self) -> str:
        return self.editor.entry("slot1_pictures").input_value()

    def picture(self) -> Image.Image:
        (address,) = json.loads(self.held())
        return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")


@pytest.fixture
def cutting(editor: Editor) -> Cutting:
    editor.ours("slot1_shown").locator("input[type=file]").set_input_files(as_file(COLOURS))
    editor.thumbs(1).first.wait_for()
    made = Cutting(editor)
    made.open()
    return made


def same(one: Image.Image, other: Image.Image, by: int = 0) -> bool:
    apart = (
        np.abs(np.asarray(one, dtype=int) - np.asarray(other.convert("RGB"), dtype=int))
        if one.size == other.size
        else 999
    )
    return bool(np.max(apart) <= by)


def test_a_part_is_shown_before_it_is_used_and_is_the_server_s_own_cut(cutting: Cutting) -> None:
    before, held = cutting.squares(), cutting.held()
    assert len(set(before)) == len(FITS)
    cutting.part(left=21, top=10.5, right=64, bottom=78.5)
    cutting.until_squares_differ(before)
    cutting.editor.keep("cutting")
    assert cutting.held() == held
    assert same(cutting.use(), cropped(COLOURS, Box(0.21, 0.105, 0.64, 0.785)))
    cutting.open()  # the whole picture is there still
    assert [cutting.dialog.get_by_label(f"{name}, %").input_value() for name in ("left", "right")] == ["21", "64"]
    cutting.press("Start over")
    cutting.use()
    assert cutting.held() == held


def test_the_frame_is_dragged_by_its_edges_and_as_a_whole(cutting: Cutting) -> None:
    cutting.stroke((1, 1), (0.5, 0.5))  # the corner
    cutting.stroke((0.25, 0.25), (0.5, 0.75))
    numbers = [
        float(cutting.dialog.get_by_label(f"{name}, %").input_value()) for name in ("left", "top", "right", "bottom")
    ]
    assert numbers == pytest.approx([25, 50, 75, 100], abs=3)
    width, height = cutting.use().size
    assert abs(width - 45) <= 3
    assert abs(height - 60) <= 3


@pytest.mark.parametrize("by", ["Escape", "Cancel"])
def test_what_is_not_used_changes_nothing_and_the_host_does_not_hear_of_it(cutting: Cutting, by: str) -> None:
    page, held = cutting.editor.page, cutting.held()
    page.evaluate("window.heard = []; document.addEventListener('keydown', (event) => heard.push(event.key))")
    cutting.part(left=30)
    page.keyboard.press("Escape") if by == "Escape" else cutting.press("Cancel")
    cutting.dialog.wait_for(state="hidden")
    assert cutting.held() == held
    assert page.evaluate("window.heard") == []
    cutting.open()
    assert cutting.dialog.get_by_label("left, %").input_value() == "0"


def test_what_is_erased_is_white_and_can_be_brought_back(cutting: Cutting) -> None:
    cutting.press("Erase")
    cutting.stroke((0.2, 0.5), (0.8, 0.5))
    cutting.press("Bring back")
    cutting.stroke((0.8, 0.5), (0.82, 0.5))
    made = cutting.use()
    assert made.getpixel((30, 60)) == (255, 255, 255)
    assert [made.getpixel(at) == COLOURS.getpixel(at) for at in ((73, 60), (30, 10), (30, 110))] == [True] * 3
    cutting.open()
    cutting.press("Bring back")  # also what was erased before
    cutting.dialog.get_by_label("Size of the brush").fill("40")
    cutting.stroke((0.1, 0.5), (0.9, 0.5))
    assert same(cutting.use(), COLOURS)


@pytest.mark.parametrize("kind", ["L", "RGBA"])
def test_a_mask_from_a_file_is_read_as_the_server_reads_one(cutting: Cutting, kind: str) -> None:
    mask = Image.new(kind, SIZE, 0)
    ImageDraw.Draw(mask).ellipse((20, 20, 70, 100), fill="white" if kind == "RGBA" else 255)
    cutting.choose_mask(mask)
    cutting.editor.keep(f"mask-{kind}")
    assert same(cutting.use(), masked(COLOURS, mask), by=1)


def test_a_background_goes_only_when_asked_and_where_it_can(cutting: Cutting) -> None:
    editor = cutting.editor
    models, before = editor.folder / "u2netp.onnx", cutting.squares()
    models.unlink(missing_ok=True)
    cutting.press("Remove the background")
    cutting.dialog.get_by_role("alert").filter(has_text="rembg has none of its models").wait_for()
    assert cutting.squares() == before
    models.touch()
    cutting.press("Remove the background")
    cutting.until_squares_differ(before)
    assert not cutting.dialog.get_by_role("alert").is_visible()
    editor.keep("background")
    left_half = Image.new("L", SIZE, 0)
    left_half.paste(255, (0, 0, 45, 120))
    assert same(cutting.use(), masked(COLOURS, left_half), by=1)


def test_a_fit_is_chosen_by_its_square(cutting: Cutting) -> None:
    editor = cutting.editor
    for fit in ("crop", "stretch", "crop"):
        cutting.press(fit)
        cutting.dialog.locator(f".squares button[aria-pressed=true]:has-text('{fit}')").wait_for()
    cutting.use()
    assert editor.sent()["fit"] == "crop"


def test_on_a_phone_it_fits_and_every_target_is_large_enough(phone: Editor) -> None:
    phone.give(1, "orange")
    cutting = Cutting(phone)
    cutting.open()
    for target in cutting.dialog.locator(":is(button, input[type=number]):visible").all():
        area = target.bounding_box()
        assert min(area["width"], area["height"]) >= 44 - 0.5, target.inner_text()
        assert area["x"] >= 0
        assert area["x"] + area["width"] <= 360
    phone.keep("phone-cutting")


def test_axe_finds_nothing_in_it(cutting: Cutting, axe: str) -> None:
    page = cutting.editor.page
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run({ include: [['anyms-editor']] }).then((told) => [told.violations, told.passes.length])"
    )
    assert [(fault["id"], [node["html"][:160] for node in fault["nodes"]]) for fault in found[0]] == []
    assert found[1] > 10

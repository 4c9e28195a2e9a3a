"""What helps to judge and to reuse a layout, in a browser on both gradios: hints, debug view, comparison, own arrangements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.node_packages import Unavailable, packages
from tests.ui.editor import Editor
from tests.ui.gradios import GRADIOS, Served, serve
from tests.ui.gradios import Unavailable as NoGradio
from tests.ui.test_editor import LEFT, RIGHT, fill

OURS = "anyms-editor[tab=txt2img]"


class Both(Editor):
    """A page with both tabs, of which the first one is meant."""

    def __init__(self, context: Any, served: Served) -> None:
        super().__init__(context, served)
        self.root = self.page.locator(OURS)
        self.other = self.page.locator("anyms-editor[tab=img2img]")

    def field(self, name: str) -> Any:
        return self.page.locator(f"#{name}").locator("textarea, input").first

    def type(self, name: str, text: object) -> None:
        self.field(name).fill(str(text))
        self.field(name).press("Tab")

    def hints(self, slot: int) -> list[str]:
        return self.row(slot).locator(".hints li").all_inner_texts()


@pytest.fixture(scope="module", params=GRADIOS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    try:
        page = serve(request.param, tmp_path_factory.mktemp(request.param) / "page.log", "--both")
    except NoGradio as error:
        pytest.skip(str(error))
    yield page
    page.stop()


@pytest.fixture
def tabs(browser: Any, both: Served) -> Iterator[Both]:
    opened = Both(browser.new_context(viewport={"width": 1000, "height": 900}), both)
    opened.open()
    yield opened
    opened.close()


def test_what_may_be_wrong_is_said_where_it_is_and_announced(tabs: Both) -> None:
    assert [tabs.hints(slot) for slot in (1, 2)] == [[], []]
    tabs.name(1, "cat")
    tabs.inside("root.querySelector('.row[data-slot=\"1\"] .hints .warning')")
    assert "no picture" in tabs.hints(1)[0]
    announced = tabs.root.locator("[aria-live=polite]")
    assert "Subject 1: It has a name but no picture." in announced.text_content()
    assert tabs.box(1).get_attribute("aria-describedby") == "hints1 keys"
    tabs.give(1, "orange")
    tabs.inside("!root.querySelector('.row[data-slot=\"1\"] .hints .warning')")
    fill(tabs, "cat", "dog")
    tabs.type("txt2img_prompt", "a cat on a beach")
    tabs.inside("root.querySelector('.row[data-slot=\"2\"] .hints .hint')")
    assert tabs.hints(1) == []
    assert "not found in the prompt" in tabs.hints(2)[0]
    assert "may still be right" in tabs.hints(2)[0]
    tabs.type("txt2img_final", "a cat and a dog on a beach\nNegative prompt: x")  # what the host made of a wildcard
    tabs.inside("!root.querySelector('.row[data-slot=\"2\"] .hints .hint')")
    left, top, width, height = tabs.row(1).locator(".numbers input").all()
    for entry, percent in ((left, 60), (top, 20), (width, 20), (height, 20)):
        entry.fill(str(percent))
        entry.press("Enter")
    tabs.press("Send back 1")
    tabs.inside("root.querySelector('.box[data-slot=\"1\"]').classList.contains('warned')")
    assert "Hidden" in tabs.hints(1)[0]
    tabs.keep("hints")


def test_missing_model_files_are_named_before_a_job(tabs: Both) -> None:
    notice = tabs.root.locator(".notice")
    assert not notice.is_visible()  # nothing is wanted yet
    tabs.give(1, "orange")
    notice.filter(has_text="IP-Adapter").wait_for()
    assert "ip-adapter-plus_sdxl_vit-h" in notice.inner_text()


def test_the_owner_of_each_token_is_shown_at_either_level(tabs: Both) -> None:
    fill(tabs, "cat", "dog")
    tabs.drag(tabs.box(2), (-0.25, 0))
    levels = tabs.root.get_by_label("Show who owns each token")
    assert not tabs.root.locator("canvas").is_visible()
    data = "node.getContext('2d').getImageData(0, 0, node.width, node.height).data"
    for value, words, size in (("1", "48 × 32 tokens", (48, 32)), ("2", "24 × 16 tokens", (24, 16))):
        levels.select_option(value)
        told = tabs.root.locator(".levels .told").inner_text()
        assert told == words
        canvas = tabs.root.locator("canvas")
        assert canvas.evaluate("node => [node.width, node.height]") == list(size)
        owned = canvas.evaluate(f"node => [...{data}].filter((value, n) => n % 4 === 3 && value).length")
        boxes = [tabs.fields(slot) for slot in (1, 2)]
        columns, rows = size
        union = {
            (x, y)
            for x0, y0, x1, y1 in boxes
            for x in range(int(x0 * columns + 0.5), int(x1 * columns + 0.5))
            for y in range(int(y0 * rows + 0.5), int(y1 * rows + 0.5))
        }
        assert owned == len(union)
    tabs.keep("owners")
    levels.select_option("0")
    assert not tabs.root.locator("canvas").is_visible()


def test_one_click_asks_for_a_comparison_and_the_next_generate_for_none(tabs: Both) -> None:
    button = tabs.root.get_by_role("button", name="Compare three ways")
    assert button.is_disabled()  # there is nothing to compare
    fill(tabs, "cat", "dog")
    for name, asked in (("Compare three ways", "comparison"), ("Show where each acts", "maps")):
        told = tabs.page.locator("#txt2img_sent textarea")
        told.fill("")
        tabs.root.get_by_role("button", name=name).click()
        tabs.until("document.querySelector('#txt2img_sent textarea').value.startsWith('{')")
        assert json.loads(told.input_value())["asked"] == asked
        tabs.until(
            "document.querySelector('#script_txt2img_anyms_asked textarea, #script_txt2img_anyms_asked input').value === ''"
        )
        assert "asked" not in tabs.sent()


def test_own_arrangements_are_kept_used_deleted_and_taken_along(tabs: Both, tmp_path: Path) -> None:
    fill(tabs, "cat", "dog")
    tabs.drag(tabs.box(1), (0.125, 0))
    moved = tabs.fields(1)
    tabs.root.locator("summary").click()
    name = tabs.root.get_by_label("Name of a new arrangement")
    tabs.press("Keep this one")
    assert "needs a name" in tabs.root.get_by_role("alert").inner_text()
    name.fill("duel")
    name.press("Enter")
    assert tabs.said() == "Kept arrangement duel"
    tabs.press("Undo")
    assert tabs.fields(1) == LEFT

    tabs.page.reload()  # the browser keeps them
    tabs.box(2).wait_for()
    fill(tabs, "cat", "dog")
    tabs.root.locator("summary").click()
    tabs.press("Use it")
    assert sorted([tabs.fields(1), tabs.fields(2)]) == sorted([moved, RIGHT])
    with tabs.page.expect_download() as saving:
        tabs.press("Save my arrangements as a file")
    file = tmp_path / "arrangements.json"
    saving.value.save_as(file)
    tabs.press("Delete the arrangement")
    assert tabs.root.get_by_label("My arrangements", exact=True).is_disabled()
    with tabs.page.expect_file_chooser() as choosing:
        tabs.press("Open a file of arrangements")
    choosing.value.set_files(file)
    tabs.inside("root.querySelector('.own option').value === 'duel'")
    with tabs.page.expect_file_chooser() as choosing:
        tabs.press("Open a file of arrangements")
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    choosing.value.set_files(other)
    tabs.root.get_by_role("alert").filter(has_text="no arrangements in this file").wait_for()


def test_a_layout_is_copied_to_the_other_tab_with_its_pictures(tabs: Both) -> None:
    fill(tabs, "beach", "cat")
    tabs.press("Bring forward 1")
    tabs.press("Copy to img2img")
    tabs.other.locator(".box img").nth(1).wait_for()
    tabs.until("document.querySelector('#script_img2img_anyms_slot1_name textarea').value === 'cat'")
    tabs.page.locator("#img2img_generate").click()
    tabs.until("document.querySelector('#img2img_sent textarea').value.startsWith('{')")
    told = json.loads(tabs.page.locator("#img2img_sent textarea").input_value())["subjects"]
    mine = tabs.sent()["subjects"]
    assert [subject["name"] for subject in mine] == ["cat", "beach"]
    for key in ("name", "box", "role", "pictures"):
        assert [subject[key] for subject in told] == [subject[key] for subject in mine]


def test_the_shape_follows_resize_by_and_what_a_hires_fix_cuts_is_shaded(tabs: Both) -> None:
    tabs.type("img2img_scale", 1.5)
    tabs.other.locator(".shape", has_text="960 × 600").wait_for()
    cut = tabs.root.locator(".cut")
    assert not cut.is_visible()
    tabs.page.locator("#txt2img_hr-checkbox input").check()
    tabs.type("txt2img_hr_resize_x", 512)
    tabs.type("txt2img_hr_resize_y", 512)
    cut.wait_for()
    assert "16.67% 0%" in cut.evaluate("node => node.style.clipPath").replace("0.00%", "0%")
    assert tabs.root.locator(".cutnote").is_visible()
    tabs.keep("cut")
    tabs.type("txt2img_hr_resize_y", 0)  # keeps the aspect
    cut.wait_for(state="hidden")


def test_all_of_it_is_within_reach_of_a_finger(phone: Editor) -> None:
    phone.root.locator("summary").click()
    targets = phone.root.locator(".aids :is(button, select, summary, input):visible").all()
    assert len(targets) >= 9
    for target in targets:
        area = target.bounding_box()
        assert min(area["width"], area["height"]) >= 44, target.inner_text()
        assert area["x"] + area["width"] <= 360


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        return (packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_axe_finds_nothing_in_our_elements(browser: Any, both: Served, axe: str, theme: str, width: int) -> None:
    seen = Both(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme), both)
    seen.open(f"?__theme={theme}")
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
        context = json.dumps({"include": [[OURS], ["#script_txt2img_anyms_slot1_shown"], ["#script_txt2img_anyms_slot2_shown"]]})
        found = seen.page.evaluate(f"axe.run({context}).then((told) => [told.violations, told.passes.length])")
        faults = [(fault["id"], [node["html"][:160] for node in fault["nodes"]]) for fault in found[0]]
        assert faults == []
        assert found[1] > 10  # it has looked at something
    seen.keep(f"{theme}-{width}")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.close()

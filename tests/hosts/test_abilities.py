"""The editor tests of tests/ui on the hosts' own pages: one table of the same functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.hosts.conftest import with_sprites
from tests.hosts.drive import QUIET, SCREEN, HostEditor
from tests.hosts.studio import Studio
from tests.support.programs import find_browser
from tests.ui import test_editor, test_pictures, test_tools
from tests.ui.editor import picture

ABILITIES: tuple[Callable[..., None], ...] = (
    test_editor.test_two_pictures_are_enough_and_a_dragged_box_is_sent,
    test_editor.test_generate_right_after_a_drag_sends_the_new_box,
    test_editor.test_eight_handles_move_their_edges_and_the_grip_moves_a_covered_box,
    test_editor.test_a_box_snaps_to_tokens_unless_alt_is_held,
    test_editor.test_escape_cancels_a_drag_and_does_not_reach_the_host,
    test_editor.test_the_keyboard_alone,
    test_editor.test_the_list_edits_boxes_without_dragging,
    test_editor.test_two_of_twelve_slots_are_shown_at_first,
    test_editor.test_a_removed_subject_takes_no_part_and_comes_back_with_its_picture,
    test_editor.test_a_subject_that_is_off_keeps_its_box,
    test_editor.test_presets_and_the_layer_order,
    test_editor.test_a_picture_dropped_on_a_box_goes_into_its_slot,
    test_editor.test_the_canvas_follows_the_picture_s_size_at_once,
    test_editor.test_a_pasted_infotext_is_shown_and_its_boxes_are_not_rounded,
    test_editor.test_a_layout_is_saved_to_a_file_and_opened_again,
    test_editor.test_a_pen_drags,
    test_editor.test_a_finger_drags_and_resizes_and_a_second_one_changes_nothing,
    test_pictures.test_several_pictures_of_a_subject_are_ordered_and_removed,
    test_pictures.test_undo_covers_pictures,
    test_pictures.test_names_are_undone_one_word_at_a_time,
    test_pictures.test_a_picture_is_pasted_into_the_focused_slot,
    test_pictures.test_a_picture_of_anyms_restores_its_layout_and_on_a_box_it_is_a_reference,
    test_pictures.test_a_rejected_file_is_explained,
    test_tools.test_labels_are_in_the_host_s_language,
    test_tools.test_the_token_map_shows_the_owner_of_each_token,
    test_tools.test_layouts_are_saved_applied_deleted_and_exchanged,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = find_browser()
    if chromium is None:
        pytest.skip("no Chromium for the host's page: install chromium, or set ANYMS_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def editor(browser: Any, studio: Studio) -> Iterator[HostEditor]:
    opened = HostEditor(browser.new_context(viewport=SCREEN), studio)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def phone(browser: Any, studio: Studio) -> Iterator[HostEditor]:
    context = browser.new_context(viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True)
    opened = HostEditor(context, studio)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def other(studio: Studio) -> Iterator[Studio]:
    """The host with a checkpoint of another structure, and its adapters."""
    with with_sprites(studio, "other") as visited:
        yield visited


def test_another_checkpoint_is_compared_with_the_adapter_at_once(
    other: Studio, editor: HostEditor, studio: Studio
) -> None:
    editor.give(1, "orange")
    editor.open_fold("more")
    adapter = editor.ours("adapter").locator("input").first
    adapter.fill(other.files.adapters["plus"].name)
    adapter.press("Enter")
    notice = editor.root.locator(".notice")
    expect(notice).to_be_hidden()
    shown = editor.page.locator("#setting_sd_model_checkpoint input, .model_selection input").first
    shown.fill(studio.files.checkpoint.name)
    shown.press("Enter")
    notice.filter(has_text="so images are made without AnyMS").wait_for()
    editor.keep("checkpoint")
    shown.fill(other.files.checkpoint.name)
    shown.press("Enter")
    notice.wait_for(state="hidden")


def test_prompt_last_picture_and_hires_fix_are_read_off_the_host_s_page(editor: HostEditor, studio: Studio) -> None:
    editor.give(1, "orange")
    editor.name(1, "cat")
    hint = "root.querySelector('#hints1 .hint')"
    editor.type("txt2img_prompt", "a beach")
    editor.inside(hint)
    editor.type("txt2img_prompt", "a cat on a beach")
    editor.inside(f"!{hint}")
    editor.root.get_by_label("Picture behind the boxes").select_option("last")
    ground = editor.root.locator(".background")
    assert not ground.is_visible()
    editor.make()
    ground.wait_for()
    editor.inside(
        "String(['naturalWidth', 'naturalHeight'].map((side) => root.querySelector('.background')[side])) === '768,512'"
    )
    cut = editor.root.locator(".hires-shade")
    assert not cut.is_visible()
    editor.page.locator("#txt2img_hr .label-wrap").first.click()
    for side in "xy":
        editor.number(f"hr_resize_{side}", 512)
    editor.page.locator("#txtimg_hr_finalres", has_text="512x512").first.wait_for()
    expect(cut).to_be_visible(visible=studio.kind.hires_cuts)
    editor.keep("behind")


def test_resize_by_gives_img2img_its_shape(editor: HostEditor) -> None:
    editor.page.evaluate("switch_to_img2img()")
    file = {"name": "room.png", "mimeType": "image/png", "buffer": picture("green", (256, 192))}
    editor.page.locator("#img2img_image input[type=file]").first.set_input_files(file)
    editor.page.locator("#tab_img2img").get_by_text("Resize by", exact=True).click()
    by = editor.page.locator("#img2img_scale input[type=number]")
    by.fill("2")
    by.press("Tab")
    editor.other.locator(".shape", has_text="512 × 384").wait_for(state="attached")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 360])
def test_axe_finds_nothing_in_our_elements(browser: Any, studio: Studio, axe: str, theme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=theme)
    seen = HostEditor(context, studio)
    seen.open(f"?__theme={theme}")
    test_tools.assert_accessible(seen, axe)
    seen.keep(f"{theme}-{width}")
    inside = f".every((node) => node.getBoundingClientRect().right <= {width})"
    seen.inside(f"[...root.querySelectorAll('button, input, .box')]{inside}")
    seen.close()


@pytest.mark.usefixtures("studio")  # one session for several hosts
@pytest.mark.parametrize("ability", ABILITIES, ids=lambda ability: ability.__name__.removeprefix("test_"))
def test_on_the_host_s_own_page(ability: Callable[..., None], request: pytest.FixtureRequest) -> None:
    ability(**{name: request.getfixturevalue(name) for name in inspect.signature(ability).parameters})

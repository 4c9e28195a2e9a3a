"""Which subject an inpainting repaints, and which part of the layout's image its picture shows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.hosts.inner_job import canvas_of, has_own_text, repainted, still_runs
from lib_anyms.job.request import Request
from lib_anyms.job.second_look import bounds, owner_of, request_of, shares, size_of, visible_masks
from lib_anyms.layout.geometry import WHOLE, Box, Viewport
from lib_anyms.layout.layout import Layout, Subject
from lib_anyms.layout.pins import read_pins
from lib_anyms.layout.silhouette import Silhouette
from lib_anyms.standalone.refining import region_of

LEFT, MIDDLE = Box(0, 0, 0.5, 1), Box(0.25, 0.25, 0.75, 0.75)
LAYOUT = Layout((Subject("cat", LEFT), Subject("tea pot", MIDDLE)))


def mask(*rectangle: int, size: tuple[int, int] = (200, 100)) -> Image.Image:
    picture = Image.new("L", size)
    picture.paste(255, rectangle)
    return picture


def test_an_inpainting_has_the_later_strength() -> None:
    images = ((Image.new("RGB", (9, 9)),), (Image.new("RGB", (9, 9)),))
    request = Request(LAYOUT, images, scale=0.8, fade=0.5, fade_from=0.2)
    alone = request_of(request, 1, LEFT, own_prompt=False, own_negative=False)
    assert (alone.scale, alone.fade) == (0.4, 1.0)


# -- the field ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        ("auto", None),
        ("", None),
        (" Auto ", None),
        ("off", ()),
        ("cat", (0,)),
        ("TEA POT, off,cat", (1, None, 0)),
        ("2, 1", (1, 0)),
    ],
)
def test_the_field_names_subjects_in_order(text: str, pins: Any) -> None:
    assert read_pins(text, LAYOUT) == pins


@pytest.mark.parametrize("text", ["dog", "cat;dog", "3", "0", "cat,", "auto, cat"])
def test_an_unknown_name_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="cat, tea pot"):
        read_pins(text, LAYOUT)


# -- masks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rectangle", "expected"),
    [
        ((0, 0, 40, 100), [1, 0]),
        ((60, 30, 90, 60), [0, 1]),  # in both boxes: the topmost owns it
        ((160, 0, 200, 100), [0, 0]),
        ((30, 30, 70, 70), [0.5, 0.5]),
        ((0, 0, 200, 100), [0.375, 0.25]),
    ],
)
def test_shares_of_a_mask(rectangle: tuple[int, ...], expected: list[float]) -> None:
    assert shares(LAYOUT, mask(*rectangle)) == pytest.approx(expected, abs=0.02)


def test_shares_in_a_part_of_the_layout_s_image() -> None:
    """The picture shows the right half, whose left half the topmost box covers between its quarters."""
    assert shares(LAYOUT, mask(0, 25, 100, 75), Viewport(0.5, 0, 1, 1)) == pytest.approx([0, 1], abs=0.02)


@pytest.mark.parametrize(("of_mask", "owner"), [([0.6, 0.4], 0), ([0.1, 0.9], 1), ([0.4, 0.45], None), ([0.5, 0.2], 0)])
def test_the_owner_has_at_least_half(of_mask: list[float], owner: int | None) -> None:
    assert owner_of(of_mask) == owner


def test_bounds_of_a_mask() -> None:
    assert bounds(mask(20, 10, 120, 60)) == Box(0.1, 0.1, 0.6, 0.6)
    assert bounds(mask(0, 0, 0, 0)) is None
    faint = mask(0, 0, 0, 0)
    faint.paste(100, (0, 0, 50, 50))  # the edge of a blur
    assert bounds(faint) is None


# -- the host's jobs ---------------------------------------------------------------------------------------------------


def job(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"width": 512, "height": 256, **fields})


CROP = Viewport(0.25, 0, 0.75, 0.5)
WIDE = Image.new("RGB", (1024, 512))


@pytest.mark.parametrize(
    ("outer", "size", "expected"),
    [
        (job(), (512, 256), CROP),
        (job(), (1024, 512), CROP),  # enlarged in between
        (job(init_images=[WIDE]), (1024, 512), WHOLE),  # ADetailer's "Skip img2img", or after the paste
        (job(init_images=[WIDE]), (512, 256), CROP),
        (job(), (512, 512), None),
        (job(enable_hr=True, hr_upscale_to_x=1024, hr_upscale_to_y=512, truncate_x=64, truncate_y=0), (512, 512), CROP),
        (job(enable_hr=True, hr_upscale_to_x=1024, hr_upscale_to_y=512, truncate_x=64, truncate_y=0), (512, 256), None),
    ],
)
def test_the_part_of_the_layout_that_a_picture_shows(outer: Any, size: tuple[int, int], expected: Any) -> None:
    assert canvas_of(outer, CROP, size) == expected


def test_only_an_inpainting_repaints() -> None:
    white = mask(0, 0, 9, 9)
    inpainting = {"image_mask": white, "mask_for_overlay": white, "init_images": [WIDE]}
    assert repainted(job(**inpainting)) is white
    for lacking in inpainting:
        assert repainted(job(**{**inpainting, lacking: None})) is None
    assert repainted(job()) is None


def test_an_own_prompt() -> None:
    outer = job(all_prompts=["a cat", "a dog"], all_negative_prompts=["blurry"])
    assert not has_own_text(job(prompt="a dog", negative_prompt="blurry"), outer)
    assert has_own_text(job(prompt="a face"), outer)
    assert has_own_text(job(prompt="a cat", negative_prompt="sepia"), outer, negative=True)


def test_a_job_runs_while_a_function_holds_it() -> None:
    def process(_p: Any) -> bool:
        return still_runs(holder[0])

    holder = [job()]
    assert process(holder[0])
    assert not process(job())


# -- refining ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rectangle", "padding", "expected"),
    [
        ((0, 0, 100, 100), 0, (512, 512)),
        ((0, 0, 200, 100), 0, (704, 384)),
        ((0, 0, 200, 10), 0, (704, 384)),  # at most two to one
        ((50, 40, 60, 60), 0, (384, 704)),
        ((50, 40, 60, 60), 20, (448, 576)),
    ],
)
def test_an_inpainting_has_the_shape_of_its_region(
    rectangle: tuple[int, ...], padding: int, expected: tuple[int, int]
) -> None:
    assert size_of(mask(*rectangle), padding, 512 * 512) == expected


def test_a_small_inpainting_has_at_least_64_pixels() -> None:
    assert size_of(mask(0, 0, 10, 10), 0, 40 * 40) == (64, 64)


def test_visible_masks_in_a_part_of_the_layout_s_image() -> None:
    """The picture shows the right half, where the cat is not."""
    masks = visible_masks(LAYOUT, (100, 100), Viewport(0.5, 0, 1, 1))
    assert {number: white.getbbox() for number, white in masks.items()} == {1: (0, 25, 50, 75)}


TOP = Silhouette(2, 2, bytes([255, 255, 0, 0]))
SHAPED = Layout((LAYOUT.subjects[0], replace(LAYOUT.subjects[1], silhouette=TOP)))


def test_a_visible_mask_has_the_silhouette_s_form() -> None:
    """The tea pot is in the upper half of its box; below, the cat behind it is visible."""
    cat, pot = visible_masks(SHAPED, (80, 40)).values()
    assert pot.getbbox() == (20, 10, 60, 20)
    assert [cat.getpixel(place) for place in ((30, 15), (30, 25), (50, 25))] == [0, 255, 0]
    assert not visible_masks(SHAPED, (80, 40), Viewport(0.5, 0.5, 1, 1))  # its white part is above


def test_a_mask_is_its_owner_s_by_the_silhouette() -> None:
    lower = mask(50, 52, 98, 73)
    assert owner_of(shares(LAYOUT, lower)) == 1
    assert owner_of(shares(SHAPED, lower)) == 0


def test_an_inpainting_has_its_own_mask_in_place_of_the_silhouette() -> None:
    picture = Image.new("RGB", (8, 8))
    request = Request(SHAPED, ((picture,), (picture,)))
    (subject,) = request_of(request, 1, LEFT, own_prompt=False, own_negative=False).layout.subjects
    assert (subject.box, subject.silhouette) == (LEFT, None)


@pytest.mark.parametrize(
    ("rectangle", "size", "expected"),
    [
        ((40, 20, 80, 60), (64, 64), (40, 20, 80, 60)),
        ((40, 20, 80, 60), (128, 64), (20, 20, 100, 60)),
        ((0, 20, 40, 60), (128, 64), (0, 20, 80, 60)),  # moved into the picture
        ((40, 20, 80, 60), (64, 128), (40, 0, 80, 80)),
        ((10, 0, 190, 90), (64, 128), (10, 0, 190, 100)),  # the picture is not high enough
    ],
)
def test_the_region_has_the_inpainting_s_shape(
    rectangle: tuple[int, ...], size: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert region_of(mask(*rectangle), 0, size) == expected

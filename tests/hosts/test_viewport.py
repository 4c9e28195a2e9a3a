"""Boxes stay where the user drew them, whatever crop a pass renders: checked by the tokens AnyMS changed.

The first cross-attention layer works on half the latent's grid: 12 x 8 tokens at the scene's 192 x 128 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image

from tests.hosts.studio import LAYERS, Call, Job, Studio, encoded, reference, two_subjects

INIT = (384, 256)  # twice the scene
QUARTER = (192, 0, 384, 128)  # the right half of its upper half
START = {"kind": "img2img", "steps": 2, "denoising_strength": 0.9}


@pytest.fixture(autouse=True)
def untouched(studio: Studio) -> Iterator[None]:
    assert studio.baseline  # Forge loads its model with the first job
    hooks = studio.hooks_at_rest
    yield
    assert studio.hooks() == hooks


def at(*boxes: tuple[float, float, float, float]) -> dict[str, Any]:
    """A request of one or two subjects in these boxes."""
    names = ("cat", "orange"), ("dog", "navy")
    subjects = [
        {"name": name, "images": [encoded(reference(colour))], "box": list(box)}
        for (name, colour), box in zip(names, boxes)
    ]
    return two_subjects(subjects=subjects)


def inpaint(mask: tuple[int, int, int, int], **changes: Any) -> dict[str, Any]:
    """A job on a picture of INIT, "Only masked", with a mask of one rectangle."""
    white = Image.new("L", INIT, 0)
    white.paste(255, mask)
    fields = {"inpaint_full_res": True, "inpaint_full_res_padding": 0, "mask_blur": 0, "inpainting_fill": 1}
    return {**START, "init_images": [encoded(reference("green", INIT))], "mask": encoded(white), **fields, **changes}


def touched(call: Call) -> torch.Tensor:
    """The tokens of the first layer that AnyMS changed, (height, width); the same in every batch entry."""
    rows = call.tensors["touched"].bool()
    assert (rows == rows[:1]).all()
    height, width = call.tensors["x"].shape[-2:]
    return rows[0].unflatten(0, ((height + 1) // 2, (width + 1) // 2))


def tokens(height: int, width: int, *rects: tuple[int, int, int, int]) -> torch.Tensor:
    """Rectangles (top, bottom, left, right) on a grid."""
    grid = torch.zeros(height, width, dtype=torch.bool)
    for top, bottom, left, right in rects:
        grid[top:bottom, left:right] = True
    return grid


def check(calls: list[Call], expected: torch.Tensor) -> None:
    assert calls
    for call in calls:
        assert (call.fired, call.changed) == (LAYERS, LAYERS)
        assert torch.equal(touched(call), expected), f"\n{touched(call).int()}\nexpected\n{expected.int()}"


def settled(studio: Studio, **job: Any) -> list[bytes]:
    """The pixels of an img2img job without AnyMS.

    A host's first job of a kind differs from all later ones by up to 6 of 255.
    """
    studio.paint(**job)
    return studio.paint(**job).pixels


def parameters(studio: Studio, job: Job) -> dict[str, Any]:
    return studio.parameters(job.images[0])


def test_txt2img(studio: Studio) -> None:
    check(studio.record(at((0.25, 0, 0.75, 0.5))), tokens(8, 12, (0, 4, 3, 9)))


@pytest.mark.parametrize("resize_mode", [0, 1, 2, 3], ids=["just", "crop", "fill", "latent"])
def test_no_resize_mode_moves_a_box(studio: Studio, resize_mode: int) -> None:
    job = {**START, "init_images": [encoded(reference("green", (104, 200)))], "resize_mode": resize_mode}
    check(studio.record(at((0.25, 0, 0.75, 0.5)), **job), tokens(8, 12, (0, 4, 3, 9)))


IN, OUT = (0.75, 0, 1, 0.25), (0, 0.5, 0.5, 1)


def test_inpainting_of_the_whole_picture_moves_no_box(studio: Studio) -> None:
    calls = studio.record(at(IN, OUT), **inpaint(QUARTER, inpaint_full_res=False))
    check(calls, tokens(8, 12, (0, 2, 9, 12), (4, 8, 0, 6)))


def test_only_masked_shows_the_masked_part(studio: Studio) -> None:
    plain = settled(studio, **inpaint(QUARTER))
    job, calls = studio.watch(at(IN, OUT), **inpaint(QUARTER))
    check(calls, tokens(8, 12, (0, 4, 6, 12)))
    kept = studio.recalled(job.images[0])["subjects"]
    assert [subject["box"] for subject in kept] == [list(IN), list(OUT)]
    assert job.pixels == studio.paint(at(IN), **inpaint(QUARTER)).pixels  # the other subject takes no part
    assert job.pixels != plain


def test_only_masked_with_padding(studio: Studio) -> None:
    """The host's region is (168, 8) to (384, 152): that box has every token, its left third four columns."""
    region = (168 / 384, 8 / 256, 1, 152 / 256)
    padded = inpaint((220, 40, 340, 120), inpaint_full_res_padding=32)
    check(studio.record(at(region), **padded), tokens(8, 12, (0, 8, 0, 12)))
    third = (region[0], region[1], (168 + 72) / 384, region[3])
    check(studio.record(at(third), **padded), tokens(8, 12, (0, 8, 0, 4)))


def test_a_masked_part_too_wide_for_the_pass(studio: Studio) -> None:
    """The host fits 370 x 256 pixels into 128 x 128 as 128 x 88, from line 20 on.

    So tokens 1.25 to 6.75 of 8 show the picture.
    """
    wide = inpaint((10, 20, 380, 60), width=128, height=128)
    check(studio.record(at((0, 0, 1, 1)), **wide), tokens(8, 8, (1, 7, 0, 8)))


def test_no_subject_in_the_masked_part(studio: Studio) -> None:
    plain = settled(studio, **inpaint(QUARTER))
    job, calls = studio.watch(at(OUT), **inpaint(QUARTER))
    assert {(call.fired, call.changed) for call in calls} == {(0, 0)}
    assert job.pixels == plain
    assert parameters(studio, job)["AnyMS skipped"].startswith("AnyMS: no subject's box overlaps a part of the image")
    assert "AnyMS" not in parameters(studio, job)


def square(studio: Studio) -> dict[str, Any]:
    """Hires fix from 192 x 128 to another aspect."""
    return {"enable_hr": True, "hr_resize_x": 192, "hr_resize_y": 192, "denoising_strength": 0.9, **studio.kind.hires}


def test_hires_fix_to_another_aspect(studio: Studio) -> None:
    """192 x 128 is enlarged to 288 x 192 and loses 48 pixels left and right: columns 1/6 to 5/6 remain.

    Forge Neo stretches it instead.
    """
    job, calls = studio.watch(at((0, 0, 1 / 6, 1), (0.5, 0, 1, 0.5)), **square(studio))
    first = [call for call in calls if call.tensors["x"].shape[-2] == 16]
    second = [call for call in calls if call.tensors["x"].shape[-2] == 24]
    assert len(first) + len(second) == len(calls)
    check(first, tokens(8, 12, (0, 8, 0, 2), (0, 4, 6, 12)))
    check(second, tokens(12, 12, *([(0, 6, 6, 12)] if studio.kind.hires_cuts else [(0, 12, 0, 2), (0, 6, 6, 12)])))
    assert [subject["box"][2] for subject in studio.recalled(job.images[0])["subjects"]] == [1 / 6, 1]


def test_a_second_pass_without_a_subject(studio: Studio) -> None:
    studio.needs("a second pass that cuts")
    job, calls = studio.watch(at((0, 0, 1 / 6, 1)), **square(studio))
    changed = {(call.tensors["x"].shape[-2], call.changed) for call in calls}
    assert changed == {(16, LAYERS), (24, 0)}
    assert {"AnyMS", "AnyMS skipped"} <= parameters(studio, job).keys()


def test_each_tile_that_is_an_inpainting_is_at_its_place(studio: Studio) -> None:
    """Four tiles of one job, as in Ultimate SD upscale: only the upper right one shows the subject."""
    tiles = {
        **START,
        "init_images": [encoded(reference("green", INIT))],
        "script_name": "AnyMS test tiles",
        "script_args": [],
    }
    calls = studio.record(at(IN), **tiles)
    assert len(calls) % 4 == 0
    each = len(calls) // 4
    check(calls[each : 2 * each], tokens(8, 12, (0, 4, 6, 12)))
    assert {call.changed for call in calls[:each] + calls[2 * each :]} == {0}


IN_PARTS = {
    "SD upscale": ["", 64, "None", 1],
    "Outpainting mk2": ["", 64, 4, ["left"], 1.0, 0.05],
    "Poor man's outpainting": [64, 4, 1, ["left"]],
}


@pytest.mark.parametrize("script", IN_PARTS)
def test_parts_at_unknown_places_are_stepped_aside_for(studio: Studio, script: str) -> None:
    studio.needs(script)
    picture = encoded(reference("green", (320, 192)))
    job = {
        **START,
        "init_images": [picture],
        "script_name": script,
        "script_args": studio.kind.arguments.get(script, IN_PARTS[script]),
    }
    plain = settled(studio, **job)
    said = f"the script {studio.kind.titles.get(script, script)} makes the image in parts"
    before = studio.host.tail(10_000).count(said)
    result, calls = studio.watch(at((0, 0, 1, 1)), **job)
    assert {(call.fired, call.changed) for call in calls} == {(0, 0)}
    assert result.pixels == plain
    infotext = result.info["infotexts"][0]  # a script's own picture has none
    assert f'AnyMS skipped: "AnyMS: {said}' in infotext
    assert 'AnyMS: "' not in infotext
    assert studio.host.tail(10_000).count(said) == before + 1  # for any number of tiles

"""A subject's own mask: the tokens it covers, their owners, and the streams at them."""

from __future__ import annotations

import doctest
from dataclasses import replace
from random import Random

import pytest
import torch

import lib_anyms.layout.silhouette
from lib_anyms.layout.geometry import Box, TokenGrid, Viewport
from lib_anyms.layout.layout import Layout
from lib_anyms.layout.silhouette import Silhouette
from tests.laws.test_fused import results
from tests.laws.test_image_stream import COND, UNCOND, run
from tests.laws.test_local_text import FOX, GROUND, HOST, OWL, attended, localised, texts
from tests.support import oracle
from tests.support.streams import NextCall, injected, layer_changes, layout_of, stream_on
from tests.support.tiny_unet import tiny_unet

WHOLE = Box(0, 0, 1, 1)
BOXES = ((0.0, 0.0, 0.6, 0.7), (0.4, 0.3, 1.0, 0.8), (0.1, 0.6, 0.5, 1.0))


def disc(width: int = 24, height: int = 24, x: float = 0.5, y: float = 0.5, radius: float = 0.4) -> Silhouette:
    pixels = []
    for row in range(height):
        for column in range(width):
            far = ((column + 0.5) / width - x) ** 2 + ((row + 0.5) / height - y) ** 2
            pixels.append(255 * (far < radius**2))
    return Silhouette(width, height, bytes(pixels))


def white(width: int = 3, height: int = 2) -> Silhouette:
    return Silhouette(width, height, bytes([255] * width * height))


def with_silhouettes(layout: Layout, *masks: Silhouette | None) -> Layout:
    subjects = zip(layout.subjects, masks, strict=True)
    return Layout(tuple(replace(subject, silhouette=mask) for subject, mask in subjects))


BOXED = layout_of(*BOXES)
SHAPED = with_silhouettes(BOXED, disc(x=0.3, y=0.35, radius=0.3), disc(x=0.6, y=0.6, radius=0.25), None)


def test_doctest() -> None:
    result = doctest.testmod(lib_anyms.layout.silhouette)
    assert result.attempted >= 2
    assert result.failed == 0


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(6, 6), (12, 8), (24, 24), (4, 3), (1, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_a_token_is_the_mask_s_where_half_of_it_is_white(seed: int, height: int, width: int) -> None:
    """By area; exact where the pixels are whole parts of the tokens."""
    random = Random(seed)
    mask = Silhouette(24, 24, bytes(random.choice((0, 255, 255)) for _ in range(24 * 24)))
    layout = with_silhouettes(layout_of((0, 0, 1, 1)), mask)
    assert layout.owner_map(TokenGrid(height, width)) == oracle.owners(layout, height, width).tolist()


@pytest.mark.parametrize(("height", "width"), [(7, 5), (13, 17), (33, 9)])
def test_a_token_between_pixels_is_measured_by_area_too(height: int, width: int) -> None:
    mask, grid = disc(), TokenGrid(height, width)
    for token, share in enumerate(mask.on(grid)):
        assert abs(share / 255 - float(oracle.white_share(mask, *oracle.cell(token, height, width)))) <= 0.06


@pytest.mark.parametrize("grid", [TokenGrid(9, 11), TokenGrid(64, 64), TokenGrid(1, 3)])
def test_a_white_mask_is_the_box(grid: TokenGrid) -> None:
    shaped = with_silhouettes(BOXED, white(), white(1, 1), white(5, 7))
    assert shaped.owner_map(grid) == BOXED.owner_map(grid)


@pytest.mark.parametrize("grid", [TokenGrid(9, 11), TokenGrid(64, 64), TokenGrid(13, 5)])
def test_a_mask_never_leaves_its_box_and_shows_what_is_below(grid: TokenGrid) -> None:
    inside, shaped = BOXED.box_tokens(grid), SHAPED.box_tokens(grid)
    for number in range(3):
        assert set(shaped[number]) <= set(inside[number])
    assert len(shaped[1]) < len(inside[1])
    under = set(shaped[0]) & (set(inside[1]) - set(shaped[1])) - set(inside[2])
    assert all(SHAPED.owner_map(grid)[token] == 0 for token in under)
    assert under or grid.tokens < 100


def test_masks_that_complete_each_other_leave_no_gap() -> None:
    mask = disc()
    rest = replace(mask, pixels=bytes(255 - value for value in mask.pixels))
    both = with_silhouettes(layout_of((0, 0, 1, 1), (0, 0, 1, 1)), mask, rest)
    for grid in (TokenGrid(6, 6), TokenGrid(7, 11), TokenGrid(64, 64)):
        assert -1 not in both.owner_map(grid)


def test_a_small_mask_has_its_whitest_token_and_one_outside_the_box_none() -> None:
    pixels = bytearray(1024 * 1024)
    pixels[700 * 1024 + 300] = 255
    dot = Silhouette(1024, 1024, bytes(pixels))
    assert dot.tokens(WHOLE, TokenGrid(64, 64)) == [700 // 16 * 64 + 300 // 16]
    assert dot.tokens(Box(0.5, 0, 1, 1), TokenGrid(64, 64)) == []


@pytest.mark.parametrize("part", [(0.25, 0.25, 0.75, 0.75), (0.5, 0.0, 1.0, 0.5), (-0.25, 0.0, 0.75, 1.0)])
def test_a_part_of_the_image_has_its_part_of_the_mask(part: tuple[float, float, float, float]) -> None:
    """A window of a call and a cropped pass are one: both show the same tokens as the whole image does there."""
    viewport, whole = Viewport(*part), TokenGrid(32, 32)
    rows, columns = [range(round(low * 32), round(high * 32)) for low, high in ((part[1], part[3]), (part[0], part[2]))]
    owners, expected = SHAPED.owner_map(whole), []
    for row in rows:
        for column in columns:
            expected.append(owners[row * 32 + column] if 0 <= row < 32 and 0 <= column < 32 else -1)
    grid = TokenGrid(len(rows), len(columns))
    assert SHAPED.owner_map(grid, viewport) == expected
    seen = SHAPED.seen_in(viewport)
    cropped = Layout(tuple(seen.values())).owner_map(grid)
    assert [-1 if owner < 0 else list(seen)[owner] for owner in cropped] == expected


def test_a_subject_whose_mask_lies_outside_a_pass_is_not_in_it() -> None:
    left = Silhouette(2, 1, bytes([255, 0]))
    layout = with_silhouettes(layout_of((0, 0, 1, 1), (0, 0, 1, 1)), left, None)
    assert list(layout.seen_in(Viewport(0.5, 0, 1, 1))) == [1]
    assert list(layout.seen_in(Viewport(0.25, 0, 1, 1))) == [0, 1]


# -- streams -----------------------------------------------------------------------------------------------------------


def test_the_image_stream_is_at_the_mask_s_tokens_only() -> None:
    unet = tiny_unet()
    alone = with_silhouettes(layout_of((0, 0, 1, 1)), disc(x=0.4, radius=0.3))
    changed, before = layer_changes(unet, lambda: run(unet), stream_on(unet, alone, NextCall(UNCOND, COND)), None)
    first = next(iter(before))  # later layers see what this one changed
    differs = (changed[first] != before[first]).any(-1)
    assert torch.equal(differs[0], oracle.owners(alone, 6, 8) == 0)
    assert 0 < differs[0].sum() < 48


def test_a_white_mask_is_the_box_s_image_bit_for_bit() -> None:
    unet, images = tiny_unet(), []
    for layout in (BOXED, with_silhouettes(BOXED, white(), white(), white())):
        with injected(stream_on(unet, layout, NextCall(UNCOND, COND))):
            images.append(run(unet))
    assert torch.equal(*images)


def test_the_fused_form_has_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = tiny_unet(torch.float64)
    by_subject, fused = results(unet, SHAPED, NextCall(UNCOND, COND), monkeypatch)
    assert (by_subject - fused).abs().max() <= 1e-9
    (boxed, _) = results(unet, BOXED, NextCall(UNCOND, COND), monkeypatch)
    assert (by_subject - boxed).abs().max() > 1e-3


@pytest.mark.parametrize("fused", [False, True], ids=["by subject", "fused"])
def test_local_text_has_the_same_owners(fused: bool) -> None:
    owner = oracle.owners(SHAPED, 9, 11)
    own = localised(texts(FOX, OWL, None), fused=fused, layout=SHAPED)
    assert torch.equal((own != attended(HOST)).any(-1)[1], (owner == 0) | (owner == 1))
    elsewhere = localised(texts(None, None, None, elsewhere=GROUND), fused=fused, layout=SHAPED)
    assert torch.equal((elsewhere != attended(HOST)).any(-1)[1], owner == -1)

"""Token grids and boxes are exact at every size. torch is the reference; the geometry itself uses none."""

from __future__ import annotations

import doctest
from itertools import product

import pytest
import torch

import lib_anyms.layout.geometry
from lib_anyms.errors import Refused
from lib_anyms.layout.geometry import Box, TokenGrid, TokenRect, latent_grid

SIZES = range(512, 2049, 8)


def test_doctest() -> None:
    result = doctest.testmod(lib_anyms.layout.geometry)
    assert result.attempted >= 2
    assert result.failed == 0


def test_grids_at_every_size_are_a_stride_2_convolution_s() -> None:
    """A convolution treats its two sides apart, so each side takes every size, once with each partner of some."""
    down = torch.nn.Conv2d(1, 1, 3, stride=2, padding=1, device="meta")
    pairs = set(product(SIZES, (512, 1000, 1024, 2048)))
    pairs |= {(partner, side) for side, partner in pairs}
    assert len(pairs) == 2 * 4 * len(SIZES) - 16
    for height, width in pairs:
        grid = latent_grid(width, height)
        x = torch.empty(1, 1, height // 8, width // 8, device="meta")
        for _ in range(2):
            x, grid = down(x), grid.halved()
            assert (grid.height, grid.width) == tuple(x.shape[-2:])


@pytest.mark.parametrize("count", [1, 2, 3, 25, 33, 64, 129])
def test_touching_boxes_share_no_token_and_leave_no_gap(count: int) -> None:
    grid = TokenGrid(count, count)
    for cut in range(1, 1000):
        left, right = Box(0, 0, cut / 1000, 1).on(grid), Box(cut / 1000, 0, 1, 1).on(grid)
        if left.left < left.right == right.left < right.right:
            assert (left.left, right.right) == (0, count)
        else:  # a box under half a token keeps one token of its neighbour
            assert min(cut, 1000 - cut) / 1000 * count < 0.5 + 1e-9


def test_half_a_token_rounds_up_at_both_ends() -> None:
    assert Box(0.5, 0.5, 1, 1).on(TokenGrid(5, 5)) == TokenRect(3, 5, 3, 5)
    assert Box(0, 0, 0.7, 0.7).on(TokenGrid(45, 45)) == TokenRect(0, 32, 0, 32)  # 31.499999999999996 in floats


@pytest.mark.parametrize(
    "box", [(0, 0, 1 / 1024, 1 / 1024), (1023 / 1024, 1023 / 1024, 1, 1), (0.5, 0.5, 0.5005, 0.5005)]
)
def test_one_pixel_keeps_one_token_on_every_grid(box: tuple[float, float, float, float]) -> None:
    for grid in (TokenGrid(64, 64), TokenGrid(32, 32), TokenGrid(7, 9), TokenGrid(1, 1)):
        rect = Box(*box).on(grid)
        assert (rect.bottom - rect.top, rect.right - rect.left) == (1, 1)
        assert 0 <= rect.top < grid.height
        assert 0 <= rect.left < grid.width
        assert rect.top <= box[1] * grid.height + 0.5
        assert rect.left <= box[0] * grid.width + 0.5


def test_parts_outside_the_image_are_clipped() -> None:
    assert Box(-0.5, 0.25, 0.5, 1.5) == Box(0, 0.25, 0.5, 1)


@pytest.mark.parametrize(
    ("box", "cause"),
    [
        ((0.5, 0.1, 0.5, 0.9), "box_empty"),
        ((0.6, 0.1, 0.5, 0.9), "box_empty"),
        ((1.0, 0.1, 1.5, 0.9), "box_outside"),
        ((-2, 0.1, 0, 0.9), "box_outside"),
        ((0.1, -1, 0.5, -0.1), "box_outside"),
        ((float("nan"), 0, 1, 1), "box_form"),
        ((0, 0, float("inf"), 1), "box_form"),
    ],
)
def test_boxes_without_area_or_outside_are_refused(box: tuple[float, float, float, float], cause: str) -> None:
    with pytest.raises(Refused) as refusal:
        Box(*box)
    assert refusal.value.cause == cause


@pytest.mark.parametrize("value", [None, "0,0,1,1", [0, 0, 1], [0, 0, 1, "1"], [0, 0, 1, True], {"x0": 0}])
def test_anything_but_four_numbers_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="four numbers"):
        Box.read(value)

"""A layout inside a viewport: the owner map is an exact crop, and the whole canvas changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_anyms.layout.geometry import WHOLE, Box, TokenGrid, Viewport
from lib_anyms.layout.layout import Layout, Subject

CELLS = 24  # tokens along a side of the canvas


@st.composite
def spans(draw: st.DrawFn, low: int = 0, high: int = CELLS) -> tuple[int, int]:
    first = draw(st.integers(low, high - 1))
    return first, draw(st.integers(first + 1, high))


def box_of(across: tuple[int, int], down: tuple[int, int]) -> Box:
    return Box(across[0] / CELLS, down[0] / CELLS, across[1] / CELLS, down[1] / CELLS)


def viewport_of(across: tuple[int, int], down: tuple[int, int]) -> Viewport:
    return Viewport(across[0] / CELLS, down[0] / CELLS, across[1] / CELLS, down[1] / CELLS)


boxes = st.builds(box_of, spans(), spans())
layouts = st.lists(boxes, min_size=1, max_size=4).map(
    lambda placed: Layout(
        tuple(Subject(f"s{number}", box, weight=1 + number / 10) for number, box in enumerate(placed))
    )
)


def owners_in(layout: Layout, viewport: Viewport, grid: TokenGrid) -> list[int]:
    """The owner of each token of a pass, as an index into the whole layout."""
    visible = layout.seen_in(viewport)
    if not visible:
        return [-1] * grid.tokens
    numbers = [*visible, -1]
    return [numbers[owner] for owner in Layout(tuple(visible.values())).owner_map(grid)]


@given(layouts)
def test_the_whole_canvas_changes_nothing(layout: Layout) -> None:
    assert layout.seen_in(WHOLE) == dict(enumerate(layout.subjects))


@pytest.mark.parametrize("edge", [1 / 3, 0.1, 1e-12, 1 - 1e-12])
def test_the_whole_canvas_keeps_the_smallest_box(edge: float) -> None:
    for box in (Box(0, edge, 1, 1), Box(0, 0, edge, 1)):
        assert WHOLE.place(box) == box


@given(layouts, spans(), spans())
def test_owners_in_a_viewport_are_the_canvas_s_owners_there(
    layout: Layout, across: tuple[int, int], down: tuple[int, int]
) -> None:
    whole = layout.owner_map(TokenGrid(CELLS, CELLS))
    there = [whole[row * CELLS + column] for row in range(*down) for column in range(*across)]
    grid = TokenGrid(down[1] - down[0], across[1] - across[0])
    assert owners_in(layout, viewport_of(across, down), grid) == there


@given(layouts, spans(-CELLS // 2, CELLS + CELLS // 2), spans(-CELLS // 2, CELLS + CELLS // 2))
def test_outside_the_canvas_tokens_have_no_owner(
    layout: Layout, across: tuple[int, int], down: tuple[int, int]
) -> None:
    whole = layout.owner_map(TokenGrid(CELLS, CELLS))
    there = []
    for row in range(*down):
        for column in range(*across):
            inside = row in range(CELLS) and column in range(CELLS)
            there.append(whole[row * CELLS + column] if inside else -1)
    grid = TokenGrid(down[1] - down[0], across[1] - across[0])
    assert owners_in(layout, viewport_of(across, down), grid) == there


@given(layouts, st.tuples(spans(), spans()), st.tuples(st.integers(0, 9), st.integers(10, 20)))
def test_a_viewport_within_a_viewport_is_one_viewport(
    layout: Layout, outer: tuple[tuple[int, int], ...], part: tuple[int, int]
) -> None:
    """A viewport, then a part of it, gives the same boxes as that part at once."""
    first, inner = viewport_of(*outer), Viewport(part[0] / 20, 0.25, part[1] / 20, 1)
    wide, high = first.x1 - first.x0, first.y1 - first.y0
    both = Viewport(
        first.x0 + inner.x0 * wide, first.y0 + inner.y0 * high, first.x0 + inner.x1 * wide, first.y0 + inner.y1 * high
    )
    step, fused = layout.seen_in(first), layout.seen_in(both)
    twice = {}
    for number, subject in step.items():
        box = inner.place(subject.box)
        if box is not None:
            twice[number] = box
    assert twice.keys() == fused.keys()
    for number, box in twice.items():
        other = fused[number].box
        assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((other.x0, other.y0, other.x1, other.y1), abs=1e-9)


def test_only_the_box_of_a_subject_changes() -> None:
    hat = Subject("hat", Box(0.5, 0, 1, 0.5), role="attribute", weight=1.5, start=0.1, end=0.9, blocks="style")
    sea = Subject("sea", Box(0, 0, 0.5, 1), role="background")
    shown = Layout((sea, hat)).seen_in(Viewport(0.5, 0, 1, 1))
    assert shown == {
        1: Subject("hat", Box(0, 0, 1, 0.5), role="attribute", weight=1.5, start=0.1, end=0.9, blocks="style")
    }


@pytest.mark.parametrize("edge", [1 / 3, 0.1, 0.7, 0.999])
def test_a_box_that_only_touches_the_viewport_is_outside(edge: float) -> None:
    for nudge in (0.0, 1e-17, -1e-17, edge * 1e-16):
        assert Viewport(edge + nudge, 0, 1, 1).place(Box(0, 0, edge, 1)) is None
        assert Viewport(0, 0, 1, edge + nudge).place(Box(0, edge, 1, 1)) is None


@pytest.mark.parametrize("edges", [(0.5, 0, 0.5, 1), (0, 1, 1, 0), (0, 0, float("nan"), 1)])
def test_a_viewport_has_an_area(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="without area"):
        Viewport(*edges)

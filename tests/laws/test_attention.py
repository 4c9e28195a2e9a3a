"""The paper's equations against an independent owner-map formulation, and the laws of one layer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib_anyms.engine.ablations import MERGE_FUNCTIONS
from lib_anyms.engine.attention import crop_and_merge, crops_of, image_attention
from lib_anyms.layout.geometry import Box, TokenGrid
from lib_anyms.layout.layout import MAX_SUBJECTS, Layout, Subject
from tests.support import oracle
from tests.support.streams import layout_of, random_pair

HEADS, WIDTH = 2, 16
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def queries(grid: TokenGrid, dtype: torch.dtype = torch.float32, entries: int = 2) -> torch.Tensor:
    return torch.randn(entries, grid.tokens, WIDTH, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(
        dtype
    )


def pairs(count: int, dtype: torch.dtype = torch.float32, tokens: int = 4):
    return [random_pair(seed, tokens, WIDTH, dtype) for seed in range(count)]


def merged(
    layout: Layout, grid: TokenGrid, dtype: torch.dtype = torch.float32, weights=None, sets=None
) -> torch.Tensor:
    """Z_image, (batch, tokens, channels): the result for a text stream of zeros."""
    visible = layout.visible_tokens(grid)
    query = queries(grid, dtype)
    crops = crops_of(visible, weights or [1.0] * len(visible), query.device)
    return crop_and_merge(torch.zeros_like(query), query, sets or pairs(len(visible), dtype), crops, HEADS, 1.0)


@st.composite
def boxes(draw) -> Box:
    """Any box a user may draw, in thousandths of the image: thin, nested, over an edge."""
    x0, y0 = draw(st.integers(-300, 999)), draw(st.integers(-300, 999))
    x1, y1 = draw(st.integers(max(1, x0 + 1), 1300)), draw(st.integers(max(1, y0 + 1), 1300))
    return Box(x0 / 1000, y0 / 1000, x1 / 1000, y1 / 1000)


SPECIAL = {
    "identical": [(0.2, 0.2, 0.7, 0.7)] * 3,
    "nested": [(0.0, 0.0, 1.0, 1.0), (0.1, 0.1, 0.9, 0.9), (0.3, 0.3, 0.5, 0.5)],
    "one pixel": [(0.5, 0.5, 0.501, 0.501), (0.0, 0.0, 1.0, 1.0), (0.999, 0.999, 1.0, 1.0)],
    "full frame": [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)],
    "off frame": [(-0.5, -0.5, 0.3, 0.3), (0.8, 0.8, 2.0, 2.0)],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPECIAL)
def test_equals_the_oracle_on_special_boxes(name: str, dtype: torch.dtype) -> None:
    layout, grid = layout_of(*SPECIAL[name]), TokenGrid(13, 17)
    weights = [0.5 + number for number in range(len(layout.subjects))]
    expected = oracle.image_stream(
        queries(grid, dtype), pairs(len(weights), dtype), oracle.owners(layout, 13, 17), weights, HEADS
    )
    assert (merged(layout, grid, dtype, weights) - expected).abs().max() <= TOLERANCE[dtype] * max(weights) * 4


@settings(max_examples=60, deadline=None)
@given(st.lists(boxes(), min_size=1, max_size=MAX_SUBJECTS), st.integers(1, 24), st.integers(1, 24))
def test_equals_the_oracle_on_any_layout(drawn: list[Box], height: int, width: int) -> None:
    layout = Layout(tuple(Subject(f"s{number}", box) for number, box in enumerate(drawn)))
    grid, weights = TokenGrid(height, width), [1.0 + number / 10 for number in range(len(drawn))]
    owner = oracle.owners(layout, height, width)
    assert layout.owner_map(grid) == owner.tolist()
    expected = oracle.image_stream(
        queries(grid, torch.float64), pairs(len(drawn), torch.float64), owner, weights, HEADS
    )
    assert (merged(layout, grid, torch.float64, weights) - expected).abs().max() <= 1e-12


def test_image_attention_is_the_softmax_of_the_paper() -> None:
    query, (key, value) = queries(TokenGrid(3, 4), torch.float64), random_pair(0, 5, WIDTH, torch.float64)
    depth = WIDTH // HEADS
    for head in range(HEADS):
        part = slice(head * depth, (head + 1) * depth)
        expected = (query[..., part] @ key[:, part].T / depth**0.5).softmax(-1) @ value[:, part]
        assert (image_attention(query, key, value, HEADS)[..., part] - expected).abs().max() < 1e-13


def test_unowned_tokens_do_not_change() -> None:
    layout, grid = layout_of((0.1, 0.1, 0.4, 0.5), (0.5, 0.2, 0.9, 0.9)), TokenGrid(16, 16)
    free = torch.tensor(layout.owner_map(grid)) < 0
    result = merged(layout, grid)
    assert free.any()
    assert torch.equal(result[:, free], torch.zeros_like(result[:, free]))
    assert (result[:, ~free].abs().amax(-1) > 0).all()


def test_changing_a_subject_changes_its_visible_tokens_and_nothing_else() -> None:
    layout, grid = layout_of((0.0, 0.0, 0.6, 0.6), (0.3, 0.3, 0.9, 0.9), (0.1, 0.5, 0.4, 1.0)), TokenGrid(15, 11)
    before = merged(layout, grid)
    owner = torch.tensor(layout.owner_map(grid))
    for number in range(3):
        sets = pairs(3)
        sets[number] = random_pair(50 + number, 4, WIDTH, torch.float32)
        changed = (merged(layout, grid, sets=sets) != before).any(-1).all(0)
        assert torch.equal(changed, owner == number)


def test_the_topmost_is_as_if_it_were_alone() -> None:
    grid = TokenGrid(16, 12)
    together = layout_of((0.0, 0.0, 0.8, 0.8), (0.1, 0.2, 1.0, 1.0), (0.2, 0.1, 0.7, 0.9))
    alone = Layout(together.subjects[2:])
    rows = torch.tensor(alone.visible_tokens(grid)[0])
    assert torch.equal(merged(together, grid)[:, rows], merged(alone, grid, sets=pairs(3)[2:])[:, rows])


def test_the_order_of_disjoint_subjects_is_irrelevant() -> None:
    grid = TokenGrid(16, 16)
    layout = layout_of((0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0))
    order = [2, 0, 1]
    shuffled = Layout(tuple(layout.subjects[number] for number in order))
    assert torch.equal(merged(layout, grid), merged(shuffled, grid, sets=[pairs(3)[number] for number in order]))


def test_the_ablations_match_their_definitions() -> None:
    grid, layout = TokenGrid(8, 8), layout_of((0.0, 0.0, 0.5, 1.0), (0.25, 0.0, 1.0, 0.5))
    query, sets, weights = queries(grid, torch.float64), pairs(2, torch.float64), [1.0, 0.5]
    alone = [image_attention(query, key, value, HEADS) for key, value in sets]
    whole = [torch.tensor(tokens) for tokens in layout.box_tokens(grid)]
    total = alone[0] + 0.5 * alone[1]
    masks = [torch.zeros(grid.tokens, 1, dtype=torch.float64).index_fill(0, rows, 1.0) for rows in whole]
    masked = masks[0] * alone[0] + 0.5 * masks[1] * alone[1]
    results = {mode: merge(query, sets, whole, weights, HEADS) for mode, merge in MERGE_FUNCTIONS.items()}
    assert torch.allclose(results["global-sum"], total, atol=1e-12)
    assert torch.allclose(results["global-mean"], total / 2, atol=1e-12)
    assert torch.allclose(results["masked-sum"], masked, atol=1e-12)
    scores = [torch.einsum("bnhd,thd->bhnt", split(query), split(key)) / (WIDTH / HEADS) ** 0.5 for key, _ in sets]
    shares = torch.cat(scores, -1).softmax(-1)  # one softmax over the tokens of both
    values = torch.cat([weight * value for (_, value), weight in zip(sets, weights)])
    assert torch.allclose(
        results["one-softmax"], torch.einsum("bhnt,thd->bnhd", shares, split(values)).flatten(2), atol=1e-12
    )
    overlap = torch.tensor(sorted({*whole[0].tolist()} & {*whole[1].tolist()}))
    assert not torch.allclose(
        results["masked-sum"][:, overlap], merged(layout, grid, torch.float64, weights)[:, overlap]
    )


def split(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.unflatten(-1, (HEADS, -1))


def test_one_softmax_leaves_out_who_has_no_weight_and_of_one_subject_is_its_attention() -> None:
    query, sets = queries(TokenGrid(8, 8), torch.float64), pairs(2, torch.float64)
    alone = MERGE_FUNCTIONS["one-softmax"](query, sets, [], [0.0, 0.7], HEADS)
    assert torch.allclose(alone, 0.7 * image_attention(query, *sets[1], HEADS), atol=1e-12)


def test_disjoint_boxes_make_masked_sum_and_crop_and_merge_one() -> None:
    grid, layout = TokenGrid(12, 12), layout_of((0.0, 0.0, 0.5, 1.0), (0.5, 0.25, 1.0, 1.0))
    whole = [torch.tensor(tokens) for tokens in layout.box_tokens(grid)]
    masked = MERGE_FUNCTIONS["masked-sum"](
        queries(grid, torch.float64), pairs(2, torch.float64), whole, [1.0, 1.0], HEADS
    )
    assert (masked - merged(layout, grid, torch.float64)).abs().max() < 1e-12

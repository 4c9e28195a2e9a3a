"""The fused form: one attention for all batch entries and any number of subjects, with the same result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lib_anyms.engine import fused as fused_module
from lib_anyms.engine import region_merge, sdpa
from lib_anyms.engine.attention import crop_and_merge, crops_of, split_heads
from lib_anyms.engine.fused import FusedCrops, fused_crop_and_merge
from lib_anyms.engine.key_values import spans_of
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout
from tests.laws.test_image_stream import COND, LAYOUT, UNCOND, run
from tests.support.streams import NextCall, injected, key_values, layer_changes, layout_of, random_pair, stream_on
from tests.support.tiny_unet import inputs, tiny_unet

HEADS, WIDTH = 2, 16
UNEVEN = (4, 16, 7)  # tokens of each subject: one has several pictures side by side


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a device where launches cost more than arithmetic."""
    monkeypatch.setattr(region_merge, "is_launch_bound", lambda _device: True)
    return None


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_conditional_entries_get_their_subjects_and_unconditional_ones_the_unconditional_set(
    dtype: torch.dtype, bound: float
) -> None:
    grid = TokenGrid(13, 17)
    query = torch.randn(3, grid.tokens, WIDTH, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(
        dtype
    )
    sets = [random_pair(seed, count, WIDTH, dtype) for seed, count in enumerate((*UNEVEN, 4))]
    crops = crops_of(LAYOUT.visible_tokens(grid), [1.0, 0.5, 2.0], query.device)
    *spans, uncond = spans_of([*UNEVEN, 4])
    all_sets = [split_heads(torch.cat(tensors), HEADS).expand(3, -1, -1, -1) for tensors in zip(*sets)]
    crops_at_once = FusedCrops.of(crops, spans, uncond, (False, True, False), query)
    text = torch.zeros_like(query)
    result = fused_crop_and_merge(text.clone(), query, all_sets, crops_at_once, HEADS, 0.7)
    for entry, entry_sets in enumerate(([sets[3]] * 3, sets[:3], [sets[3]] * 3)):
        part = slice(entry, entry + 1)
        expected = crop_and_merge(text[part].clone(), query[part], entry_sets, crops, HEADS, 0.7)
        assert (result[part] - expected).abs().max() <= 8 * bound  # values up to 20


def results(
    unet, layout: Layout, rows: NextCall, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[torch.Tensor, ...]:
    outputs = []
    for launches_cost in (False, True):
        with monkeypatch.context() as patched:
            patched.setattr(region_merge, "is_launch_bound", lambda _device, answer=launches_cost: answer)
            with injected(stream_on(unet, layout, rows, **options)):
                outputs.append(run(unet, rows=len(rows.call.cond_map.is_cond)))
    return tuple(outputs)


@pytest.mark.parametrize(
    "rows",
    [(UNCOND, COND), (COND, COND, UNCOND), (COND,), (UNCOND,), (UNCOND, COND, UNCOND), (UNCOND, UNCOND, COND, COND)],
)
@pytest.mark.parametrize("uncond", [True, False])
def test_a_whole_unet_gives_the_same_either_way(
    rows: tuple[bool, ...], uncond: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = tiny_unet(torch.float64)
    sets = key_values(unet, [0, 1, 2], torch.float64, uncond=uncond)
    by_subject, fused = results(unet, LAYOUT, NextCall(*rows), monkeypatch, sets=sets, scale=0.7)
    assert (by_subject - fused).abs().max() <= 1e-9
    if uncond or COND in rows:
        assert (fused - run(unet, rows=len(rows))).abs().max() > 1e-3


def test_weights_idle_and_hidden_subjects_and_steps_are_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = tiny_unet(torch.float64)
    boxes = [
        (0.0, 0.0, 0.6, 0.7),
        (0.1, 0.1, 0.4, 0.4),
        (0.0, 0.0, 0.6, 0.7),
        (0.5, 0.5, 1.0, 1.0),
    ]  # the third hides two
    drawn = layout_of(*boxes).subjects
    faint, early = layout_of(boxes[2], weight=0.5), layout_of(boxes[3], weight=1.5, end=0.5)
    layout = Layout((drawn[0], drawn[1], *faint.subjects, *early.subjects))
    for progress in (0.0, 0.6):
        by_subject, fused = results(unet, layout, NextCall(UNCOND, COND, progress=progress), monkeypatch)
        assert (by_subject - fused).abs().max() <= 1e-9
        assert (fused - run(unet)).abs().max() > 1e-3


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("count", [1, 7, 12])
def test_twelve_subjects_take_as_many_attentions_as_one(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, calls = tiny_unet(), []
    attend = sdpa.F.scaled_dot_product_attention
    layout = layout_of(*[(number / count, 0.0, (number + 1) / count, 0.9) for number in range(count)])
    with injected(stream_on(unet, layout, NextCall(UNCOND, COND))):
        monkeypatch.setattr(fused_module, "attend", lambda *args: calls.append(args[3].shape) or attend(*args))
        run(unet, height=24, width=24)
    assert len(calls) == len(cross_attention_layers(unet))


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("rows", [(UNCOND, COND), (UNCOND,) * 4 + (COND,) * 4, (COND, UNCOND) * 3])
def test_the_mask_is_kept_once_a_kind_not_once_an_entry(rows: tuple[bool, ...]) -> None:
    unet, layout = tiny_unet(), layout_of((0.0, 0.0, 0.5, 1.0))
    with injected(stream_on(unet, layout, NextCall(*rows))) as stream:
        run(unet, rows=len(rows), height=16, width=16)
        sets = stream.region_merge._keys_values.bytes
        grids = [8 * 8, 4 * 4]  # half of the tokens owned, 8 bytes each; a mask row of 16 numbers (8 are used)
        assert stream.region_merge.bytes - sets == sum(tokens // 2 * (8 + 2 * 16 * 4) for tokens in grids)


def test_sets_follow_the_query_s_type_in_each_form() -> None:
    sets = key_values(tiny_unet(), [0, 1])
    for dtype in (torch.float32, torch.float64, torch.float32):
        like = torch.zeros(2, 1, dtype=dtype)
        key, value = sets.by_heads(1, 2, like)
        (first, _), _ = sets.of(1, True, like)
        assert key.dtype == value.dtype == first.dtype == dtype
        assert torch.equal(split_heads(first, 2), key[0, :, : len(first)])


@pytest.mark.usefixtures("fused")
def test_calls_with_other_batch_entries_get_another_mask() -> None:
    unet, rows = tiny_unet(), NextCall(UNCOND, COND)
    with injected(stream_on(unet, LAYOUT, rows)):
        run(unet)
        rows.call = NextCall(UNCOND, UNCOND).call
        after = run(unet)
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, UNCOND))):
        assert torch.equal(run(unet), after)


@pytest.mark.usefixtures("fused")
def test_unowned_tokens_keep_the_text_bit_for_bit() -> None:
    unet, layout = tiny_unet(), layout_of((0.0, 0.0, 0.5, 0.5))
    x = inputs(2, 16, 16)
    with torch.no_grad():
        plain, streamed = layer_changes(unet, lambda: unet(*x), None, stream_on(unet, layout, NextCall(UNCOND, COND)))
    first = next(iter(plain))
    changed = (streamed[first] != plain[first]).any(-1)
    assert torch.equal(changed, (torch.tensor(layout.owner_map(TokenGrid(8, 8))) == 0).expand(2, -1))


def test_the_hook_of_a_neighbour_keeps_the_text_stream_it_saw() -> None:
    """We add in place, unless another hook on the same module may still hold the tensor."""
    unet, seen = tiny_unet(), {}
    layer = cross_attention_layers(unet)[0]
    handle = layer.to_out.register_forward_pre_hook(lambda _module, args: seen.setdefault("kept", []).append(args[0]))
    run(unet)
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))):
        run(unet)
    handle.remove()
    before, beside = seen["kept"]
    assert torch.equal(before, beside)

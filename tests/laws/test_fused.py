"""All rows of a call in one attention: the same image stream, in as many launches for any number of subjects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lib_anyms.engine import fused as fused_module
from lib_anyms.engine import region_merge, sdpa
from lib_anyms.engine.attention import crop_and_merge, crops_of, split_heads
from lib_anyms.engine.fused import FusedCrops, fused_crop_and_merge
from lib_anyms.engine.key_values import side_by_side
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout
from tests.laws.test_image_stream import COND, LAYOUT, UNCOND, run
from tests.support.streams import Rows, injected, key_values, layer_changes, layout_of, random_pair, stream_on
from tests.support.tiny_unet import inputs, tiny_unet

HEADS, WIDTH = 2, 16
UNEVEN = (4, 16, 7)  # tokens of each subject: one has several pictures side by side


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a device where launches cost more than arithmetic."""
    monkeypatch.setattr(region_merge, "is_launch_bound", lambda _device: True)
    return None


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_it_is_crop_and_merge_of_conditional_rows_and_the_unconditional_set_elsewhere(
    dtype: torch.dtype, bound: float
) -> None:
    grid = TokenGrid(13, 17)
    query = torch.randn(3, grid.tokens, WIDTH, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(
        dtype
    )
    sets = [random_pair(seed, count, WIDTH, dtype) for seed, count in enumerate((*UNEVEN, 4))]
    crops = crops_of(LAYOUT.visible_tokens(grid), [1.0, 0.5, 2.0], query.device)
    *places, uncond = side_by_side([*UNEVEN, 4])
    everyone = [split_heads(torch.cat(tensors), HEADS).expand(3, -1, -1, -1) for tensors in zip(*sets)]
    together = FusedCrops.of(crops, places, uncond, (False, True, False), query)
    text = torch.zeros_like(query)
    found = fused_crop_and_merge(text.clone(), query, everyone, together, HEADS, 0.7)
    for row, own in enumerate(([sets[3]] * 3, sets[:3], [sets[3]] * 3)):
        part = slice(row, row + 1)
        wanted = crop_and_merge(text[part].clone(), query[part], own, crops, HEADS, 0.7)
        assert (found[part] - wanted).abs().max() <= 8 * bound  # values up to 20


def results(
    unet, layout: Layout, rows: Rows, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[torch.Tensor, ...]:
    found = []
    for launches_cost in (False, True):
        with monkeypatch.context() as patched:
            patched.setattr(region_merge, "is_launch_bound", lambda _device, answer=launches_cost: answer)
            with injected(stream_on(unet, layout, rows, **options)):
                found.append(run(unet, rows=len(rows.call.rows.is_cond)))
    return tuple(found)


@pytest.mark.parametrize("rows", [(UNCOND, COND), (COND, COND, UNCOND), (COND,), (UNCOND,)])
@pytest.mark.parametrize("uncond", [True, False])
def test_a_whole_unet_gives_the_same_either_way(
    rows: tuple[bool, ...], uncond: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = tiny_unet(torch.float64)
    sets = key_values(unet, [0, 1, 2], torch.float64, uncond=uncond)
    by_subject, together = results(unet, LAYOUT, Rows(*rows), monkeypatch, sets=sets, scale=0.7)
    assert (by_subject - together).abs().max() <= 1e-9
    if uncond or COND in rows:
        assert (together - run(unet, rows=len(rows))).abs().max() > 1e-3


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
        by_subject, together = results(unet, layout, Rows(UNCOND, COND, progress=progress), monkeypatch)
        assert (by_subject - together).abs().max() <= 1e-9
        assert (together - run(unet)).abs().max() > 1e-3


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("count", [1, 7, 12])
def test_twelve_subjects_take_as_many_attentions_as_one(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, calls = tiny_unet(), []
    fused = sdpa.F.scaled_dot_product_attention
    layout = layout_of(*[(number / count, 0.0, (number + 1) / count, 0.9) for number in range(count)])
    with injected(stream_on(unet, layout, Rows(UNCOND, COND))):
        monkeypatch.setattr(fused_module, "attend", lambda *args: calls.append(args[3].shape) or fused(*args))
        run(unet, height=24, width=24)
    assert len(calls) == len(cross_attention_layers(unet))


@pytest.mark.usefixtures("fused")
def test_calls_of_other_rows_have_a_mask_of_their_own() -> None:
    unet, rows = tiny_unet(), Rows(UNCOND, COND)
    with injected(stream_on(unet, LAYOUT, rows)):
        run(unet)
        rows.call = Rows(UNCOND, UNCOND).call
        after = run(unet)
    with injected(stream_on(unet, LAYOUT, Rows(UNCOND, UNCOND))):
        assert torch.equal(run(unet), after)


@pytest.mark.usefixtures("fused")
def test_tokens_of_nobody_keep_the_text_bit_for_bit() -> None:
    unet, layout = tiny_unet(), layout_of((0.0, 0.0, 0.5, 0.5))
    x = inputs(2, 16, 16)
    with torch.no_grad():
        plain, streamed = layer_changes(unet, lambda: unet(*x), None, stream_on(unet, layout, Rows(UNCOND, COND)))
    first = next(iter(plain))
    changed = (streamed[first] != plain[first]).any(-1)
    assert torch.equal(changed, (torch.tensor(layout.owner_map(TokenGrid(8, 8))) == 0).expand(2, -1))


def test_a_neighbour_s_hook_keeps_the_text_stream_it_saw() -> None:
    """Ours adds in place, unless another hook on the same module may have kept the tensor."""
    unet, seen = tiny_unet(), {}
    layer = cross_attention_layers(unet)[0]
    handle = layer.to_out.register_forward_pre_hook(lambda _module, args: seen.setdefault("kept", []).append(args[0]))
    run(unet)
    with injected(stream_on(unet, LAYOUT, Rows(UNCOND, COND))):
        run(unet)
    handle.remove()
    before, beside = seen["kept"]
    assert torch.equal(before, beside)

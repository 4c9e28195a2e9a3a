"""The image stream in a whole UNet: no effect when off, no trace when ejected, and independent batch entries."""

from __future__ import annotations

import pytest
import torch

from lib_anyms.engine.image_stream import arm_refusal
from lib_anyms.errors import Refused
from tests.support.streams import NextCall, hook_count, injected, key_values, layout_of, stream_on
from tests.support.tiny_unet import inputs, tiny_unet

LAYOUT = layout_of((0.0, 0.0, 0.6, 0.7), (0.4, 0.3, 1.0, 0.8), (0.1, 0.6, 0.5, 1.0))
UNCOND, COND = False, True


@torch.no_grad()
def run(unet, rows=2, height=12, width=16):
    dtype = next(unet.parameters()).dtype
    return unet(*inputs(rows, height, width, dtype))


# -- off, and gone -----------------------------------------------------------------------------------------------------


def test_scale_0_is_the_untouched_unet_bit_for_bit() -> None:
    unet = tiny_unet()
    before = run(unet)
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND), scale=0.0)) as stream:
        assert torch.equal(run(unet), before)
        assert stream.result.calls == 1


def test_weight_0_of_all_subjects_is_the_untouched_unet_bit_for_bit() -> None:
    unet = tiny_unet()
    before = run(unet)
    with injected(stream_on(unet, layout_of((0, 0, 1, 1), weight=0.0), NextCall(UNCOND, COND))):
        assert torch.equal(run(unet), before)


def test_an_injected_stream_acts_and_an_ejected_one_does_not() -> None:
    unet = tiny_unet()
    before, hooks = run(unet), hook_count(unet)
    stream = stream_on(unet, LAYOUT, NextCall(UNCOND, COND))
    with injected(stream):
        assert (run(unet) - before).abs().max() > 1e-3
        assert hook_count(unet) > hooks
    assert hook_count(unet) == hooks == 0
    assert torch.equal(run(unet), before)


def test_a_double_inject_is_one() -> None:
    unet = tiny_unet()
    stream = stream_on(unet, LAYOUT, NextCall(UNCOND, COND))
    with injected(stream):
        once, hooks = run(unet), hook_count(unet)
        stream.inject()
        assert hook_count(unet) == hooks
        assert torch.equal(run(unet), once)
    assert hook_count(unet) == 0
    stream.eject()
    assert hook_count(unet) == 0


def test_hooks_of_others_survive_eject() -> None:
    unet = tiny_unet()
    calls = []
    unet.middle_block.register_forward_hook(lambda *_: calls.append(1))
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))):
        run(unet)
    run(unet)
    assert len(calls) == 2
    assert hook_count(unet) == 1


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_an_exception_inside_the_unet_leaves_no_trace(place: str) -> None:
    unet = tiny_unet()
    before = run(unet)
    inner = unet.input_blocks[7][1].transformer_blocks[1].attn2
    victim = {"before": unet.input_blocks[1], "between": inner.to_k, "after": unet.out}[place]
    stream = stream_on(unet, LAYOUT, NextCall(UNCOND, COND))
    stream.inject()
    fault = victim.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
    with pytest.raises(RuntimeError, match="out of memory"):
        run(unet)
    fault.remove()
    with_stream = run(unet)  # the next call uses no query of the failed one
    stream.eject()
    assert hook_count(unet) == 0
    assert torch.equal(run(unet), before)
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))):
        assert torch.equal(run(unet), with_stream)


def test_a_replaced_unet_keeps_no_hook() -> None:
    first, second = tiny_unet(seed=0), tiny_unet(seed=1)
    stream = stream_on(first, LAYOUT, NextCall(UNCOND, COND))
    stream.inject()
    before = run(second)
    stream.eject()
    assert hook_count(first) == hook_count(second) == 0
    assert torch.equal(run(second), before)


def test_a_refusal_is_raised_by_the_unet_once_and_leaves_no_hook() -> None:
    unet = tiny_unet()
    before = run(unet)
    arm_refusal(unet, Refused("failed", got="a test"))
    with pytest.raises(Refused, match="a test"):
        run(unet)
    assert hook_count(unet) == 0
    assert torch.equal(run(unet), before)
    arm_refusal(unet, Refused("failed", got="a test"))()
    assert hook_count(unet) == 0


# -- batches -----------------------------------------------------------------------------------------------------------


def output_with(unet, conds: NextCall, x, t, context) -> torch.Tensor:
    with torch.no_grad(), injected(stream_on(unet, LAYOUT, conds)):
        return unet(x, t, context)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_cond_and_uncond_in_one_call_equal_split_calls(dtype, bound, record_property) -> None:
    unet = tiny_unet(dtype)
    x, t, context = inputs(2, 12, 16, dtype)
    joined = output_with(unet, NextCall(UNCOND, COND), x, t, context)
    reversed_order = output_with(unet, NextCall(COND, UNCOND), x.flip(0), t, context.flip(0)).flip(0)
    uncond = output_with(unet, NextCall(UNCOND), x[:1], t[:1], context[:1])
    cond = output_with(unet, NextCall(COND), x[1:], t[1:], context[1:])
    worst = max((joined - torch.cat((uncond, cond))).abs().max().item(), (joined - reversed_order).abs().max().item())
    record_property("largest difference", worst)
    print(f"{dtype}: one call and split calls differ by {worst:.2g}")
    assert worst <= bound
    wrong = output_with(unet, NextCall(COND), x[:1], t[:1], context[:1])
    assert (wrong - uncond).abs().max() > 1e-3  # the two sets do differ


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_a_batch_of_three_equals_three_singles(dtype, bound) -> None:
    unet = tiny_unet(dtype)
    x, t, context = inputs(6, 12, 16, dtype)
    batch = output_with(unet, NextCall(*[UNCOND] * 3, *[COND] * 3), x, t, context)
    worst = 0.0
    for image in range(3):
        pick = [image, image + 3]
        single = output_with(unet, NextCall(UNCOND, COND), x[pick], t[pick], context[pick])
        worst = max(worst, (batch[pick] - single).abs().max().item())
    print(f"{dtype}: a batch of three and singles differ by {worst:.2g}")
    assert worst <= bound


def test_and_prompts_and_skipped_uncond_are_ordinary_batches() -> None:
    unet = tiny_unet(torch.float64)
    x, t, context = inputs(3, 8, 8, torch.float64)
    three = output_with(unet, NextCall(COND, COND, UNCOND), x, t, context)
    two = output_with(unet, NextCall(COND, COND), x[:2], t[:2], context[:2])
    assert (three[:2] - two).abs().max() <= 1e-9


def test_cond_only_leaves_unconditional_entries_to_the_text() -> None:
    unet = tiny_unet(torch.float64)
    x, t, context = inputs(2, 12, 16, torch.float64)
    with torch.no_grad():
        plain = unet(x, t, context)
        sets = key_values(unet, [0, 1, 2], torch.float64, uncond=False)
        with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND), sets=sets)):
            result = unet(x, t, context)
    assert (result[0] - plain[0]).abs().max() < 1e-12
    assert (result[1] - plain[1]).abs().max() > 1e-3


def test_a_cond_map_that_does_not_match_the_batch_is_refused() -> None:
    unet = tiny_unet()
    before = run(unet)
    stream = stream_on(unet, LAYOUT, NextCall(UNCOND, COND, COND))
    stream.inject()
    with pytest.raises(Refused) as refusal:
        run(unet)
    assert refusal.value.cause == "rows_unknown"
    assert hook_count(unet) == 0  # ejected by the stream: after an exception hosts run none of our callbacks
    assert torch.equal(run(unet), before)

"""The image stream layer by layer: the right tokens, values, steps and blocks, and the count of layers that fired."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.image_stream import UNetCall
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.engine.skipped import Skipped
from lib_anyms.errors import Refused
from lib_anyms.layout.fade import CONSTANT, Fade
from lib_anyms.layout.geometry import Box, TokenGrid
from lib_anyms.layout.layout import Layout, Subject
from tests.laws.test_image_stream import COND, LAYOUT, UNCOND, run
from tests.support import oracle
from tests.support.streams import NextCall, hook_count, injected, key_values, layer_changes, layout_of, stream_on
from tests.support.tiny_unet import inputs, tiny_unet

# -- layers ------------------------------------------------------------------------------------------------------------


def test_outside_all_boxes_every_layer_has_the_text_alone() -> None:
    unet = tiny_unet()
    layout = layout_of((0.0, 0.0, 0.5, 0.5))
    x = inputs(1, 16, 16)

    def first_layer_only(layer):
        sets = key_values(unet, [0])
        for other in cross_attention_layers(unet):
            if other.number != layer.number:
                sets.all_sets(other.number, x[0])[1].zero_()
        return stream_on(unet, layout, NextCall(COND), sets=sets)

    with torch.no_grad():
        for layer in cross_attention_layers(unet):
            plain, streamed = layer_changes(unet, lambda: unet(*x), None, first_layer_only(layer))
            changed = (streamed[layer.name] != plain[layer.name]).any(-1)[0]
            side = round(len(changed) ** 0.5)
            inside = torch.tensor(layout.owner_map(TokenGrid(side, side))) >= 0
            assert torch.equal(changed, inside), layer.name


def test_changing_one_subject_in_one_layer_changes_its_visible_tokens_there_and_no_others() -> None:
    unet = tiny_unet()
    x = inputs(1, 16, 16)
    with torch.no_grad():
        for layer in cross_attention_layers(unet):
            for number in range(3):
                sets, other = key_values(unet, [0, 1, 2]), key_values(unet, [0, 1, 2])
                other_set = key_values(unet, [77]).of(layer.number, True, x[0])[0]
                for target, tensor in zip(other.of(layer.number, True, x[0])[number], other_set):
                    target.copy_(tensor)
                streams = [stream_on(unet, LAYOUT, NextCall(COND), sets=each) for each in (sets, other)]
                before, after = layer_changes(unet, lambda: unet(*x), *streams)
                changed = (before[layer.name] != after[layer.name]).any(-1)[0]
                side = round(len(changed) ** 0.5)
                assert torch.equal(changed, torch.tensor(LAYOUT.owner_map(TokenGrid(side, side))) == number), layer.name


def test_the_order_of_disjoint_subjects_is_irrelevant() -> None:
    unet = tiny_unet()
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 1.0, 1.0), (0.0, 0.5, 0.5, 1.0)]
    with injected(stream_on(unet, layout_of(*boxes), NextCall(UNCOND, COND), seeds=[0, 1, 2])):
        straight = run(unet)
    with injected(stream_on(unet, layout_of(*boxes[::-1]), NextCall(UNCOND, COND), seeds=[2, 1, 0])):
        assert torch.equal(run(unet), straight)


@pytest.mark.parametrize("seed", range(40))
def test_odd_sizes_through_a_unet_equal_the_oracle_in_every_layer(seed: int) -> None:
    pick = random.Random(seed)
    height, width = pick.randint(3, 40), pick.randint(3, 40)
    unet = tiny_unet(torch.float64)
    x, t, context = inputs(1, height, width, torch.float64)
    sets = key_values(unet, [0, 1, 2], torch.float64)
    weights = [subject.weight for subject in LAYOUT.subjects]
    queries, texts, results = {}, {}, {}
    layers = cross_attention_layers(unet)
    probes = []
    for layer in layers:
        name, attention = layer.name, layer.attention
        probes.append(attention.to_q.register_forward_hook(lambda _m, _a, out, n=name: queries.__setitem__(n, out)))
        probes.append(attention.to_out[0].register_forward_pre_hook(lambda _m, a, n=name: texts.__setitem__(n, a[0])))
    with torch.no_grad(), injected(stream_on(unet, LAYOUT, NextCall(COND), sets=sets, scale=0.7)):
        for layer in layers:
            name = layer.name
            probes.append(
                layer.attention.to_out[0].register_forward_pre_hook(lambda _m, a, n=name: results.__setitem__(n, a[0]))
            )
        unet(x, t, context)
    for probe in probes:
        probe.remove()
    grids = {height * width: (height, width)}
    for _ in range(2):
        height, width = (height + 1) // 2, (width + 1) // 2
        grids[height * width] = (height, width)
    for layer in layers:
        query = queries[layer.name]
        owner = oracle.owners(LAYOUT, *grids[query.shape[1]])
        image = oracle.image_stream(query, sets.of(layer.number, True, query), owner, weights, layer.heads)
        assert (texts[layer.name] + 0.7 * image - results[layer.name]).abs().max() < 1e-12, layer.name


# -- steps and blocks --------------------------------------------------------------------------------------------------


def test_a_subject_acts_from_start_to_end_and_keeps_its_place() -> None:
    unet = tiny_unet()
    boxes = [Box(0, 0, 1, 1), Box(0.25, 0.25, 0.75, 0.75)]
    late = Layout((Subject("under", boxes[0]), Subject("over", boxes[1], start=0.5, end=0.8)))
    idle = Layout((Subject("under", boxes[0]), Subject("over", boxes[1], weight=0.0)))
    always = Layout((Subject("under", boxes[0]), Subject("over", boxes[1])))

    def at(layout, progress):
        with injected(stream_on(unet, layout, NextCall(UNCOND, COND, progress=progress))):
            return run(unet)

    for progress, same in ((0.0, idle), (0.49, idle), (0.5, always), (0.79, always), (0.8, idle)):
        assert torch.equal(at(late, progress), at(same, progress)), progress
    assert not torch.equal(at(always, 0.0), at(idle, 0.0))


@pytest.mark.parametrize("fused", [False, True], ids=["by subject", "fused"])
def test_the_later_strength_is_a_part_of_the_first_from_its_step_on(fused: bool) -> None:
    unet = tiny_unet()

    def at(progress: float, scale: float, fade: Fade = CONSTANT) -> torch.Tensor:
        stream = stream_on(unet, LAYOUT, NextCall(UNCOND, COND, progress=progress), scale=scale, fade=fade)
        stream.region_merge.use_fused = fused
        with injected(stream):
            return run(unet)

    faded = Fade(rest=0.5, start=0.25)
    for progress, scale in ((0.0, 0.8), (0.24, 0.8), (0.25, 0.4), (0.99, 0.4)):
        same = at(progress, scale)
        assert (at(progress, 0.8, faded) - same).abs().max() < 1e-12 * same.abs().max(), progress
        assert (at(progress, 1.2 - scale) - same).abs().max() > 1e-6 * same.abs().max()


def test_a_later_strength_of_one_is_the_usual_stream_bit_for_bit() -> None:
    unet = tiny_unet()

    def at(fade: Fade) -> torch.Tensor:
        with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND, progress=0.5), fade=fade)):
            return run(unet)

    assert torch.equal(at(Fade(rest=1.0, start=0.0)), at(CONSTANT))
    assert not torch.equal(at(Fade(rest=0.0, start=0.5)), at(CONSTANT))


def test_an_idle_subject_keeps_its_tokens_from_those_below() -> None:
    unet = tiny_unet()
    layout = Layout((Subject("under", Box(0, 0, 1, 1)), Subject("over", Box(0.25, 0.25, 0.75, 0.75), weight=0.0)))
    x = inputs(1, 16, 16)
    with torch.no_grad():
        plain, streamed = layer_changes(unet, lambda: unet(*x), None, stream_on(unet, layout, NextCall(COND)))
    first = next(iter(plain))
    changed = (streamed[first] != plain[first]).any(-1)[0]
    assert torch.equal(changed, torch.tensor(layout.owner_map(TokenGrid(8, 8))) == 0)


@pytest.mark.parametrize(("preset", "block"), [("style", "output_blocks.1."), ("composition", "input_blocks.8.")])
def test_block_presets_touch_their_blocks_only(preset: str, block: str) -> None:
    unet = tiny_unet()
    x = inputs(1, 16, 16)
    stream = stream_on(unet, layout_of((0, 0, 1, 1), blocks=preset), NextCall(COND))
    with torch.no_grad():
        plain, streamed = layer_changes(unet, lambda: unet(*x), None, stream)
    layers = cross_attention_layers(unet)
    first = next(index for index, name in enumerate(plain) if not torch.equal(plain[name], streamed[name]))
    assert block in list(plain)[first]
    assert [layer.name for layer in layers if layer.sees(preset)] == [
        layer.name for layer in layers if block in layer.name
    ]


@pytest.mark.parametrize("part", ["style", "composition"])
def test_all_but_a_preset_is_every_other_layer(part: str) -> None:
    """The picture, not only the names: the layers without the subject have the host's own output for their input."""
    unet = tiny_unet()
    layers = cross_attention_layers(unet)
    x = inputs(1, 16, 16)
    names = {}
    for preset in ("all", part, f"all but {part}"):
        stream = stream_on(unet, layout_of((0, 0, 1, 1), blocks=preset), NextCall(COND))
        acted = names.setdefault(preset, set())
        merge = stream.region_merge.add

        def add(layer, *rest, merge=merge, acted=acted):
            before = rest[2].clone()
            after = merge(layer, *rest)
            if not torch.equal(before, after):
                acted.add(layer.name)
            return after

        stream.region_merge.add = add
        with torch.no_grad(), injected(stream):
            unet(*x)
    assert names["all"] == {layer.name for layer in layers}
    assert 0 < len(names[part]) < len(layers)
    assert names[f"all but {part}"] == names["all"] - names[part]


def test_every_call_counts_its_layers() -> None:
    unet = tiny_unet()
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))) as stream:
        run(unet)
        run(unet)
        assert (stream.result.calls, stream.result.step_calls) == (2, 2)
        stream.begin_step()
        assert (stream.result.calls, stream.result.step_calls) == (2, 0)


def without_a_layer(unet: nn.Module) -> torch.Tensor:
    """One UNet call in which another extension replaces the forward of one layer."""
    attention = unet.middle_block[1].transformer_blocks[0].attn2
    attention.forward = lambda x, context=None: x
    try:
        return run(unet)
    finally:
        del attention.forward


def test_a_layer_that_does_not_fire_is_refused_in_the_call_it_happens() -> None:
    unet = tiny_unet()
    before = run(unet)
    stream = stream_on(unet, LAYOUT, NextCall(UNCOND, COND))
    failures: list[int] = []
    stream.on_failure = lambda: failures.append(hook_count(unet))
    stream.inject()
    with pytest.raises(Refused) as refusal:
        without_a_layer(unet)
    assert refusal.value.cause == "none_fired"
    assert "16 of 17" in str(refusal.value)
    assert failures == [0]  # once, and the hooks are gone by then
    assert torch.equal(run(unet), before)


def test_after_a_whole_call_partial_and_silent_calls_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache repeats outputs that already hold the image stream."""
    unet = tiny_unet()
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))) as stream:
        expected = run(unet)
        without_a_layer(unet)
        monkeypatch.setattr(type(unet), "forward", lambda *_args, **_more: expected)
        assert run(unet) is run(unet) is expected
        monkeypatch.undo()
        assert torch.equal(run(unet), expected)
        result = stream.result
    assert (result.calls, result.step_calls, result.failure) == (2, 5, "")
    assert result.skipped == Skipped(silent=2, partial=1, by=(__name__,))
    assert result.skipped.times == 3


def test_the_hooks_leave_before_a_cuda_graph_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = tiny_unet()
    before = run(unet)
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))) as stream:
        assert not torch.equal(run(unet), before)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        assert torch.equal(run(unet), before)
        assert hook_count(unet) == 0
        aside = stream.result.aside
    assert aside is not None
    assert "recorded from the UNet after 1 calls" in str(aside)


def test_calls_that_are_not_ours_pass_through() -> None:
    unet = tiny_unet()
    before = run(unet)
    rows = NextCall(UNCOND, COND)
    with injected(stream_on(unet, LAYOUT, rows)) as stream:
        rows.call = None
        assert torch.equal(run(unet), before)
        assert stream.result.calls == 0
        rows.call = UNetCall(CondMap((UNCOND, COND)), 0.0)
        assert not torch.equal(run(unet), before)


def test_tokens_that_are_not_the_grid_s_are_refused() -> None:
    unet = tiny_unet()
    block = unet.input_blocks[7][1].transformer_blocks[0]
    plain = block.attn2.forward
    block.attn2.forward = lambda x, context: plain(x[:, ::2], context).repeat_interleave(2, 1)  # token merging
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))), pytest.raises(Refused) as refusal:
        run(unet)
    assert refusal.value.cause == "tokens_unknown"
    assert hook_count(unet) == 0


def test_what_passes_the_batch_in_halves_is_named() -> None:
    """NegPiP attends each half of the batch with another text."""
    unet = tiny_unet()
    attention = unet.middle_block[1].transformer_blocks[0].attn2
    whole = attention.forward

    def in_halves(x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return torch.cat([whole(*half) for half in zip(x.chunk(2), context.chunk(2))])

    in_halves.__module__ = "negpip.py"
    attention.forward = in_halves
    with injected(stream_on(unet, LAYOUT, NextCall(UNCOND, COND))), pytest.raises(Refused) as refusal:
        run(unet)
    assert str(refusal.value).startswith("AnyMS: another extension (negpip.py) passes the batch through a layer")
    assert hook_count(unet) == 0

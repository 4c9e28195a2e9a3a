"""AnyMS beside other extensions, without a host: every output has their effect and AnyMS's."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused
from tests.contract.cases import FAR, WEBUIS, C, Judge, U, flags, on, two
from tests.contract.hosts import ForgeStandIn, StandIn
from tests.contract.jobs import Job
from tests.contract.ldm_unet import CrossAttention, attention, sdp_forward, split_forward
from tests.contract.neighbours import (
    Couple,
    HrFix,
    IpAdapter,
    freeu_hooks,
    freeu_patches,
    hooked,
    merged_lora,
    online_lora,
    patched,
)
from tests.support.streams import hook_count


class TestBesideOthers:
    """The same contract, with another extension on the UNet."""

    # -- how a layer attends -------------------------------------------------------------------------------------------

    @on(*WEBUIS)
    @pytest.mark.parametrize("forward", [sdp_forward, split_forward])
    def test_each_attention_function(self, host: StandIn, judge: Judge, forward: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CrossAttention, "forward", forward)
            painted = host.paint(two())
        judge.right(host, painted, two())

    @on("forge")
    def test_a_replacement_of_attn2(self, host: ForgeStandIn, judge: Judge) -> None:
        called = []

        def replace(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
            called.append(1)
            return attention(q, k, v, options["n_heads"])

        with patched(host, {"patches_replace": {"attn2": replace}}):
            painted = judge.right(host, host.paint(two()), two())
        assert len(called) == len(painted.calls) * len(cross_attention_layers(host.unet))

    # -- IP-Adapters ---------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("ours", ["first", "second"])
    def test_hooks_of_another_extension_add_to_ours_in_either_order(
        self, host: StandIn, judge: Judge, ours: str
    ) -> None:
        other = IpAdapter()
        undo = []
        p = Job()
        if ours == "second":
            undo.append(other.hook(host.unet))
        else:  # ours are on before the first step
            p.before_step = lambda step: undo.append(other.hook(host.unet)) if step == 0 else None
        try:
            painted = host.process(p, two())
            assert hook_count(host.unet) == 2 * len(cross_attention_layers(host.unet))
        finally:
            undo[0]()
        judge.right(host, painted, two(), neighbour=other)
        assert max(judge.differences(host, painted, two())) > FAR

    @on("a1111")
    @pytest.mark.parametrize("ours", ["first", "second"])
    def test_controlnet_s_forwards_in_either_order(self, host: StandIn, judge: Judge, ours: str) -> None:
        other = IpAdapter()
        p = Job()
        with contextlib.ExitStack() as other_active:
            if ours == "second":
                other_active.enter_context(other.replacing_forwards(host.unet))
            else:  # ours are on before the first step
                p.before_step = lambda step: step or other_active.enter_context(other.replacing_forwards(host.unet))
            painted = host.process(p, two())
        judge.right(host, painted, two(), neighbour=other)

    @on("a1111")
    def test_controlnet_s_reference_runs_the_unet_on_another_image_first(self, host: StandIn, judge: Judge) -> None:
        forward_once, passes = host.unet.forward, []

        def forward(x: torch.Tensor, **inputs: Any) -> torch.Tensor:
            passes.extend((forward_once(0.5 * x, **inputs), forward_once(x, **inputs)))
            return passes[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(host.unet, "forward", forward)
            painted = judge.right(host, host.paint(two()), two())
        assert len(passes) == 2 * len(painted.calls)
        assert (passes[0] - passes[1]).abs().max() > FAR

    @on("forge")
    def test_forge_s_own_ip_adapter(self, host: ForgeStandIn, judge: Judge) -> None:
        other = IpAdapter()
        with patched(host, {"patches_replace": {"attn2": other.replace}}):
            painted = host.paint(two(), batch_size=2)
        judge.right(host, painted, two(), neighbour=other)

    # -- LoRA ----------------------------------------------------------------------------------------------------------

    @on(*WEBUIS)
    def test_a_lora_merged_into_the_weights(self, host: StandIn, judge: Judge) -> None:
        with merged_lora(host.unet):
            painted = judge.right(host, host.paint(two()), two())
        assert max(judge.differences(host, painted, two())) > FAR

    @on(*WEBUIS)
    def test_a_lora_beside_the_weights(self, host: StandIn, judge: Judge) -> None:
        with online_lora(host.unet) as weights:
            painted = host.paint(two())
        judge.right(host, painted, two(), weights=weights)
        assert max(judge.differences(host, painted, two())) > FAR

    # -- guidance with further calls -----------------------------------------------------------------------------------

    @on("forge")
    @pytest.mark.parametrize("text", ["positive", "negative"])
    def test_calls_beside_those_of_the_step(self, host: ForgeStandIn, judge: Judge, text: str) -> None:
        """PAG predicts from the positive text, SAG from the negative one; Forge marks both as conditional.

        A prediction that is compared with the unconditional one must use the same image tokens.
        """

        def guide(predict: Any, x: torch.Tensor, cond: list[Any], uncond: Any) -> torch.Tensor:
            degraded, _ = predict(cond if text == "positive" else [uncond], None, 0.9 * x)
            return 0.5 * (x - degraded)

        host.post_cfg.append(guide)
        try:
            painted = judge.right(host, host.paint(two()), two())
        finally:
            host.post_cfg.clear()
        assert flags(painted) == [(U, C), (C if text == "positive" else U,)] * 2

    @on("forge")
    def test_a_prompt_of_the_same_words_as_the_negative_one_stays_conditional(
        self, host: ForgeStandIn, judge: Judge
    ) -> None:
        painted = judge.right(host, host.paint(two(), negative="a cat and a dog", low_memory=True), two())
        assert sorted(flags(painted)) == [(U,)] * 2 + [(C,)] * 2

    # -- Forge Couple --------------------------------------------------------------------------------------------------

    @on("forge")
    @pytest.mark.parametrize("texts", [1, 2])
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"batch_size": 2},
            {"low_memory": True},
            {"cfg_scale": 1.0},
            {"chunks": 2},
            {"prompt": ("a cat", "a dog"), "batch_size": 3},
        ],
        ids=str,
    )
    def test_regional_texts_with_our_regional_images(
        self, host: ForgeStandIn, judge: Judge, texts: int, changes: dict[str, Any]
    ) -> None:
        couple = Couple(texts)
        with patched(host, couple.patches()):
            painted = host.paint(two(), steps=1, **changes)
        judge.right(host, painted, two(), text=couple.text)
        assert max(judge.differences(host, painted, two())) > FAR

    @on("forge")
    def test_entries_that_are_no_copies_are_refused(self, host: ForgeStandIn) -> None:
        def twice(
            n: torch.Tensor, context: torch.Tensor, value: torch.Tensor, _options: Any
        ) -> tuple[torch.Tensor, ...]:
            return (n.repeat_interleave(2, 0), *(text.repeat_interleave(2, 0) for text in (context, value)))

        def once(n: torch.Tensor, _options: Any) -> torch.Tensor:
            return n[::2]

        with (
            patched(host, {"patches": {"attn2_patch": [twice], "attn2_output_patch": [once]}}),
            pytest.raises(Refused, match="called with 4 batch entries"),
        ):
            host.paint(two())

    # -- features and grids --------------------------------------------------------------------------------------------

    @on("forge")
    def test_freeu(self, host: ForgeStandIn, judge: Judge) -> None:
        with patched(host, freeu_patches()):
            painted = host.paint(two())
        judge.right(host, painted, two(), options=lambda _progress: freeu_patches())
        assert max(judge.differences(host, painted, two())) > FAR

    @on("a1111")
    def test_freeu_by_hooks(self, host: StandIn, judge: Judge) -> None:
        with hooked(freeu_hooks(host.unet)):
            painted = host.paint(two())
        judge.right(host, painted, two(), prepare=freeu_hooks)
        assert max(judge.differences(host, painted, two())) > FAR

    @on(*WEBUIS)
    @pytest.mark.parametrize("size", [(16, 24), (10, 14)])
    def test_kohya_hrfix_changes_grids_during_sampling(self, host: Any, judge: Judge, size: tuple[int, int]) -> None:
        fix = HrFix()
        grids: list[tuple[int, int]] = []
        middle = host.unet.middle_block[1]
        p = Job(height=size[0], width=size[1])
        p.before_step = lambda step: setattr(fix, "progress", step / p.steps)
        forge = host.name == "forge"
        handles = [] if forge else fix.hooks(host.unet)
        handles.append(middle.register_forward_pre_hook(lambda _m, args: grids.append(tuple(args[0].shape[-2:]))))
        with hooked(handles), patched(host, fix.patches() if forge else {}):
            painted = host.process(p, two())
        assert len(set(grids)) == 2
        if forge:
            judge.right(host, painted, two(), options=fix.at)
        else:
            judge.right(host, painted, two(), prepare=fix.hooks, options=lambda progress: fix.at(progress) and {})
        assert judge.differences(host, painted, two())[0] > FAR

"""The contract of AnyMS without a host: WebUI bindings on stand-ins, every UNet output compared with the oracle.

CI runs this; tests/hosts tests the same on the real hosts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

from lib_anyms.errors import Refused
from lib_anyms.layout.fields import MODES, OFF
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.contract.cases import CLOSE, FAR, WEBUIS, C, Judge, U, flags, on, one, subject, two
from tests.contract.hosts import StandIn
from tests.contract.jobs import SAMPLERS, STRUCTURE, Job, Painted
from tests.contract.ldm_unet import load_ldm_unet
from tests.support.streams import hook_count

# The batches of a step's calls, and the settings that lead to them.
BATCHES: dict[str, tuple[dict[str, Any], dict[str, list[tuple[bool, ...]]]]] = {
    "in one call": ({}, {"a1111": [(C, U)], "forge": [(U, C)], "diffusers": [(U, C)]}),
    "batch_cond_uncond off": ({"batch_cond_uncond": False}, {"a1111": [(C,), (U,)]}),
    "low memory": ({"low_memory": True}, {"forge": [(U,), (C,)]}),
    "unequal lengths": ({"chunks": 2}, {"a1111": [(C,), (U,)], "forge": [(C,), (U,)]}),
    "a longer negative": ({"negative_chunks": 3}, {"a1111": [(C,), (U,)], "forge": [(C,), (U,)]}),
    "AND": ({"prompt": ("a cat", "a dog")}, {"a1111": [(C, C, U)], "forge": [(U, C, C)]}),
    "AND, batch_cond_uncond off": (
        {"prompt": ("a cat", "a dog"), "batch_cond_uncond": False},
        {"a1111": [(C,), (C,), (U,)]},
    ),
    "AND, unequal": ({"prompt": ("a cat", "a dog"), "chunks": 2}, {"a1111": [(C, C), (U,)], "forge": [(C, C), (U,)]}),
    "AND of three, unequal": (
        {"prompt": ("a", "b", "c"), "chunks": 2},
        {"a1111": [(C, C), (C,), (U,)], "forge": [(C, C, C), (U,)]},
    ),
    "AND, low memory": ({"prompt": ("a cat", "a dog"), "low_memory": True}, {"forge": [(U,), (C,), (C,)]}),
    "CFG 1": ({"cfg_scale": 1.0}, {"a1111": [(C, U)], "forge": [(C,)], "diffusers": [(C,)]}),
    "skip early": ({"skip_early": 0.1}, {"a1111": [(C,)], "forge": [(C,)]}),
    "skip early, AND of two pictures": (
        {"skip_early": 0.1, "prompt": ("a cat", "a dog"), "batch_size": 2},
        {"a1111": [(C, C, C, C)], "forge": [(C, C, C, C)]},
    ),
    "batch of three": (
        {"batch_size": 3},
        {"a1111": [(C, C, C, U, U, U)], "forge": [(U, U, U, C, C, C)], "diffusers": [(U, U, U, C, C, C)]},
    ),
    "batch of three, split": ({"batch_size": 3, "batch_cond_uncond": False}, {"a1111": [(C, C, C), (U, U, U)]}),
    "batch of two, AND": (
        {"batch_size": 2, "prompt": ("a cat", "a dog")},
        {"a1111": [(C, C, C, C, U, U)], "forge": [(U, U, C, C, C, C)]},
    ),
}
BATCH_CASES = [(host, name) for name, (_, expected) in BATCHES.items() for host in expected]

# (request, changes) with the same result on every host
EVERYWHERE: dict[str, tuple[Any, dict[str, Any]]] = {
    "without AnyMS": (None, {}),
    **{mode: (two(mode=mode), {"steps": 1}) for mode in MODES if mode != OFF},
    "conditional only": (two(unconditional="cond-only"), {"steps": 1}),
    "a part of the steps": (one(start=0.3, end=0.7), {}),
    "one block": (one(blocks="style"), {"steps": 1}),
    "batch of three": (two(), {"batch_size": 3, "steps": 1}),
    "two iterations": (two(), {"n_iter": 2, "steps": 1}),
    "CFG 1": (two(), {"cfg_scale": 1.0, "steps": 1}),
    "hires fix": (two(), {"hires": (12, 16)}),
    **{name: (two(), {"sampler": name, "steps": 3}) for name in SAMPLERS if name != "Euler"},
}


def joined(painted: Painted) -> torch.Tensor:
    return torch.cat([latents.flatten(1) for latents in painted.latents])


@contextmanager
def failing(unet: nn.Module, at: int) -> Iterator[None]:
    """Call number `at` of the UNet raises in its middle."""
    calls = itertools.count(1)

    def fail(_module: nn.Module, _args: Any) -> None:
        if next(calls) == at:
            raise RuntimeError("out of memory")

    handle = (unet.middle_block if hasattr(unet, "middle_block") else unet.mid_block).register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def other_unet(files: RandomFiles) -> nn.Module:
    """Another checkpoint of the family."""
    unet = load_ldm_unet(files.checkpoint, STRUCTURE)
    for weight in unet.parameters():
        weight.mul_(0.9)
    return unet


class TestContract:
    """Each test runs on the stand-ins it applies to. The fixture `host` checks that its UNet is left untouched."""

    @pytest.mark.parametrize(
        "setting", [{"enabled": False}, {"enabled": False, "subjects": []}, {"scale": 0}, {"mode": OFF}]
    )
    def test_off_means_untouched(self, host: StandIn, setting: dict[str, Any]) -> None:
        painted = host.paint(two(**setting))
        assert torch.equal(joined(painted), joined(host.baseline))
        assert painted.entries == {}

    def test_without_anyms_the_stand_in_s_unet_equals_the_oracle(self, host: StandIn, judge: Judge) -> None:
        judge.right(host, host.baseline, None)

    @pytest.mark.parametrize("case", EVERYWHERE)
    def test_one_request_is_the_same_on_every_host(self, stand_ins: dict[str, StandIn], case: str) -> None:
        request, changes = EVERYWHERE[case]
        painted = {name: joined(host.paint(request, **changes)) for name, host in stand_ins.items()}
        largest = painted["diffusers"].abs().max()
        for name in WEBUIS:
            assert (painted[name] - painted["diffusers"]).abs().max() <= CLOSE * largest, name
        if request is not None:
            plain = joined(stand_ins["diffusers"].paint(**changes))
            assert (painted["diffusers"] - plain).abs().max() > FAR * largest

    def test_every_mode_is_another(self, stand_ins: dict[str, StandIn]) -> None:
        outputs = [joined(stand_ins["forge"].paint(two(mode=mode), steps=1)) for mode in MODES]
        for left, right in itertools.combinations(outputs, 2):
            assert (left - right).abs().max() > FAR * left.abs().max()

    # -- batches -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("host", "case"), BATCH_CASES, indirect=["host"])
    def test_batch_entries_in_the_host_s_order(self, host: StandIn, judge: Judge, case: str) -> None:
        changes, expected = BATCHES[case]
        painted = judge.right(host, host.paint(two(), steps=1, **changes), two())
        assert flags(painted) == expected[host.name]

    @on(*WEBUIS)
    def test_steps_without_unconditional_entries(self, host: StandIn, judge: Judge) -> None:
        painted = judge.right(host, host.paint(two(), s_min_uncond=100.0, steps=3), two())
        assert [len(entries) for entries in flags(painted)] == [2, 1, 2]

    def test_conditional_only_leaves_the_other_entries_to_the_text(self, host: StandIn, judge: Judge) -> None:
        request = two(unconditional="cond-only")
        painted = judge.right(host, host.paint(request, batch_size=2), request)
        assert max(judge.differences(host, painted, two())) > FAR

    def test_a_batch_of_three_is_three_singles(self, host: StandIn) -> None:
        batch = host.paint(two(), batch_size=3)
        singles = [joined(host.paint(two(), seed=7 + image)) for image in range(3)]
        assert (joined(batch) - torch.cat(singles)).abs().max() <= CLOSE * joined(batch).abs().max()
        assert (singles[0] - singles[1]).abs().max() > FAR

    # -- steps ---------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_samplers_are_sequences_of_calls(self, host: StandIn, judge: Judge, sampler: str) -> None:
        request = one(start=0.4, end=0.9)
        painted = host.paint(request, sampler=sampler, steps=4 if sampler == "Restart" else 3)
        assert len(painted.calls) == {"Euler": 3, "Heun": 5, "DPM++ SDE": 5, "Restart": 6}[sampler]
        assert max(judge.differences(host, painted, request)) <= CLOSE
        acting = judge.acting(host, painted)
        assert acting == [0.4 <= call.progress < 0.9 for call in painted.calls]
        assert {True, False} == set(acting)
        progress = [call.progress for call in painted.calls]
        assert (progress == sorted(progress)) == (sampler != "Restart")

    def test_a_subject_s_steps_restart_with_every_iteration(self, host: StandIn, judge: Judge) -> None:
        painted = host.paint(one(end=0.5), n_iter=3)
        assert judge.acting(host, painted) == [True, False] * 3
        for iteration, latents in enumerate(painted.latents):
            assert torch.equal(latents, host.paint(one(end=0.5), seed=7 + iteration).latents[0])

    # -- sizes ---------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("height", "width"), [(9, 13), (11, 8), (16, 5)])
    def test_sizes_that_are_no_multiples(self, host: StandIn, judge: Judge, height: int, width: int) -> None:
        judge.right(host, host.paint(two(), height=height, width=width, steps=1), two())

    @pytest.mark.parametrize("size", [(12, 18), (9, 13), (16, 24)])
    def test_the_second_pass_of_a_hires_fix(self, host: StandIn, judge: Judge, size: tuple[int, int]) -> None:
        painted = judge.right(host, host.paint(two(), hires=size), two())
        assert [tuple(call.inputs["x"].shape[-2:]) for call in painted.calls] == [(8, 12)] * 2 + [size]

    def test_a_silhouette_in_both_passes(self, host: StandIn, judge: Judge) -> None:
        mask, request = Image.new("L", (96, 96)), two()
        ImageDraw.Draw(mask).ellipse((38, 40, 96, 96), fill=255)
        request["subjects"][1]["silhouette"] = mask
        painted = judge.right(host, host.paint(request, hires=(12, 16)), request)
        assert min(judge.differences(host, painted, two())) > FAR

    # -- errors, interruptions and other jobs --------------------------------------------------------------------------

    @pytest.mark.parametrize("call", [1, 2])
    def test_after_an_exception_in_sampling(self, host: StandIn, call: int) -> None:
        composed = joined(host.paint(two()))
        with failing(host.unet, call), pytest.raises(RuntimeError, match="out of memory"):
            host.paint(two())
        if host.name in WEBUIS:  # the hooks of the failed job stay, but do not act on a job without scripts
            assert host.hooks() > 0
            assert torch.equal(joined(host.paint(scripted=False)), joined(host.baseline))
        assert torch.equal(joined(host.paint()), joined(host.baseline))
        assert host.hooks() == 0
        assert torch.equal(joined(host.paint(two())), composed)

    @on(*WEBUIS)
    def test_a_bad_request_stops_the_job_with_its_sentence(self, host: StandIn) -> None:
        with pytest.raises(Refused, match=r"^AnyMS: .*no field named 'colour'"):
            host.paint(two(colour="red"))
        assert host.hooks() == 0

    @on(*WEBUIS)
    @pytest.mark.parametrize("at", [0, 1])
    def test_the_user_interrupts(self, host: StandIn, at: int) -> None:
        p = Job()

        def press(step: int) -> None:
            p.interrupted = p.interrupted or step == at - 1

        p.before_step = press
        p.interrupted = at == 0
        painted = host.process(p, two())
        assert len(painted.calls) == at
        assert host.hooks() == 0
        assert set(painted.entries) == {"AnyMS"}
        assert torch.equal(joined(host.paint()), joined(host.baseline))

    def test_two_jobs_in_a_row(self, host: StandIn, judge: Judge) -> None:
        green = {"scale": 0.9, "subjects": [subject("green", 0.3, 0.3, 1, 1)]}
        judge.right(host, host.paint(two()), two())
        judge.right(host, host.paint(green, seed=9), green)
        judge.right(host, host.paint(seed=9), None)

    @on(*WEBUIS)
    @pytest.mark.parametrize("scripted", [True, False])
    def test_a_generation_within_ours_is_not_touched(self, host: StandIn, judge: Judge, scripted: bool) -> None:
        """Like adetailer's, between two iterations."""
        inner: list[Painted] = []
        p = Job(n_iter=2, after_image=lambda: inner.append(host.process(Job(scripted=scripted))))
        judge.right(host, host.process(p, two()), two())
        assert len(inner) == 2
        for painted in inner:
            assert torch.equal(joined(painted), joined(host.baseline))
            assert painted.entries == {}

    @on(*WEBUIS)
    def test_another_job_s_sampling_within_ours_is_not_touched(self, host: StandIn, judge: Judge) -> None:
        inner: list[Painted] = []
        p = Job()
        p.before_step = lambda step: inner.append(host.process(Job(scripted=False))) if step == 1 else None
        judge.right(host, host.process(p, two()), two())
        assert torch.equal(joined(inner[0]), joined(host.baseline))

    @on(*WEBUIS)
    def test_the_unet_is_replaced_during_sampling(self, host: StandIn, judge: Judge, other_unet: nn.Module) -> None:
        p = Job(steps=4)
        ours = host.unet
        p.before_step = lambda step: host.exchange(other_unet, p) if step == 2 else None
        try:
            painted = host.process(p, two())
        finally:
            host.exchange(ours)
        first, rest = Painted([], painted.calls[:2], {}, []), Painted([], painted.calls[2:], {}, [])
        judge.right(host, first, two())
        judge.right(host, rest, None)
        assert {call.unet for call in rest.calls} == {other_unet}
        assert hook_count(other_unet) == 0
        assert "replaced at 50% of the steps" in painted.entries["AnyMS skipped"]
        assert painted.comments == [painted.entries["AnyMS skipped"]]

    @on(*WEBUIS)
    def test_another_model_for_the_next_job(self, host: StandIn, judge: Judge, other_unet: nn.Module) -> None:
        judge.right(host, host.paint(two()), two())
        ours = host.exchange(other_unet)
        try:
            painted = judge.right(host, host.paint(two()), two())
            assert {call.unet for call in painted.calls} == {other_unet}
            assert hook_count(ours) == hook_count(other_unet) == 0
        finally:
            host.exchange(ours)
        judge.right(host, host.paint(two()), two())

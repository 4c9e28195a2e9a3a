"""Devices without fused attention, and UNets whose weights do not show where and in what type they compute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from lib_anyms.engine import sdpa
from lib_anyms.engine.attention import crop_and_merge, crops_of
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.engine.sdpa import ALONE, CHECKS, Unfit, attend, fits
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.job.live_sessions import close_session, live
from lib_anyms.job.prepare import prepare
from lib_anyms.job.request import Request
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.models.model_files import choose_pair
from lib_anyms.webui import lifecycle
from tests.support import oracle
from tests.support.fake_host import FakeHost, sample
from tests.support.four_bits import in_four_bits
from tests.support.streams import NextCall, injected, layer_changes, layout_of, random_pair, stream_on
from tests.support.tiny_unet import inputs, tiny_unet

LAYOUT = layout_of((0.0, 0.0, 0.6, 0.7), (0.4, 0.3, 1.0, 0.8))


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """A device whose fused attention raises; the dtypes of the queries it got."""
    calls: list[torch.dtype] = []

    def raising(query: torch.Tensor, *_rest: Any, **_more: Any) -> torch.Tensor:
        calls.append(query.dtype)
        raise RuntimeError("scaled_dot_product_attention is not implemented for this device")

    monkeypatch.setattr(sdpa.F, "scaled_dot_product_attention", raising)
    return calls


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 4e-6), (torch.float64, 1e-12)])
def test_without_fused_attention_the_result_equals_the_oracle(
    tries: list[torch.dtype], dtype: torch.dtype, bound: float
) -> None:
    make = torch.Generator().manual_seed(3)
    query = torch.randn(2, 12 * 16, 32, generator=make, dtype=torch.float64).to(dtype)
    sets = [random_pair(number, 4 + number, 32, dtype) for number in range(2)]
    weights = [1.0, 0.5]
    crops = crops_of(LAYOUT.visible_tokens(TokenGrid(12, 16)), weights, query.device)
    result = crop_and_merge(torch.zeros_like(query), query, sets, crops, heads=4, scale=1.0)
    expected = oracle.image_stream(query, sets, oracle.owners(LAYOUT, 12, 16), weights, heads=4)
    assert (result - expected).abs().max() <= bound
    assert tries == [dtype]  # tried once, not once a subject
    assert [case[1:] for case in CHECKS.unfit] == [(torch.device("cpu"), dtype)]


def test_where_the_tensors_are_at_fault_nothing_is_remembered() -> None:
    with pytest.raises(RuntimeError):
        attend(torch.zeros(1, 2, 8), torch.zeros(1, 2, 6), torch.zeros(1, 2, 6))
    assert CHECKS.unfit == {}
    assert fits(torch.device("cpu"), torch.float32, 8, ALONE)


def test_running_out_of_memory_does_not_disable_fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_args: Any, **_more: Any) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sdpa.F, "scaled_dot_product_attention", raising)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        attend(*torch.zeros(3, 1, 2, 8))
    assert CHECKS.unfit == {}


def test_half_precision_is_computed_in_float32(tries: list[torch.dtype]) -> None:
    query, key, value = torch.randn(3, 1, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    exact = (query @ key.transpose(-1, -2) / 8**0.5).softmax(-1) @ value
    half = attend(query.half(), key.half(), value.half())
    assert half.dtype == torch.float16
    assert (half.float() - exact).abs().max() < 2e-3


def test_the_encoder_is_built_without_it_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode() -> torch.Tensor:
        encoder = Encoder(read_encoder(folder / "encoder.safetensors"), torch.device("cpu"), torch.float32)
        return encoder.encode_unconditional("plus")

    expected = encode()
    calls = []
    fused = F.scaled_dot_product_attention

    def without_a_scale(*args: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False) -> Any:
        calls.append(1)
        return fused(*args)

    monkeypatch.setattr(F, "scaled_dot_product_attention", without_a_scale)
    result = encode()
    assert calls == []
    assert (result - expected).abs().max() < 1e-5


# -- in a job ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    host = FakeHost(tiny_unet(), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda _p: host)
    comments: list[str] = []
    yield SimpleNamespace(extra_generation_params={}, comment=comments.append, comments=comments, host=host)
    close_session()


def request() -> Request:
    return Request.from_json(
        {"subjects": [{"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}]}
    )


def play(job: Any, steps: int = 3) -> torch.Tensor:
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, request)
    for step in range(steps):
        lifecycle.step_begins(SimpleNamespace(denoiser=SimpleNamespace(p=job), progress=step / steps))
        output = sample(job.host.current)
    lifecycle.pass_ends(job)
    return output


def test_plain_softmax_is_noted_once_a_job_and_the_image_is_the_same(
    job: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fused = play(job)
    assert job.comments == []
    function = F.scaled_dot_product_attention
    CHECKS.add((function, torch.device("cpu"), torch.float32, 16, ALONE), Unfit("", "RuntimeError"))
    for times in (1, 2):
        plain = play(job)
        assert len(job.comments) == times
        assert "so AnyMS uses plain softmax" in job.comments[-1]
        report = live().report()
        assert report is not None
        assert report.notes == ("plain_softmax",)
        lifecycle.job_ends(job)
    assert (plain - fused).abs().max() < 1e-4
    assert len([record for record in caplog.records if "plain softmax" in record.getMessage()]) == 2
    assert job.extra_generation_params.keys() == {"AnyMS"}


# -- weights in another type -------------------------------------------------------------------------------------------


class EightBits(nn.Module):
    """A Linear in fp8 as hosts keep it: each call casts it to the type and device of the sampling."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, device: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().to(torch.float8_e4m3fn), requires_grad=False)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().to(torch.float8_e4m3fn), False)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.dtype, self.device = dtype, device

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = (None if w is None else w.to(self.device, self.dtype) for w in (self.weight, self.bias))
        return F.linear(x.to(self.device, self.dtype), weight, bias)


def in_eight_bits(dtype: torch.dtype, device: str = "cpu") -> nn.Module:
    unet = tiny_unet().to(dtype)
    for module in list(unet.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, EightBits(child, dtype, device))
            elif not list(child.children()):
                child.to(device)
    return unet


class EightBitHost(FakeHost):
    def dtype(self) -> torch.dtype:
        return torch.float8_e4m3fn  # as diffusers' `unet.dtype` has it


def half() -> torch.dtype:
    """float16, where this torch multiplies it on the CPU."""
    try:
        torch.ones(2, 2, dtype=torch.float16) @ torch.ones(2, 2, dtype=torch.float16)
    except RuntimeError:
        return torch.bfloat16
    return torch.float16


def test_weights_in_fp8_are_multiplied_in_the_type_of_the_query(folder: Path) -> None:
    unet = in_eight_bits(half())
    layers = cross_attention_layers(unet)
    assert (layers[0].width, layers[0].context_width) == (32, 24)
    host = EightBitHost(unet, folder)
    keys_values, _ = prepare(host, choose_pair([folder], unet, layers), request())
    kept = keys_values.of(1, True, torch.zeros(1, dtype=half()))
    assert kept is not None
    assert kept[0][0].dtype == half()
    exact = prepare(FakeHost(tiny_unet(), folder), choose_pair([folder], unet, layers), request())[0]
    expected = exact.of(1, True, torch.zeros(1))
    assert expected is not None
    error = (kept[0][0].float() - expected[0][0]).abs().max()
    assert error < 1e-2 * expected[0][0].abs().max()  # in fp8 it would be six times larger
    x, t, context = inputs(2, 12, 16, half())
    with torch.no_grad():
        plain = unet(x, t, context)
        with injected(stream_on(unet, LAYOUT, NextCall(False, True), sets=exact.of_subjects((0, 0)))) as stream:
            output = unet(x, t, context)
    assert output.dtype == half()
    assert output.isfinite().all()
    assert (output - plain).abs().max() > 1e-3
    assert stream.result.calls == 1


class FourBitHost(FakeHost):
    def dtype(self) -> torch.dtype:
        return torch.float32  # Forge's `computation_dtype`


def test_a_job_on_a_unet_in_four_bits(folder: Path, job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forge's nf4 checkpoints: "width of the text tokens: got 1, expected 2048"."""
    job.host = FourBitHost(in_four_bits(tiny_unet()), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda _p: job.host)
    plain = sample(job.host.current)
    output = play(job)
    assert job.comments == []
    assert live().report().passes[0].calls == 3
    assert (output - plain).abs().max() > 1e-3
    assert torch.equal(sample(job.host.current), plain)


def test_keys_and_values_follow_the_query(folder: Path) -> None:
    """--lowvram, --always-cpu: a host may sample on another device than it announced."""
    unet = in_eight_bits(torch.float32, "meta")
    keys_values, _ = prepare(
        FakeHost(tiny_unet(), folder), choose_pair([folder], unet, cross_attention_layers(unet)), request()
    )
    x, t, context = (tensor.to("meta") for tensor in inputs(2, 12, 16, torch.float32))
    changed = []
    attn2 = cross_attention_layers(unet)[0]
    with (
        torch.no_grad(),
        injected(stream_on(unet, LAYOUT, NextCall(False, True), sets=keys_values.of_subjects((0, 0)))) as stream,
    ):
        handle = attn2.to_out.register_forward_pre_hook(lambda _module, args: changed.append(args[0].device.type))
        unet(x, t, context)
        handle.remove()
    assert (stream.result.calls, changed) == (1, ["meta"])


# -- layers on other grids --------------------------------------------------------------------------------------


def test_a_level_that_shrinks_during_sampling_uses_its_own_grid() -> None:
    """As with Kohya HRFix and DeepShrink: the first steps compute one level, and all below it, at half size."""
    unet = tiny_unet()
    names = {layer.name: layer for layer in cross_attention_layers(unet)}
    stream = stream_on(unet, layout_of((0.0, 0.0, 0.5, 1.0)), NextCall(False, True))

    def run() -> None:
        with torch.no_grad():
            unet(*inputs(2, 24, 32, torch.float32))

    def reached(height: int, width: int) -> None:
        """Each layer gets an image stream in the left half of its grid, whose level-1 size this is, and only there."""
        before, after = layer_changes(unet, run, None, stream)
        first = next(iter(names))
        moved = (after[first] - before[first]).abs().sum((0, 2)).view(height, width) > 0
        assert moved.all(0).tolist() == moved.any(0).tolist() == [column < width / 2 for column in range(width)]
        assert after[first].shape[1] == height * width

    shrinks = unet.input_blocks[3].register_forward_hook(
        lambda _stage, _args, output: F.interpolate(output, scale_factor=0.5)
    )
    reached(6, 8)
    assert {(grid.height, grid.width) for grid in stream.grids} == {(6, 8), (3, 4)}
    shrinks.remove()
    reached(12, 16)
    assert stream.result.calls == 2

"""Programs that replace torch's attention for the whole process: the subjects stay right; a note names the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lib_anyms.engine import fused as fused_module
from lib_anyms.engine import region_merge, sdpa
from lib_anyms.engine.attention import crop_and_merge, crops_of, split_heads
from lib_anyms.engine.fused import FusedCrops, fused_crop_and_merge
from lib_anyms.engine.key_values import spans_of
from lib_anyms.engine.sdpa import ALONE, CHECKS, MASKED, SETS, TOKENS, attend, fits, plain_softmax
from lib_anyms.hosts.facts import HostFacts
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.job.live_sessions import close_session, live
from lib_anyms.job.request import Request
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.webui import doctor, lifecycle
from tests.support import oracle
from tests.support.fake_host import FakeHost, sample
from tests.support.streams import NextCall, injected, layout_of, random_pair, stream_on
from tests.support.tiny_unet import tiny_unet

TORCH = F.scaled_dot_product_attention
CPU, HEADS, WIDTH = torch.device("cpu"), 4, 32
GRID = TokenGrid(12, 16)
LAYOUT = layout_of((0.0, 0.0, 0.6, 0.7), (0.4, 0.3, 1.0, 0.8))
Replacement = Callable[..., Any]


def sageattn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tensor_layout: str = "HND",
    is_causal: bool = False,
    sm_scale: float | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """SageAttention's signature: `attn_mask` is one of the arguments that it ignores."""
    return TORCH(q, k, v, is_causal=is_causal, scale=sm_scale)


def sageattn_1(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    """As version 1 smoothes the keys: in place."""
    k -= k.mean(dim=2, keepdim=True)
    return TORCH(q, k, v)


def without_the_parameter(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return TORCH(query, key, value)


def nan(query: torch.Tensor, *_rest: Any, **_more: Any) -> torch.Tensor:
    return torch.full_like(query, float("nan"))


def nan_with_a_mask(query: torch.Tensor, *rest: Any, attn_mask: Any = None, **_more: Any) -> torch.Tensor:
    return nan(query) if attn_mask is not None else TORCH(query, *rest)


def mask_of_the_first_entry(query: torch.Tensor, *rest: Any, attn_mask: Any = None, **_more: Any) -> torch.Tensor:
    return TORCH(query, *rest, attn_mask=attn_mask if attn_mask is None else attn_mask[:1])


def without_the_last_tokens(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **more: Any) -> torch.Tensor:
    mask = more.get("attn_mask")
    return TORCH(query, key[..., :-8, :], value[..., :-8, :], mask if mask is None else mask[..., :-8])


def queries_scaled_in_place(query: torch.Tensor, *rest: Any, attn_mask: Any = None, **_more: Any) -> torch.Tensor:
    result = TORCH(query, *rest, attn_mask=attn_mask)
    query.mul_(2)
    return result


def mask_zeroed_in_place(*args: Any, attn_mask: Any = None, **_more: Any) -> torch.Tensor:
    result = TORCH(*args, attn_mask=attn_mask)
    if attn_mask is not None:
        attn_mask.zero_()
    return result


def a_tuple(*args: Any, attn_mask: Any = None, **_more: Any) -> tuple[torch.Tensor]:
    return (TORCH(*args, attn_mask=attn_mask),)


def raising(error: Exception) -> Replacement:
    def replacement(*_args: Any, **_more: Any) -> torch.Tensor:
        raise error

    return replacement


def only_for_widths_of_64(query: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
    assert query.shape[-1] == 64
    return TORCH(query, *rest, **more)


REPLACEMENTS = {
    "ignores the mask": sageattn,
    "smoothes the keys in place": sageattn_1,
    "no attn_mask": without_the_parameter,
    "NaN": nan,
    "NaN with a mask": nan_with_a_mask,
    "one entry's mask for all": mask_of_the_first_entry,
    "drops tokens": without_the_last_tokens,
    "changes the queries": queries_scaled_in_place,
    "a tuple": a_tuple,
    "head width": only_for_widths_of_64,
    "assertion": raising(AssertionError("Input tensors must be on cuda.")),
    "not implemented": raising(NotImplementedError()),
    "value": raising(ValueError("unsupported head_dim")),
    "import": raising(ImportError("triton")),
    "runtime": raising(RuntimeError("no kernel")),
}


@pytest.fixture(params=REPLACEMENTS.values(), ids=REPLACEMENTS.keys())
def replaced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Replacement:
    """Each replacement in turn, in place of torch's function."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", request.param)
    return request.param


def merged(fused: bool, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """The image stream of two subjects on two conditional batch entries, and the oracle's."""
    make = torch.Generator().manual_seed(3)
    query = torch.randn(2, GRID.tokens, WIDTH, generator=make).to(dtype)
    sets = [random_pair(number, 5, WIDTH, dtype) for number in range(2)]
    crops = crops_of(LAYOUT.visible_tokens(GRID), [1.0, 0.5], CPU)
    text = torch.zeros_like(query)
    if fused:
        joined = [split_heads(torch.cat(tensors), HEADS).expand(2, -1, -1, -1) for tensors in zip(*sets)]
        at_once = FusedCrops.of(crops, spans_of([5, 5]), None, (True, True), query)
        result = fused_crop_and_merge(text, query, joined, at_once, HEADS, 1.0)
    else:
        result = crop_and_merge(text, query, sets, crops, HEADS, 1.0)
    owners = oracle.owners(LAYOUT, GRID.height, GRID.width)
    return result, oracle.image_stream(query, sets, owners, [1.0, 0.5], HEADS)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "by subject"])
def test_the_values_are_the_oracle_s_whatever_replaces_the_function(replaced: Replacement, fused: bool) -> None:
    result, expected = merged(fused)
    assert (result - expected).abs().max() <= 5e-6


@pytest.mark.parametrize("replacement", [queries_scaled_in_place, mask_zeroed_in_place])
def test_nothing_of_the_host_or_of_the_next_layer_is_changed(
    monkeypatch: pytest.MonkeyPatch, replacement: Replacement
) -> None:
    monkeypatch.setattr(F, "scaled_dot_product_attention", replacement)
    query, key = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 6, 8)
    mask = torch.zeros(1, 1, 5, 6)
    mask[..., 3:] = float("-inf")
    before = query.clone(), mask.clone()
    for _ in range(2):
        assert (attend(query, key, key, mask) - TORCH(before[0], key, key, before[1])).abs().max() < 1e-6
    assert torch.equal(query, before[0])
    assert torch.equal(mask, before[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_s_own_function_fits(dtype: torch.dtype) -> None:
    for form in (ALONE, MASKED, sdpa.LIBRARY):
        for width in (8, 40, 64, 80):
            assert fits(CPU, dtype, width, form)
    assert CHECKS.unfit == {}


def test_the_check_is_made_once_and_again_for_another_function(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def counting(query: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        calls.append(tuple(query.shape))
        return TORCH(query, *rest, **more)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counting)
    query, key = torch.zeros(1, 1, 2, 8), torch.zeros(1, 1, 3, 8)
    attend(query, key, key)
    assert calls == [(2, 2, (SETS - 1) * sdpa.QUERIES, 8), (1, 1, 2, 8)]
    attend(query, key, key)
    assert len(calls) == 3
    monkeypatch.setattr(F, "scaled_dot_product_attention", nan)
    assert attend(query, key, key).isfinite().all()
    monkeypatch.setattr(F, "scaled_dot_product_attention", counting)
    attend(query, key, key)
    assert len(calls) == 4  # known from before
    attend(query.half(), key.half(), key.half())
    assert len(calls) == 6


def test_a_function_that_changes_in_every_call_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    query = torch.ones(1, 1, 2, 8)
    for _ in range(100):
        monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *args, **more: nan(*args))
        assert torch.equal(attend(query, query, query), query)
    assert len(CHECKS.results) <= 64
    assert len(CHECKS.unfit) <= 64


def test_the_check_has_twelve_subjects_and_the_unconditional_set_in_our_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict[str, torch.Tensor] = {}

    def record(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor) -> torch.Tensor:
        arguments.update(key=key, value=value, mask=attn_mask)
        return TORCH(query, key, value, attn_mask)

    monkeypatch.setattr(F, "scaled_dot_product_attention", record)
    assert fits(CPU, torch.float32, 64, MASKED)
    assert arguments["key"].shape == arguments["value"].shape == (2, 2, SETS * TOKENS, 64) == (2, 2, 208, 64)
    assert arguments["key"].stride(0) == arguments["value"].stride(0) == 0  # one set for all entries
    assert arguments["mask"].stride(-2) > 208  # a view with aligned rows
    seen = arguments["mask"][:, 0] == 0
    assert seen.sum(-1).unique().tolist() == [16]
    assert seen[0].any(0).tolist() == [True] * 192 + [False] * 16
    assert seen[1].any(0).tolist() == [False] * 192 + [True] * 16


def test_running_out_of_memory_in_the_check_condemns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    error = torch.cuda.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(F, "scaled_dot_product_attention", raising(error))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        fits(CPU, torch.float32, 8, MASKED)
    assert CHECKS.results == CHECKS.unfit == {}


def test_an_error_in_a_later_call_ends_in_plain_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(query: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        if query.shape[-2] > 100:
            raise ValueError("too many queries")
        return TORCH(query, *rest, **more)

    monkeypatch.setattr(F, "scaled_dot_product_attention", few)
    query, key = torch.randn(1, 1, 200, 8), torch.randn(1, 1, 4, 8)
    assert (attend(query, key, key) - TORCH(query, key, key)).abs().max() < 1e-6
    assert [(unfit.module, unfit.got) for unfit in CHECKS.unfit.values()] == [(__name__, "ValueError")]


def test_plain_softmax_is_precise_within_the_host_s_autocast() -> None:
    query, key, value = torch.randn(3, 1, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    exact = plain_softmax(query, key, value)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(plain_softmax(query, key, value), exact)


# -- a whole UNet ------------------------------------------------------------------------------------------------------


@pytest.fixture
def launches_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the fused form is chosen where it can be."""
    monkeypatch.setattr(region_merge, "is_launch_bound", lambda _device: True)


@pytest.mark.usefixtures("launches_cost")
def test_sageattention_s_documented_way_leaves_every_subject_in_its_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """`F.scaled_dot_product_attention = sageattn`: subjects mixed by 0.85 in every box."""
    unet, forms = tiny_unet(), []
    whole = fused_module._fused_attention
    monkeypatch.setattr(fused_module, "_fused_attention", lambda *args: forms.append(1) or whole(*args))

    def picture() -> torch.Tensor:
        with injected(stream_on(unet, LAYOUT, NextCall(False, True))):
            return sample(unet)

    plain, expected = sample(unet), picture()
    assert forms
    forms.clear()
    monkeypatch.setattr(F, "scaled_dot_product_attention", sageattn)
    result = picture()
    assert (result - expected).abs().max() < 1e-5
    assert (expected - plain).abs().max() > 1e-3
    assert forms == []  # by subject, where the mask is not needed


def test_the_encoder_reads_pictures_right(folder: Path, replaced: Replacement, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = [Image.new("RGB", (9, 9), "red")]

    def encode() -> torch.Tensor:
        encoder = Encoder(read_encoder(folder / "encoder.safetensors"), CPU, torch.float32)
        return encoder.encode(picture, "plus", "pad")

    result = encode()
    monkeypatch.setattr(F, "scaled_dot_product_attention", TORCH)
    assert (result - encode()).abs().max() < 1e-5


# -- in a job ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    host = FakeHost(tiny_unet(), folder)
    monkeypatch.setattr(lifecycle, "detect", lambda _p: host)
    comments: list[str] = []
    yield SimpleNamespace(extra_generation_params={}, comment=comments.append, comments=comments, host=host)
    close_session()


@pytest.mark.usefixtures("launches_cost")
def test_note_and_report_name_the_module(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sageattn, "__module__", "sageattention.core")
    monkeypatch.setattr(F, "scaled_dot_product_attention", sageattn)
    subject = {"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}
    lifecycle.job_begins(job)
    lifecycle.pass_begins(job, lambda: Request.from_json({"subjects": [subject]}))
    for step in range(3):
        lifecycle.step_begins(SimpleNamespace(denoiser=SimpleNamespace(p=job), progress=step / 3))
        sample(job.host.current)
    lifecycle.pass_ends(job)
    assert len(job.comments) == 1
    assert "sageattention.core replaces torch's attention" in job.comments[0]
    assert "(it ignores the mask)" in job.comments[0]
    last = live().report()
    assert last is not None
    assert last.notes == ("attention_replaced",)
    text = doctor.report(HostFacts("A1111", "v1.10.1", (), None), last)
    assert "pass 1 attention: not by sageattention.core: it ignores the mask" in text

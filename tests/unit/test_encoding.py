"""From pictures to keys and values: out of memory, freeing the encoder, caching, and stopping."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from lib_anyms.cards.card import read_card
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.engine.memory import out_of_memory
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.job import encoding
from lib_anyms.job import prepare as prepare_module
from lib_anyms.job.card_making import make_card
from lib_anyms.job.live_sessions import live, open_session
from lib_anyms.job.prepare import prepare
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.job.token_cache import TokenCache
from lib_anyms.models.model_files import ModelPair, choose_pair
from lib_anyms.runtime import runtime
from lib_anyms.tensor_files.tensor_file import TensorFile
from tests.support.adapter_files import HIDDEN, write_adapter, write_encoder
from tests.support.fake_host import FakeHost, sample
from tests.support.tiny_unet import tiny_unet

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files opened for their tensors."""
    names: list[str] = []
    init = TensorFile.__init__

    def record(self: TensorFile, path: Path, source: Any) -> None:
        names.append(path.name)
        init(self, path, source)

    monkeypatch.setattr(TensorFile, "__init__", record)
    return names


class GpuHost(FakeHost):
    """A host that reports a GPU. Tests run without one, so work on it fails or moves to the CPU."""

    def device(self) -> torch.device:
        return GPU


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """The model of every encoder that was loaded."""
    models: list[weakref.ref] = []
    original = encoding.Encoder

    def load(*args: Any) -> Any:
        encoder = original(*args)
        models.append(weakref.ref(encoder._model))
        return encoder

    monkeypatch.setattr(encoding, "Encoder", load)
    return models


def request(*colours: str, **settings: Any) -> Request:
    subjects = [
        {"name": f"s{n}", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), each) for each in colour.split("+")]}
        for n, colour in enumerate(colours)
    ]
    return Request.from_json({"subjects": subjects, **settings})


def pair_of(folder: Path) -> ModelPair:
    unet = tiny_unet()
    return choose_pair([folder], unet, cross_attention_layers(unet))


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int = 1) -> list[torch.device]:
    """The encoder's device at each load. The first `times` loads raise `error`, as a device would."""
    original, devices = encoding.Encoder, []

    def load(checkpoint: Any, device: torch.device, dtype: torch.dtype) -> Any:
        devices.append(device)
        if len(devices) <= times:
            raise error
        return original(checkpoint, device, dtype)

    monkeypatch.setattr(encoding, "Encoder", load)
    return devices


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.20 GiB"),
        RuntimeError("HIP out of memory. Tried to allocate 2 MiB"),
        RuntimeError("Could not allocate tensor with 52428800 bytes. There is not enough GPU video memory available!"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    ],
)
def test_a_job_that_runs_out_of_memory_encodes_on_the_cpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    host, released = GpuHost(tiny_unet(), folder), []
    devices = failing(monkeypatch, error)
    monkeypatch.setattr(prepare_module, "collect", released.append)
    key_values, notes = prepare(host, pair_of(folder), request("red", "blue"))
    assert devices == [GPU, CPU]
    assert released == [GPU]
    assert [note.cause for note in notes] == ["encoded_on_cpu"]
    expected, none = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red", "blue"))
    assert none == ()
    like = torch.zeros(1)
    for (key, value), (expected_key, expected_value) in zip(key_values.of(1, True, like), expected.of(1, True, like)):
        assert torch.equal(key, expected_key)
        assert torch.equal(value, expected_value)


def test_an_encoding_that_runs_out_of_memory_frees_the_encoder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, loads: list[weakref.ref]
) -> None:
    """Without garbage collection: at the second load nothing refers to the first encoder."""
    monkeypatch.setattr(FakeHost, "device", lambda _self: torch.device("meta"))
    original, alive = encoding.image_tokens, []

    def encode(*args: Any) -> Any:
        alive.append([ref() is not None for ref in loads])
        if len(alive) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return original(*args)

    monkeypatch.setattr(encoding, "image_tokens", encode)
    prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
    assert alive == [[True], [False, True]]


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory")]
)
def test_any_other_error_is_raised(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    devices = failing(monkeypatch, error)
    with pytest.raises(type(error), match=str(error)):
        prepare(GpuHost(tiny_unet(), folder), pair_of(folder), request("red"))
    assert devices == [GPU]


def test_the_cpu_has_no_fallback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = failing(
        monkeypatch, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    )
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
    assert devices == [CPU]
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("an illegal memory access was encountered"))


def test_the_encoder_is_gone_before_sampling(folder: Path, loads: list[weakref.ref]) -> None:
    gc.disable()
    try:
        opened = open_session(Session(FakeHost(tiny_unet(), folder), job=object()))
        opened.begin_pass(request("red", "blue"))
        assert [ref() for ref in loads] == [None]
    finally:
        gc.enable()


def test_a_refusal_that_waits_for_the_unet_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback of the error holds the encoder, and on Windows the file."""
    models: list[weakref.ref] = []

    def encode(_adapter: Any, encoder: Any, *_rest: Any) -> None:
        models.append(weakref.ref(encoder._model))
        try:
            raise OSError("the disk is gone")
        except OSError as error:
            raise Refused("file_damaged", path="a", got="a test") from error

    monkeypatch.setattr(encoding, "image_tokens", encode)
    opened = open_session(Session(FakeHost(tiny_unet(), folder), job=object()))
    try:
        opened.begin_pass(request("red"))
    except Refused as refusal:
        opened.refuse(refusal)
    gc.collect()
    assert [ref() for ref in models] == [None]


def test_the_host_makes_room_for_weights_and_activations(folder: Path) -> None:
    checkpoint = read_encoder(folder / "encoder.safetensors")
    with open(folder / "encoder.safetensors", "rb") as file:
        header = int.from_bytes(file.read(8), "little")
    weights = (folder / "encoder.safetensors").stat().st_size - 8 - header
    assert 4 * checkpoint.parameters == weights
    one, three = FakeHost(tiny_unet(), folder), FakeHost(tiny_unet(), folder)
    prepare(one, pair_of(folder), request("red"))
    runtime.of(TokenCache).clear()
    prepare(three, pair_of(folder), request("red+blue+lime"))
    projection = 4 * (4 * 24 * 20 + 4 * 24 + 2 * 24)
    assert one.room == [weights + 4 * checkpoint.activations + projection]
    assert three.room[0] - one.room[0] == 2 * 4 * checkpoint.activations
    # at least all hidden states of the picture's five patches
    assert checkpoint.activations > 3 * 5 * HIDDEN


def test_equal_pictures_are_encoded_once_for_all_jobs(folder: Path, loads: list[weakref.ref]) -> None:
    host, pair = FakeHost(tiny_unet(), folder), pair_of(folder)
    first, _ = prepare(host, pair, request("red", "blue", "red"))
    again, _ = prepare(host, pair, request("blue", "red"))
    assert len(loads) == len(host.room) == 1
    like = torch.zeros(1)
    sets, turned = first.of(3, True, like), again.of(3, True, like)
    for mine, yours in zip((sets[0], sets[1], sets[2]), (turned[1], turned[0], turned[1])):
        assert torch.equal(mine[0], yours[0])
    assert torch.equal(first.of(3, False, like)[0][1], again.of(3, False, like)[0][1])


@pytest.mark.parametrize("with_card", [False, True])
def test_a_job_opens_each_model_file_once(folder: Path, opened: list[str], with_card: bool) -> None:
    """The adapter's header is parsed once, also where a card needs the adapter's fingerprint."""
    pair, job_request = pair_of(folder), request("lime", "blue")
    if with_card:
        card = read_card(make_card("red", "subject", [Image.new("RGB", (9, 9), "red")], [pair]), "red")
        job_request = replace(job_request, pictures=((), job_request.pictures[1]), cards=(card, None))
    runtime.reset()
    opened.clear()
    prepare(FakeHost(tiny_unet(), folder), pair, job_request)
    assert sorted(opened) == ["adapter.safetensors", "encoder.safetensors"]


@pytest.mark.parametrize(
    "other",
    [
        request("lime"),
        request("red", fit="crop"),
        request("red+red"),
        request("red", combine="concatenate"),
        request("red", unconditional="cond-only"),
    ],
    ids=["another picture", "fit", "one more picture", "combine", "unconditional"],
)
def test_a_setting_that_changes_the_tokens_is_encoded_again(
    folder: Path, loads: list[weakref.ref], other: Request
) -> None:
    pair = pair_of(folder)
    prepare(FakeHost(tiny_unet(), folder), pair, request("red"))
    prepare(FakeHost(tiny_unet(), folder), pair, other)
    assert len(loads) == (1 if other.unconditional == "cond-only" else 2)


@pytest.mark.parametrize("name", ["adapter", "encoder"])
def test_a_replaced_file_is_another_file(folder: Path, loads: list[weakref.ref], tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(folder, tmp_path / "models"))
    before, _ = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
    path = folder / f"{name}.safetensors"
    if name == "adapter":
        write_adapter(path, tiny_unet(), seed=1)
    else:
        write_encoder(path, seed=1)
    after, _ = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
    assert len(loads) == 2
    like = torch.zeros(1)
    assert not torch.equal(before.of(1, True, like)[0][0], after.of(1, True, like)[0][0])


def test_the_cache_is_bounded_and_the_least_recently_used_goes_first() -> None:
    cache = TokenCache(limit=80)
    for name in "abc":
        cache.add((name,), torch.zeros(6))
        cache.find(("a",))
    assert cache.bytes == 72
    cache.add(("d",), torch.zeros(6))
    assert [name for name in "abcd" if cache.find((name,)) is not None] == ["a", "c", "d"]
    cache.add(("e",), torch.zeros(21))
    assert cache.bytes == 0


def test_pictures_are_encoded_in_float32_within_the_host_s_autocast(folder: Path) -> None:
    like = torch.zeros(1)
    plain, _ = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
    runtime.of(TokenCache).clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, _ = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
    assert torch.equal(plain.of(1, True, like)[0][0], cast.of(1, True, like)[0][0])


@contextmanager
def half_precision_by_manual_cast() -> Iterator[None]:
    """As A1111 samples on GPUs without autocast: torch's layers cast arguments and weights, in the whole process."""

    def casting(original: Any, dtype: torch.dtype) -> Any:
        def forward(self: nn.Module, *args: Any, **more: Any) -> Any:
            before = next(self.parameters()).dtype
            self.to(dtype)
            result = original(self, *(arg.to(dtype) if torch.is_tensor(arg) else arg for arg in args), **more)
            self.to(before)
            return result.to(torch.float16)

        return forward

    kinds: list[Any] = [nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm]
    for kind in kinds:
        kind.org_forward = kind.forward
        kind.forward = casting(kind.org_forward, torch.float16)
    try:
        yield
    finally:
        for kind in kinds:
            kind.forward = kind.org_forward
            del kind.org_forward


@pytest.mark.parametrize("begins", ["before", "while"])
def test_pictures_are_encoded_in_float32_under_a1111_s_manual_cast(
    folder: Path, monkeypatch: pytest.MonkeyPatch, begins: str
) -> None:
    """`before`: a job. `while`: a card is made from the page, and then another user's job begins."""
    plain, _ = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
    runtime.reset()
    with ExitStack() as cast:
        if begins == "before":
            cast.enter_context(half_precision_by_manual_cast())
        else:
            whole = encoding.image_tokens
            begin = lambda *args: cast.enter_context(half_precision_by_manual_cast()) or whole(*args)  # noqa: E731
            monkeypatch.setattr(encoding, "image_tokens", begin)
        result, _ = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request("red"))
        assert nn.Linear.forward is not nn.Linear.org_forward  # the host's own is left alone
    for (key, value), (expected_key, expected_value) in zip(result.layers, plain.layers):
        assert torch.equal(key, expected_key)
        assert torch.equal(value, expected_value)


@pytest.mark.parametrize(
    ("sampled_in", "encoded_in"),
    [
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.float16),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.float8_e4m3fn, torch.float16),
    ],
)
def test_no_half_encodes_in_float32_on_the_gpu_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, sampled_in: torch.dtype, encoded_in: torch.dtype
) -> None:
    loaded: list[tuple[str, torch.dtype]] = []

    def load(_checkpoint: Any, device: torch.device, dtype: torch.dtype) -> Any:
        loaded.append((device.type, dtype))
        raise ValueError("no GPU")

    monkeypatch.setattr(encoding, "Encoder", load)
    host = GpuHost(tiny_unet(), folder)
    monkeypatch.setattr(host, "dtype", lambda: sampled_in)
    with pytest.raises(ValueError, match="no GPU"):
        prepare(host, pair_of(folder), request("red"))
    assert loaded == [("cuda", encoded_in)]


# -- what the user sees ------------------------------------------------------------------------------------------------


def test_the_host_shows_progress_and_then_its_previous_text(folder: Path) -> None:
    host = FakeHost(tiny_unet(), folder)
    host.words = ["Batch 2 out of 3"]
    prepare(host, pair_of(folder), request("red", "blue"))
    assert [text for text in host.words if text and "of 2" in text] == [
        "AnyMS reads the reference pictures: 1 of 2",
        "AnyMS reads the reference pictures: 2 of 2",
    ]
    assert host.words[-1] == "Batch 2 out of 3"


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_job_that_is_stopped_ends_without_a_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch, loads: list[weakref.ref], when: str
) -> None:
    unet = tiny_unet()
    before = sample(unet)
    host = FakeHost(unet, folder)
    texts = []

    def show_status(text: str | None) -> str | None:
        texts.append(text)
        host.stopped = when == "before" or (when == "between" and bool(text and "1 of 2" in text))
        return None

    monkeypatch.setattr(host, "show_status", show_status)
    opened = open_session(Session(host, job=object()))
    with pytest.raises(SteppedAside) as aside:
        opened.begin_pass(request("red", "blue"))
    assert aside.value.cause == "interrupted"
    assert len(loads) == (when == "between")
    assert texts[-1] is None
    assert not any("2 of 2" in (text or "") for text in texts)
    assert torch.equal(sample(unet), before)
    when = "never"
    opened.begin_pass(request("red", "blue"))  # the next picture of the same job
    assert opened.stream is not None
    assert live() is opened

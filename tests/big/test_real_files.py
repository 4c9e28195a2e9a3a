"""The four adapters for SDXL and both encoders at real size: recognise, pair, load and release them.

    python -m pytest tests/big -m big -s

prints the table of docs/models.md, a line for each file. It needs half an hour on two busy cores, 6 GiB of disk in the
temporary folder and 10 GiB of memory.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_anyms.engine.memory import collect, release
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.encoder import Encoder, EncoderCheckpoint
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.tokens import ImageTokens, check_pair, image_tokens
from lib_anyms.models.file_index import what_is
from lib_anyms.models.known_files import encoder_for, known_file
from tests.support.real_sizes import (
    ADAPTERS,
    ENCODERS,
    WIDTHS,
    adapter_shapes,
    encoder_shapes,
    real_encoder_weights,
    write_real_adapter,
    write_real_encoder,
)

pytestmark = pytest.mark.big
CPU, MIB = torch.device("cpu"), 2**20
PICTURE = Image.linear_gradient("L").convert("RGB")
NAMINGS = tuple((naming, suffix) for naming in ("Hugging Face", "open_clip") for suffix in (".safetensors", ".pth"))


def anonymous() -> int:
    """Bytes of this process's memory without pages of files, which the system can free at any time."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


class Meter:
    """Seconds, and MiB more than at the start: the peak, and at the end."""

    seconds = peak = left = 0.0


@contextmanager
def measured() -> Iterator[Meter]:
    collect(CPU)  # start like a new process
    meter, start, before, done = Meter(), time.monotonic(), anonymous(), threading.Event()
    peaks = [before]

    def watch() -> None:
        while not done.wait(0.01):
            peaks.append(anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield meter
    finally:
        meter.seconds = time.monotonic() - start
        done.set()
        thread.join()
        gc.collect()
        meter.peak, meter.left = (max(peaks) - before) / MIB, (anonymous() - before) / MIB


def print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_recognised_and_never_in_memory_as_a_whole(tmp_path: Path, name: str, suffix: str) -> None:
    kind, width = ADAPTERS[name]
    path = write_real_adapter(tmp_path / (name + suffix), kind, width)
    with measured() as header:
        adapter = what_is(path)
    assert isinstance(adapter, AdapterCheckpoint), adapter
    tokens = {"base": 4, "plus": 16}[kind]
    assert (adapter.kind, adapter.tokens, adapter.encoder_width, adapter.context_width) == (kind, tokens, width, 2048)
    assert [layer.width for layer in adapter.layers] == WIDTHS
    known = known_file(f"{name}.safetensors")
    assert encoder_for(kind, width).name == known.encoder
    if suffix == ".safetensors":
        assert abs(path.stat().st_size - known.size) < 64 * 1024  # the table has the size of these tensors
    assert header.seconds < 5
    assert header.peak < 32
    make = torch.Generator().manual_seed(0)
    subject, uncond = (torch.randn(tokens, 2048, generator=make) for _ in range(2))
    with measured() as projected:
        sets = project_key_values(adapter, ImageTokens((subject, subject), uncond), CPU, torch.float16)
    assert sets.bytes == 3 * tokens * sum(WIDTHS) * 2 * 2
    assert projected.peak < 160  # of the file's 650 MiB
    assert projected.left < sets.bytes / MIB + 96  # torch keeps some memory after its first use
    print_row(
        path.name,
        f"{path.stat().st_size / 1e6:.0f} MB",
        f"{kind}, {tokens} tokens, takes {width}: {known.encoder.split('-laion')[0]}",
        f"{header.seconds * 1000:.0f} ms",
        f"{projected.seconds:.1f} s, {projected.peak:.0f} MiB",
        f"{sets.bytes / MIB:.1f} MiB",
    )
    path.unlink()


@pytest.mark.parametrize(("naming", "suffix"), NAMINGS)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_the_same_in_every_naming(tmp_path: Path, name: str, naming: str, suffix: str) -> None:
    hidden, projected = ENCODERS[name][:2]
    path = write_real_encoder(tmp_path / f"clip{suffix}", name, naming)
    with measured() as header:
        checkpoint = what_is(path)
    assert isinstance(checkpoint, EncoderCheckpoint), checkpoint
    assert (checkpoint.hidden_width, checkpoint.projection_width, checkpoint.image_size) == (hidden, projected, 224)
    assert {("base", projected), ("plus", hidden)} == set(known_file(f"{name}.safetensors").gives)
    assert header.seconds < 5
    assert header.peak < 32
    import transformers  # noqa: F401  # its memory is not the encoder's

    with measured() as work:
        with measured() as loading:
            encoder = Encoder(checkpoint, CPU, torch.float32)
        own = dict(encoder._model.named_parameters())
        for weight, expected in real_encoder_weights(name):
            assert torch.equal(own[weight], expected.float()), weight
        del encoder, own, expected
        release(CPU)
    size = 4 * checkpoint.parameters / MIB
    assert loading.peak < 1.1 * size + 256  # never two copies
    assert work.left < 0.05 * size + 128  # released
    print_row(
        f"{name.split('-laion')[0]}, {naming}, {suffix}",
        f"{path.stat().st_size / 1e6:.0f} MB",
        f"hidden {hidden}, projected {projected}",
        f"{header.seconds * 1000:.0f} ms",
        f"{loading.seconds:.1f} s, {loading.peak:.0f} MiB",
        f"{work.left:.0f} MiB",
    )
    path.unlink()


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_with_its_encoder_gives_its_tokens(tmp_path: Path, name: str) -> None:
    kind, width = ADAPTERS[name]
    adapter = what_is(write_real_adapter(tmp_path / f"{name}.safetensors", kind, width))
    known = encoder_for(kind, width)
    checkpoint = what_is(
        write_real_encoder(tmp_path / known.name, known.name.removesuffix(".safetensors"), "Hugging Face")
    )
    check_pair(adapter, checkpoint)
    with measured() as work:
        tokens = image_tokens(adapter, Encoder(checkpoint, CPU, torch.float32), [[PICTURE]])
        release(CPU)
    encoded = (*tokens.subjects, tokens.unconditional)
    assert [subject.shape for subject in encoded] == [(adapter.tokens, 2048)] * 2
    assert all(subject.isfinite().all() for subject in encoded)
    assert work.left < 160
    print_row(
        name,
        known.name.split("-laion")[0],
        list(encoded[0].shape),
        f"{work.seconds:.0f} s, {work.peak:.0f} MiB",
        f"{work.left:.0f} MiB",
    )
    for path in tmp_path.iterdir():
        path.unlink()


def test_the_sizes_in_the_table_are_those_of_the_tensors() -> None:
    for name, (kind, width) in ADAPTERS.items():
        tensors = 2 * sum(torch.Size(shape).numel() for shape in adapter_shapes(kind, width).values())
        assert 0 < known_file(f"{name}.safetensors").size - tensors < 64 * 1024
    for name, (*sizes, dtype) in ENCODERS.items():
        tensors = dtype.itemsize * sum(torch.Size(shape).numel() for shape in encoder_shapes(*sizes).values())
        assert 0 < known_file(f"{name}.safetensors").size - tensors < 128 * 1024

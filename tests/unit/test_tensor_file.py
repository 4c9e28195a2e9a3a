"""Both formats round-trip and release the file; any other file gives one sentence."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lib_anyms.errors import Refused
from lib_anyms.tensor_files import tensor_file, torch_zip
from lib_anyms.tensor_files.tensor_file import open_tensors
from tests.support.torch_files import load_all, pickled, refusal, safetensors_bytes, tensor_opcodes, write_zip

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def numbers(dtype: torch.dtype) -> torch.Tensor:
    counted = torch.arange(24).reshape(2, 3, 4)
    return (counted % 2 if dtype == torch.bool else counted).to(dtype)


def save_zip(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(tensors, path)


SAVERS = pytest.mark.parametrize("save", [save_file, save_zip], ids=["safetensors", "zip"])


# Round trips.


@SAVERS
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
def test_each_dtype_round_trips_exactly(tmp_path: Path, save: Callable[..., None], dtype: torch.dtype) -> None:
    path = tmp_path / "weights"
    save({"a": numbers(dtype), "scalar": numbers(dtype)[1, 2, 3].clone(), "empty": numbers(dtype)[:0].clone()}, path)
    with open_tensors(path) as file:
        assert file.path == path
        assert file.shapes == {"a": (2, 3, 4), "scalar": (), "empty": (0, 3, 4)}
        loaded = {name: file.load(name) for name in file.shapes}
    assert {tensor.dtype for tensor in loaded.values()} == {dtype}
    assert torch.equal(loaded["a"], numbers(dtype))
    assert loaded["scalar"].item() == numbers(dtype)[1, 2, 3].item()
    assert loaded["empty"].shape == (0, 3, 4)


def test_only_safetensors_has_metadata(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a", metadata={"anyms": "yes"})
    torch.save({"a": torch.ones(1)}, tmp_path / "b")
    with open_tensors(tmp_path / "a") as a, open_tensors(tmp_path / "b") as b:
        assert (a.metadata, b.metadata) == ({"anyms": "yes"}, {})


def test_nested_dicts_parameters_and_views(tmp_path: Path) -> None:
    base = torch.arange(40.0).reshape(5, 8)
    linear = torch.nn.Linear(3, 2)
    views = OrderedDict(cut=base[1:4, 2:5], transposed=base.T, every=base[::2, ::3], same=base)
    tree = {
        "image_proj": {
            "proj.weight": torch.nn.Parameter(base.clone()),
            "deep": {"er": base.half(), 7: base.bfloat16()},
        },
        "ip_adapter": linear.state_dict(),
        "views": views,
        "step": 7,
        "rate": 0.5,
        "name": "x" * 1000,
        "list": [1, 2],
        "none": None,
        "huge": 2**40,
        "flag": True,
        "frozen": (1, 2),
    }
    torch.save(tree, tmp_path / "a.bin")
    with open_tensors(tmp_path / "a.bin") as file:
        loaded = {name: file.load(name) for name in file.shapes}
        assert {name: tuple(tensor.shape) for name, tensor in loaded.items()} == file.shapes
    expected = {
        "image_proj.proj.weight": base,
        "image_proj.deep.er": base.half(),
        "image_proj.deep.7": base.bfloat16(),
        **{f"ip_adapter.{name}": tensor for name, tensor in linear.state_dict().items()},
        **{f"views.{name}": tensor for name, tensor in views.items()},
    }
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor), name
        assert loaded[name].is_contiguous()
        assert loaded[name].dtype == tensor.dtype
        assert not loaded[name].requires_grad
    loaded["views.same"].fill_(-1)
    assert torch.equal(loaded["views.cut"], base[1:4, 2:5]), "copies do not share memory"


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "really.bin")
    torch.save({"a": torch.ones(2)}, tmp_path / "really.safetensors")
    for path in tmp_path.iterdir():
        with open_tensors(path) as file:
            assert torch.equal(file.load("a"), torch.ones(2))


def test_a_safetensors_header_whose_length_looks_like_a_pickle(tmp_path: Path) -> None:
    """A length of 640: the file begins with 80 02, as old pickles do."""
    header = json.dumps({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(640)
    (tmp_path / "a").write_bytes(struct.pack("<Q", 640) + header + struct.pack("<f", 3))
    with open_tensors(tmp_path / "a") as file:
        assert file.load("t").item() == 3


def test_only_the_requested_tensor_is_copied(tmp_path: Path) -> None:
    torch.save({"large": torch.zeros(2**22), "small": torch.ones(4)}, tmp_path / "a")
    tracemalloc.start()
    try:
        with open_tensors(tmp_path / "a") as file:
            small = file.load("small")
            assert tracemalloc.get_traced_memory()[1] < 2 * torch_zip.DIRECTORY_LIMIT
            file.load("large")
            assert tracemalloc.get_traced_memory()[1] >= 2**24, "the measurement sees a copied tensor"
    finally:
        tracemalloc.stop()
    assert torch.equal(small, torch.ones(4))


# Closing releases the file.


def is_open(path: Path) -> bool:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    files = [os.readlink(link) for link in links if os.path.islink(link)]
    return any(str(path) in line for line in [*files, *Path("/proc/self/maps").read_text().splitlines()])


@LINUX
@SAVERS
def test_closing_releases_the_file_and_keeps_the_tensors(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "weights.safetensors"
    save({"a": torch.arange(1000.0), "b": torch.ones(3)}, path)
    file = open_tensors(path)
    assert is_open(path)
    loaded = file.load("a")
    file.close()
    file.close()
    assert not is_open(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    path.unlink()
    assert torch.equal(loaded, torch.arange(1000.0))
    assert file.shapes["b"] == (3,)
    with pytest.raises(ValueError, match="closed"):
        file.load("b")


@LINUX
@SAVERS
def test_a_refused_file_is_released(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "weights"
    save({"a\nb": torch.ones(3)}, path)
    assert refusal(path).cause == "file_damaged"
    assert not is_open(path)
    assert refusal(write_zip(path, pickled(tensor_opcodes(5, (6,), (1,))))).cause == "file_damaged"
    assert not is_open(path)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a")
    with open_tensors(tmp_path / "a") as file, pytest.raises(Refused, match="no tensor named b"):
        file.load("b")


# Files with wrong headers.


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@SAVERS
def test_truncated_files(tmp_path: Path, save: Callable[..., None], share: float) -> None:
    save({"a": torch.arange(100.0), "b": torch.ones(3)}, tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[: int(len(data) * share)])
    assert refusal(tmp_path / "a").cause == "file_damaged"


@pytest.mark.parametrize(
    "data",
    [
        safetensors_bytes({}, length=2**63),
        safetensors_bytes({}, length=10**8),
        safetensors_bytes({"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)),
        safetensors_bytes({"t": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"t": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}),
        safetensors_bytes({"t": {"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"t": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"t" * 300: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        struct.pack("<Q", 20) + b"{" * 20,
        struct.pack("<Q", 4) + b"{\xff\xff}",
    ],
    ids=[
        "vast header",
        "header beyond",
        "bytes short",
        "data beyond",
        "vast shape",
        "empty but vast",
        "unknown type",
        "negative shape",
        "vast name",
        "no JSON",
        "no UTF-8",
    ],
)
def test_a_malformed_safetensors_header(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert refusal(tmp_path / "a").cause == "file_damaged"


def test_a_safetensors_header_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a")
    monkeypatch.setattr(tensor_file, "HEADER_LIMIT", 16)
    assert "a header of" in str(refusal(tmp_path / "a"))


def test_a_safetensors_type_that_not_every_torch_has(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(
        safetensors_bytes({"t": {"dtype": "U16", "shape": [1], "data_offsets": [0, 2]}}, bytes(2))
    )
    assert refusal(tmp_path / "a").cause == "file_form"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b"GGUF\x03\x00\x00\x00", "GGUF"),
        (b"\x93NUMPY", "begins with"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    error = refusal(tmp_path / "model.safetensors")
    assert (error.cause, words in str(error)) == ("file_kind", True)


def test_absent_files_and_folders(tmp_path: Path) -> None:
    assert [refusal(path).cause for path in (tmp_path / "absent", tmp_path)] == ["file_unreadable"] * 2


# Random damage.


def sound_zip() -> bytes:
    buffer = io.BytesIO()
    tree = {
        "image_proj": OrderedDict(a=torch.arange(6.0).reshape(2, 3).T),
        "p": torch.nn.Parameter(torch.ones(2)),
        "n": 1,
    }
    torch.save(tree, buffer)
    return buffer.getvalue()


SOUND_ZIP = sound_zip()
PICKLE_SPAN = (SOUND_ZIP.index(b"\x80\x02}"), SOUND_ZIP.index(b"PK", 60))
SOUND_SAFETENSORS = safetensors_bytes(
    {
        "__metadata__": {"k": "v"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [], "data_offsets": [24, 26]},
    },
    bytes(26),
)


def changed(data: bytes, first: int, last: int) -> st.SearchStrategy[bytes]:
    """`data` with a few bytes of [first, last) replaced, and perhaps cut short."""

    def apply(changes: list[tuple[int, int]], cut: int) -> bytes:
        copy = bytearray(data)
        for place, value in changes:
            copy[place] = value
        return bytes(copy[: len(copy) - cut])

    change = st.tuples(st.integers(first, last - 1), st.integers(0, 255))
    return st.builds(apply, st.lists(change, min_size=1, max_size=6), st.sampled_from([0] * 8 + [1, 7, 30]))


@settings(max_examples=150)
@given(
    data=changed(SOUND_ZIP, *PICKLE_SPAN)
    | changed(SOUND_ZIP, 0, len(SOUND_ZIP))
    | changed(SOUND_ZIP, SOUND_ZIP.index(b"PK\x01\x02"), len(SOUND_ZIP))
    | changed(SOUND_SAFETENSORS, 0, len(SOUND_SAFETENSORS))
)
def test_any_file_loads_or_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    try:
        with open_tensors(tmp_path / "a") as file:
            shapes = file.shapes
            loaded = {name: file.load(name) for name in shapes}
    except Refused:
        return
    assert {name: tuple(tensor.shape) for name, tensor in loaded.items()} == shapes


def test_the_undamaged_files_load(tmp_path: Path) -> None:
    for data, names in ((SOUND_ZIP, {"image_proj.a", "p"}), (SOUND_SAFETENSORS, {"a", "b"})):
        (tmp_path / "a").write_bytes(data)
        assert load_all(tmp_path / "a").keys() == names

"""Both formats read what was written; nothing in a file runs, passes a limit, or ends in anything but a sentence."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter import torch_pickle, torch_zip
from lib_anyms.ip_adapter.tensor_file import open_tensors

ROOT = Path(__file__).resolve().parents[2]
DTYPES = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def numbers(dtype: torch.dtype) -> torch.Tensor:
    return (torch.arange(24).reshape(2, 3, 4) % 2 if dtype == torch.bool else torch.arange(24).reshape(2, 3, 4)).to(dtype)


def save_zip(tensors: dict[str, torch.Tensor], path: Path) -> None:
    torch.save(tensors, path)


SAVERS = pytest.mark.parametrize("save", [save_file, save_zip], ids=["safetensors", "zip"])


def load_all(path: Path) -> dict[str, torch.Tensor]:
    with open_tensors(path) as file:
        return {name: file.load(name) for name in file.shapes}


def refusal(path: Path) -> Refused:
    """What opening the file and loading all of it is refused with."""
    with pytest.raises(Refused) as caught:
        load_all(path)
    return caught.value


# Pickles and zips by hand.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers_tuple(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor_opcodes(
    offset: int, shape: tuple[int, ...], stride: tuple[int, ...], count: int = 6, kind: str = "FloatStorage", key: str = "0"
) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + number(count) + b"tQ"
    arguments = (
        b"(" + storage + number(offset) + numbers_tuple(*shape) + numbers_tuple(*stride) + b"\x89ccollections\nOrderedDict\n)Rt"
    )
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def pickled(opcodes: bytes, name: str = "t") -> bytes:
    return b"\x80\x02}(" + text(name) + opcodes + b"u."


def write_zip(path: Path, data_pkl: bytes, entries: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> Path:
    """A zip as torch lays it out; storage 0 holds the six floats 0..5."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for name, data in {"data/0": struct.pack("<6f", *range(6)), "byteorder": b"little", **(entries or {})}.items():
            archive.writestr(f"archive/{name}", data)
    return path


def safetensors_bytes(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    words = json.dumps(header).encode()
    return struct.pack("<Q", len(words) if length is None else length) + words + data


# What was written comes back.


@SAVERS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_each_dtype_comes_back_bit_equal(tmp_path: Path, save: Callable[..., None], dtype: torch.dtype) -> None:
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


def test_metadata_is_safetensors_own(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a", metadata={"anyms": "yes"})
    torch.save({"a": torch.ones(1)}, tmp_path / "b")
    with open_tensors(tmp_path / "a") as a, open_tensors(tmp_path / "b") as b:
        assert (a.metadata, b.metadata) == ({"anyms": "yes"}, {})


def test_nested_dicts_parameters_and_views(tmp_path: Path) -> None:
    base = torch.arange(40.0).reshape(5, 8)
    linear = torch.nn.Linear(3, 2)
    views = OrderedDict(cut=base[1:4, 2:5], turned=base.T, every=base[::2, ::3], same=base)
    tree = {
        "image_proj": {"proj.weight": torch.nn.Parameter(base.clone()), "deep": {"er": base.half(), 7: base.bfloat16()}},
        "ip_adapter": linear.state_dict(),
        "views": views,
        **{
            "step": 7,
            "rate": 0.5,
            "name": "x" * 1000,
            "list": [1, 2],
            "none": None,
            "huge": 2**40,
            "flag": True,
            "frozen": (1, 2),
        },
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


def test_a_pickle_by_hand_reads_as_meant(tmp_path: Path) -> None:
    """The builder of the hostile files below makes sound files too."""
    with open_tensors(write_zip(tmp_path / "a", pickled(tensor_opcodes(1, (2, 2), (2, 1))))) as file:
        assert file.load("t").tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_overlapping_rows_within_the_bytes_are_a_view_like_any_other(tmp_path: Path) -> None:
    with open_tensors(write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (2, 3), (1, 1))))) as file:
        assert file.load("t").tolist() == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "really.bin")
    torch.save({"a": torch.ones(2)}, tmp_path / "really.safetensors")
    for path in tmp_path.iterdir():
        with open_tensors(path) as file:
            assert torch.equal(file.load("a"), torch.ones(2))


def test_a_safetensors_header_of_a_length_that_looks_like_a_pickle(tmp_path: Path) -> None:
    """640 bytes: the file begins with 80 02, as old pickles do."""
    header = json.dumps({"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(640)
    (tmp_path / "a").write_bytes(struct.pack("<Q", 640) + header + struct.pack("<f", 3))
    with open_tensors(tmp_path / "a") as file:
        assert file.load("t").item() == 3


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 8)
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (6,), (1,))))
    monkeypatch.undo()
    assert b"PK\x06\x06" in path.read_bytes()
    with open_tensors(path) as file:
        assert file.load("t").tolist() == [0, 1, 2, 3, 4, 5]


def test_only_the_wanted_tensor_is_copied(tmp_path: Path) -> None:
    torch.save({"large": torch.zeros(2**22), "small": torch.ones(4)}, tmp_path / "a")
    tracemalloc.start()
    try:
        with open_tensors(tmp_path / "a") as file:
            small = file.load("small")
            assert tracemalloc.get_traced_memory()[1] < 2 * torch_zip.DIRECTORY_LIMIT
            file.load("large")
            assert tracemalloc.get_traced_memory()[1] >= 2**24, "what is copied is seen here"
    finally:
        tracemalloc.stop()
    assert torch.equal(small, torch.ones(4))


# Nothing holds the file.


def held(path: Path) -> bool:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    files = [os.readlink(link) for link in links if os.path.islink(link)]
    return any(str(path) in line for line in [*files, *Path("/proc/self/maps").read_text().splitlines()])


@LINUX
@SAVERS
def test_closing_lets_the_file_go_and_keeps_the_tensors(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "weights.safetensors"
    save({"a": torch.arange(1000.0), "b": torch.ones(3)}, path)
    file = open_tensors(path)
    assert held(path)
    loaded = file.load("a")
    file.close()
    file.close()
    assert not held(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    path.unlink()
    assert torch.equal(loaded, torch.arange(1000.0))
    assert file.shapes["b"] == (3,)
    with pytest.raises(ValueError, match="closed"):
        file.load("b")


@LINUX
@SAVERS
def test_a_refused_file_is_let_go(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "weights"
    save({"a\nb": torch.ones(3)}, path)
    assert refusal(path).cause == "file_damaged"
    assert not held(path)
    assert refusal(write_zip(path, pickled(tensor_opcodes(5, (6,), (1,))))).cause == "file_damaged"
    assert not held(path)


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "a")
    with open_tensors(tmp_path / "a") as file, pytest.raises(Refused, match="no tensor named b"):
        file.load("b")


# No code of a file runs.


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def evil_objects(marker: Path) -> Iterator[object]:
    yield Call(os.system, f'echo x > "{marker}"')
    yield Call(eval, f"open({str(marker)!r}, 'w').close()")
    yield Call(exec, f"open({str(marker)!r}, 'w').close()")
    yield Call(os.mkdir, str(marker))


@pytest.mark.parametrize("number_", range(4), ids=["os.system", "eval", "exec", "os.mkdir"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_call_in_a_pickle_never_runs(tmp_path: Path, number_: int, protocol: int) -> None:
    marker = tmp_path / "marker"
    tree = {"image_proj": {"w": list(evil_objects(marker))[number_]}}
    pickle.loads(pickle.dumps(tree, protocol))
    assert marker.exists(), "the pickle is dangerous indeed"
    marker.rmdir() if marker.is_dir() else marker.unlink()

    write_zip(tmp_path / "by_hand.bin", pickle.dumps(tree, protocol))
    torch.save(tree, tmp_path / "zip.bin", pickle_protocol=protocol)
    torch.save(tree, tmp_path / "legacy.bin", _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    (tmp_path / "plain.bin").write_bytes(pickle.dumps(tree, protocol))
    causes = {path.name: refusal(path).cause for path in tmp_path.glob("*.bin")}
    plain = "file_legacy" if protocol >= 2 else "file_kind"
    assert causes == {"by_hand.bin": "file_code", "zip.bin": "file_code", "legacy.bin": plain, "plain.bin": plain}
    assert not marker.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(" + text("exit 3") + b"tR",
        b"cbuiltins\neval\n",
        b"ctorch\nload\n",
        b"ctorch._utils\n_rebuild_tensor\n",
        b"(ios\nsystem\n",
        b"(cos\nsystem\n" + text("exit 3") + b"o",
        b"ccollections\nOrderedDict\n)\x81",
        b"Pstorage\n",
        b"\x82\x01",
        b"c" + b"os" * 10**6 + b"\nsystem\n",
        b"I" + b"9" * 10**6 + b"\n",
        b"c\\x74orch\nFloatStorage\n",
    ],
    ids=[
        "REDUCE",
        "eval",
        "torch.load",
        "torch's other",
        "INST",
        "OBJ",
        "NEWOBJ",
        "PERSID",
        "EXT1",
        "long name",
        "many digits",
        "escape",
    ],
)
def test_what_would_import_or_call_is_refused_by_opcode_and_name(tmp_path: Path, opcodes: bytes) -> None:
    error = refusal(write_zip(tmp_path / "a", pickled(opcodes)))
    assert error.cause == "file_code"
    assert len(str(error)) < 300


def test_an_old_pickle_says_what_to_do(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert "convert it to .safetensors" in str(refusal(tmp_path / "old.pth"))


def unsafe_loads(source: str) -> list[str]:
    """Uses of torch.load under any name, and of Python's unpickler."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "load" and ast.unparse(node.value).split(".")[0] == "torch":
            found.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            found += [alias.name for alias in node.names if alias.name == "load"]
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in ("pickle", "_pickle", "dill", "cloudpickle", "shelve")]
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "_pickle", "dill", "cloudpickle", "shelve"):
            found.append(node.module)
    return found


def test_torch_load_is_called_nowhere() -> None:
    for bad in ("torch.load(f)", "import torch\ntorch.serialization.load(f)", "from torch import load", "import pickle"):
        assert unsafe_loads(bad), bad
    sources = [path for folder in ("lib_anyms", "scripts") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 10
    assert {str(path): unsafe_loads(path.read_text(encoding="utf-8")) for path in sources} == {str(path): [] for path in sources}


# Files that lie.


@pytest.mark.parametrize(
    "opcodes",
    [
        tensor_opcodes(0, (7,), (1,)),
        tensor_opcodes(1, (6,), (1,)),
        tensor_opcodes(2**62, (1,), (1,)),
        tensor_opcodes(-1, (2,), (1,)),
        tensor_opcodes(5, (2,), (-1,)),
        tensor_opcodes(0, (-2,), (1,)),
        tensor_opcodes(0, (-2, -3), (3, 1)),
        tensor_opcodes(0, (2, 2), (5, 1)),
        tensor_opcodes(0, (2,), (2**62,)),
        tensor_opcodes(0, (2**20, 2**20), (0, 0)),
        tensor_opcodes(0, (7,), (0,)),
        tensor_opcodes(0, (2, 3), (1,)),
        tensor_opcodes(0, (1,) * 20, (1,) * 20),
        tensor_opcodes(0, (0, 2**40, 2**40), (1, 1, 1)),
        tensor_opcodes(0, (7,), (1,), count=7),
        tensor_opcodes(0, (1,), (1,), count=2**61),
        tensor_opcodes(0, (1,), (1,), count=-1),
        tensor_opcodes(0, (6,), (1,), kind="DoubleStorage"),
        tensor_opcodes(0, (1,), (1,), key="1"),
        tensor_opcodes(0, (1,), (1,), key="../data.pkl"),
    ],
    ids=[
        *("shape beyond", "offset beyond", "offset far beyond", "negative offset", "negative stride", "negative shape"),
        *("two negatives", "stride beyond", "stride far beyond", "expanded to a terabyte", "expanded by one", "lengths differ"),
        *("20 axes", "empty but vast", "storage beyond", "storage vast", "storage negative", "wider type", "no entry", "path"),
    ],
)
def test_a_tensor_outside_its_bytes(tmp_path: Path, opcodes: bytes) -> None:
    assert refusal(write_zip(tmp_path / "a", pickled(opcodes))).cause == "file_damaged"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x02}",
        b"\x80\x02.",
        b"\x80\x02}u.",
        b"\x80\x02(u.",
        b"\x80\x02h\x05.",
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02}r\xff\xff\xff\xff.",
        b"\x80\x02}(" + text("a") + b"u.",
        b"\x80\x02}(]" + text("a") + b"u.",
        b"\x80\x02K\x01.",
        b"\x80\x02" + tensor_opcodes(0, (1,), (1,)) + b".",
        b"\x80\x02}X\xff\xff\xff\x7f.",
        b"\x80\x02}(X\x02\x00\x00\x00\xff\xffK\x01u.",
        b"\x80\x02}\x8a\xff" + b"\x7f" * 255 + b".",
        b"\x80\x02}(" + text("a") + b"}}b}Ru.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n}\x85R.",
        b"\x80\x02)Q.",
        b"\x80\x02}("
        + text("a.b")
        + tensor_opcodes(0, (1,), (1,))
        + text("a")
        + pickled(tensor_opcodes(0, (1,), (1,)), "b")[2:-1]
        + b"u.",
    ],
    ids=[
        *("nothing", "no STOP", "empty stack", "no mark", "no dict", "memo never put", "vast memo", "vast memo of a dict"),
        *(
            "key without value",
            "list as key",
            "a number",
            "a bare tensor",
            "text beyond the end",
            "text not UTF-8",
            "number of 2040 bits",
        ),
        *(
            "call of a dict",
            "call of a storage",
            "tensor of nothing",
            "parameter of a dict",
            "storage of nothing",
            "a name twice",
        ),
    ],
)
def test_a_malformed_pickle(tmp_path: Path, data: bytes) -> None:
    assert refusal(write_zip(tmp_path / "a", data)).cause == "file_damaged"


def test_a_negative_view_is_not_read_as_a_positive_one(tmp_path: Path) -> None:
    torch.save({"t": torch.ones(3, dtype=torch.complex64).imag.conj()}, tmp_path / "ok")
    flagged = torch.ones(3, dtype=torch.complex64).conj().imag
    assert flagged.is_neg()
    torch.save({"t": flagged}, tmp_path / "a")
    assert refusal(tmp_path / "a").cause in ("file_damaged", "file_code")
    flags = b"}(" + text("neg") + b"\x88u"
    plain = tensor_opcodes(0, (2,), (1,))
    assert refusal(write_zip(tmp_path / "b", pickled(plain[:-2] + flags + b"tR"))).cause == "file_damaged"


def test_limits_end_what_would_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laughs = b"}q\x00(" + text("a") + b"K\x01u"
    for level in range(1, 15):
        again = b"".join(text(str(i)) + b"h" + bytes([level - 1]) for i in range(30))
        laughs = laughs + b"}q" + bytes([level]) + b"(" + again + b"u"
    monkeypatch.setattr(torch_pickle, "STEP_LIMIT", 10**4)
    floods = {
        "a dict in itself": b"}q\x00(" + text("a") + b"h\x00u",
        "dicts that multiply": laughs,
        "a deep dict": (b"}" + text("a")) * 40 + b"}" + b"s" * 40,
        "a long name": b"}(" + text("a" * 300) + b"K\x01u",
        "a full stack": b"N" * (torch_pickle.STACK_LIMIT + 2),
        "steps": b"}" + b"q\x00" * 10**4,
    }
    for what, opcodes in floods.items():
        assert refusal(write_zip(tmp_path / "a", b"\x80\x02" + opcodes + b".")).cause == "file_damaged", what
    monkeypatch.setattr(torch_zip, "PICKLE_LIMIT", 50)
    assert "bytes" in str(refusal(write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (1,), (1,))))))


def test_the_directory_of_a_zip_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (1,), (1,))), {f"data/{i}": b"" for i in range(1, 3000)})
    with open_tensors(path) as file:
        assert file.shapes == {"t": (1,)}
    monkeypatch.setattr(torch_zip, "DIRECTORY_LIMIT", 2**17)
    assert "too large" in str(refusal(path))


def test_a_compressed_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (1,), (1,))), method=zipfile.ZIP_DEFLATED)
    error = refusal(path)
    assert (error.cause, ".safetensors" in str(error)) == ("file_form", True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(tensor_opcodes(0, (1,), (1,))))
        archive.writestr("archive/data/0", bytes(4000), zipfile.ZIP_DEFLATED)
    assert refusal(path).cause == "file_form"


def test_big_endian_numbers(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (1,), (1,))), {"byteorder": b"big"})
    assert "big-endian" in str(refusal(path))


def test_entries_that_lie_about_their_place(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (6,), (1,))))
    sound = path.read_bytes()
    record = sound.rindex(b"PK\x01\x02", 0, sound.index(b"archive/data/0", sound.index(b"PK\x01\x02")))
    lies = {"sizes": (20, 2**31), "place": (42, len(sound) - 10), "far": (42, 2**32 - 2), "no header there": (42, 4)}
    for what, (field, value) in lies.items():
        lie = bytearray(sound)
        struct.pack_into("<I", lie, record + field, value)
        if field == 20:
            struct.pack_into("<I", lie, record + 24, value)
        path.write_bytes(lie)
        assert refusal(path).cause == "file_damaged", what


def test_a_zip_of_something_else_or_twice_the_same(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("word/document.xml", b"<w/>")
    assert refusal(tmp_path / "a").cause == "file_damaged"
    data = write_zip(tmp_path / "b", pickled(b"N"), {"data.pkm": pickled(b"N")}).read_bytes()
    (tmp_path / "b").write_bytes(data.replace(b"data.pkm", b"data.pkl"))
    assert refusal(tmp_path / "b").cause == "file_damaged"


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
        *("vast header", "header beyond", "bytes short", "data beyond", "vast shape", "empty but vast", "unknown type"),
        *("negative shape", "vast name", "no JSON", "no UTF-8"),
    ],
)
def test_a_malformed_safetensors_header(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert refusal(tmp_path / "a").cause == "file_damaged"


def test_a_safetensors_type_not_every_torch_has(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(safetensors_bytes({"t": {"dtype": "U16", "shape": [1], "data_offsets": [0, 2]}}, bytes(2)))
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
def test_files_that_are_something_else_are_called_by_name(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(data)
    error = refusal(tmp_path / "model.safetensors")
    assert (error.cause, words in str(error)) == ("file_kind", True)


def test_absent_files_and_folders(tmp_path: Path) -> None:
    assert [refusal(path).cause for path in (tmp_path / "absent", tmp_path)] == ["file_unreadable"] * 2


# Files nobody thought of.


def sound_zip() -> bytes:
    buffer = io.BytesIO()
    tree = {"image_proj": OrderedDict(a=torch.arange(6.0).reshape(2, 3).T), "p": torch.nn.Parameter(torch.ones(2)), "n": 1}
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


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def test_the_files_the_above_starts_from_are_sound(tmp_path: Path) -> None:
    for data, names in ((SOUND_ZIP, {"image_proj.a", "p"}), (SOUND_SAFETENSORS, {"a", "b"})):
        (tmp_path / "a").write_bytes(data)
        assert load_all(tmp_path / "a").keys() == names

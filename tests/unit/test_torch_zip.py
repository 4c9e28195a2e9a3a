"""torch's zip format: no code runs, no tensor lies outside its bytes, no limit is exceeded; refusals have a cause."""

from __future__ import annotations

import ast
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from lib_anyms.tensor_files import torch_pickle, torch_zip
from lib_anyms.tensor_files.tensor_file import open_tensors
from tests.support.torch_files import pickled, refusal, tensor_opcodes, text, write_zip

ROOT = Path(__file__).resolve().parents[2]
UNPICKLERS = ("pickle", "_pickle", "dill", "cloudpickle", "shelve")


def test_a_handwritten_pickle_loads(tmp_path: Path) -> None:
    """The builder of the hostile files below can build sound files too."""
    with open_tensors(write_zip(tmp_path / "a", pickled(tensor_opcodes(1, (2, 2), (2, 1))))) as file:
        assert file.load("t").tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_view_with_overlapping_rows_loads(tmp_path: Path) -> None:
    with open_tensors(write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (2, 3), (1, 1))))) as file:
        assert file.load("t").tolist() == [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 8)
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (6,), (1,))))
    monkeypatch.undo()
    assert b"PK\x06\x06" in path.read_bytes()
    with open_tensors(path) as file:
        assert file.load("t").tolist() == [0, 1, 2, 3, 4, 5]


# No code in a file runs.


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


@pytest.mark.parametrize("index", range(4), ids=["os.system", "eval", "exec", "os.mkdir"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_call_in_a_pickle_never_runs(tmp_path: Path, index: int, protocol: int) -> None:
    marker = tmp_path / "marker"
    tree = {"image_proj": {"w": list(evil_objects(marker))[index]}}
    pickle.loads(pickle.dumps(tree, protocol))
    assert marker.exists(), "the pickle does run code"
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
def test_opcodes_that_import_or_call_are_refused(tmp_path: Path, opcodes: bytes) -> None:
    error = refusal(write_zip(tmp_path / "a", pickled(opcodes)))
    assert error.cause == "file_code"
    assert len(str(error)) < 300


def test_the_refusal_of_an_old_pickle_names_a_remedy(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert "convert it to .safetensors" in str(refusal(tmp_path / "old.pth"))


def unsafe_loads(source: str) -> list[str]:
    """Uses of torch.load under any name, and imports of unpicklers."""
    uses = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "load" and ast.unparse(node.value).split(".")[0] == "torch":
            uses.append(ast.unparse(node))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            uses += [alias.name for alias in node.names if alias.name == "load"]
        if isinstance(node, ast.Import):
            uses += [alias.name for alias in node.names if alias.name in UNPICKLERS]
        if isinstance(node, ast.ImportFrom) and node.module in UNPICKLERS:
            uses.append(node.module)
    return uses


def test_torch_load_is_called_nowhere() -> None:
    for bad in (
        "torch.load(f)",
        "import torch\ntorch.serialization.load(f)",
        "from torch import load",
        "import pickle",
    ):
        assert unsafe_loads(bad), bad
    sources = [path for folder in ("lib_anyms", "scripts") for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 10
    for path in sources:
        assert unsafe_loads(path.read_text(encoding="utf-8")) == [], path


# Files with wrong headers.


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
        "shape beyond",
        "offset beyond",
        "offset far beyond",
        "negative offset",
        "negative stride",
        "negative shape",
        "two negatives",
        "stride beyond",
        "stride far beyond",
        "expanded to a terabyte",
        "expanded by one",
        "lengths differ",
        "20 axes",
        "empty but vast",
        "storage beyond",
        "storage vast",
        "storage negative",
        "wider type",
        "no entry",
        "path",
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
        pickled(b"\x8a\xff" + b"\x7f" * 255),
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
        "nothing",
        "no STOP",
        "empty stack",
        "no mark",
        "no dict",
        "memo never put",
        "vast memo",
        "vast memo of a dict",
        "key without value",
        "list as key",
        "a number",
        "a bare tensor",
        "text beyond the end",
        "text not UTF-8",
        "number of 2040 bits",
        "call of a dict",
        "call of a storage",
        "tensor of nothing",
        "parameter of a dict",
        "storage of nothing",
        "a name twice",
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


def test_limits_stop_endless_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laughs = b"}q\x00(" + text("a") + b"K\x01u"
    for level in range(1, 15):
        copies = b"".join(text(str(i)) + b"h" + bytes([level - 1]) for i in range(30))
        laughs = laughs + b"}q" + bytes([level]) + b"(" + copies + b"u"
    monkeypatch.setattr(torch_pickle, "STEP_LIMIT", 10**4)
    monkeypatch.setattr(torch_pickle, "STACK_LIMIT", 10**3)
    floods = {
        "a dict in itself": b"}q\x00(" + text("a") + b"h\x00u",
        "dicts that multiply": laughs,
        "a deep dict": (b"}" + text("a")) * 20 + b"}" + b"s" * 20,
        "a long name": b"}(" + text("a" * 300) + b"K\x01u",
        "a full stack": b"N" * 2000 + b"}",
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


@pytest.mark.parametrize(
    ("field", "code", "value", "cause"),
    [
        (20, "<II", (2**31, 2**31), "file_damaged"),
        (24, "<I", (2**31,), "file_form"),
        (8, "<H", (1,), "file_form"),
        (10, "<H", (zipfile.ZIP_DEFLATED,), "file_form"),
        (42, "<I", (2**32 - 2,), "file_damaged"),
        (42, "<I", (4,), "file_damaged"),
        (42, "<I", (-10,), "file_damaged"),
    ],
    ids=["both sizes", "one size", "encrypted", "compressed", "far", "no header there", "at the end"],
)
def test_entries_with_wrong_headers(tmp_path: Path, field: int, code: str, value: tuple[int, ...], cause: str) -> None:
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (6,), (1,))))
    data = bytearray(path.read_bytes())
    record = data.rindex(b"PK\x01\x02", 0, data.index(b"archive/data/0", data.index(b"PK\x01\x02")))
    struct.pack_into(code, data, record + field, *(number if number >= 0 else len(data) + number for number in value))
    path.write_bytes(data)
    assert refusal(path).cause == cause


def test_an_entry_without_its_own_header(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", pickled(tensor_opcodes(0, (6,), (1,))))
    data = bytearray(path.read_bytes())
    data[data.index(b"archive/data/0") - 30] = 0
    path.write_bytes(data)
    assert refusal(path).cause == "file_damaged"


def test_another_zip_and_an_entry_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("word/document.xml", b"<w/>")
    assert refusal(tmp_path / "a").cause == "file_damaged"
    data = write_zip(tmp_path / "b", pickled(b"N"), {"data.pkm": pickled(b"N")}).read_bytes()
    (tmp_path / "b").write_bytes(data.replace(b"data.pkm", b"data.pkl"))
    assert refusal(tmp_path / "b").cause == "file_damaged"

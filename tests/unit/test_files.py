"""Files on Windows: no open handle blocks a replacement, texts are UTF-8, and a name has several spellings."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.job.prepare import prepare
from lib_anyms.job.request import Request
from lib_anyms.models import model_files
from lib_anyms.models.model_files import adapters_in, choose_pair
from lib_anyms.tensor_files.tensor_file import open_tensors
from tests.support import windows_files
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.fake_host import FakeHost
from tests.support.tiny_unet import tiny_unet

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="host: only Linux lists a process's files")
# Folders as users name them; a backslash is a letter here and a separator on Windows.
FOLDERS = ("plain", "with a space", "Модели 模型 é", "back\\slash", "C:\\Users\\ü", "percent %s {0}")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An adapter and an encoder in each format."""
    path = tmp_path_factory.mktemp("models")
    write_adapter(path / "adapter.safetensors", tiny_unet())
    write_encoder(path / "encoder.safetensors")
    torch.save(load_file(path / "adapter.safetensors"), path / "adapter.bin")
    return {file.name: file.read_bytes() for file in path.iterdir()}


def put(files: dict[str, bytes], folder: Path, adapter: str = "adapter.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (adapter, "encoder.safetensors"):
        (folder / name).write_bytes(files[name])
    return folder


def red() -> Request:
    return Request.from_json(
        {"subjects": [{"name": "cat", "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}]}
    )


def held(folder: Path) -> set[str]:
    """The folder's files that this process has open or mapped."""
    opened = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if is_link(number)]
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    return {
        path.name
        for path in folder.iterdir()
        if str(path) in opened or any(line.endswith(str(path)) for line in mapped)
    }


def is_link(number: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{number}")


@LINUX
@pytest.mark.parametrize("adapter", ["adapter.safetensors", "adapter.bin"])
def test_nothing_is_held_after_the_encoding_so_a_file_can_be_replaced(
    files: dict, tmp_path: Path, adapter: str
) -> None:
    folder = put(files, tmp_path / "models", adapter)
    with open_tensors(folder / adapter) as file:
        assert held(folder) == {adapter}  # the check does see a file that is held
        kept = file.load(next(iter(file.shapes)))
        before = kept.clone()
    unet = tiny_unet()
    pair = choose_pair([folder], unet, cross_attention_layers(unet))
    first, _ = prepare(FakeHost(unet, folder), pair, red())
    assert held(folder) == set()
    for path in folder.iterdir():
        path.write_bytes(b"\0" * path.stat().st_size)  # in place: a mapped tensor would change with it
        path.unlink()
    assert torch.equal(kept, before)
    again, _ = prepare(FakeHost(unet, put(files, folder, adapter)), pair, red())
    like = torch.zeros(1)
    assert torch.equal(first.of(1, True, like)[0][0], again.of(1, True, like)[0][0])


@LINUX
@pytest.mark.parametrize("name", ["adapter.safetensors", "encoder.safetensors", "adapter.bin"])
def test_a_file_that_is_refused_is_not_held_while_the_user_reads_why(files: dict, tmp_path: Path, name: str) -> None:
    """A kept error must not hold the local variables of the failed calls."""
    path = tmp_path / name
    read = read_encoder if "adapter" in name else read_adapter
    path.write_bytes(files[name])
    with pytest.raises(Refused) as refusal:
        read(path)
    path.write_bytes(files[name][:-9])
    with pytest.raises(Refused) as damage:
        read(path)
    assert held(tmp_path) == set()
    assert refusal.value.cause != damage.value.cause


@pytest.mark.parametrize("name", FOLDERS)
def test_any_folder_works(files: dict, tmp_path: Path, name: str) -> None:
    folder, unet = put(files, tmp_path / name), tiny_unet()
    pair = choose_pair([folder], unet, cross_attention_layers(unet), str(folder / "adapter.safetensors"))
    prepare(FakeHost(unet, folder), pair, red())
    with pytest.raises(Refused) as refusal:
        choose_pair([tmp_path / name / "none"], unet, cross_attention_layers(unet))
    assert str(tmp_path / name / "none") in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["Адаптер.safetensors", "back\\slash.safetensors", "CON.safetensors", "two words.safetensors"]
)
def test_any_file_name_works(files: dict, tmp_path: Path, name: str) -> None:
    folder, unet = put(files, tmp_path), tiny_unet()
    (folder / "adapter.safetensors").rename(folder / name)
    assert [adapter.path.name for adapter in adapters_in([folder])] == [name]
    for spelling in ("auto", name, name.rpartition(".")[0], str(folder / name)):
        assert choose_pair([folder], unet, cross_attention_layers(unet), spelling).adapter.path.name == name


@pytest.mark.parametrize(
    "spelling", ["D:/models/sub/Plus.safetensors", "d:\\models\\SUB\\plus.safetensors", "PLUS", "plus.SAFETENSORS"]
)
def test_windows_names_one_file_in_many_ways(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    path = PureWindowsPath("D:\\models\\sub\\plus.safetensors")
    monkeypatch.setattr(model_files, "Path", PureWindowsPath)
    assert model_files._is_called(path, spelling)
    assert not model_files._is_called(path, "other" + spelling)


@pytest.mark.parametrize("name", ["CON", "aux.txt", "..\\..\\x", "../x", "a:b", "trailing. "])
def test_a_subject_s_name_is_words_and_never_a_file(files: dict, tmp_path: Path, name: str) -> None:
    folder, unet = put(files, tmp_path / "models"), tiny_unet()
    request = Request.from_json(
        {"subjects": [{"name": name, "box": [0, 0, 1, 1], "images": [Image.new("RGB", (9, 9), "red")]}]}
    )
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    prepare(FakeHost(unet, folder), choose_pair([folder], unet, cross_attention_layers(unet)), request)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert request.to_json()["subjects"][0]["name"] == name


# -- the rules that every test of this folder runs under ---------------------------------------------------------------


@pytest.mark.skipif(not windows_files.WORKS, reason="host: only Linux lists a process's files")
def test_a_file_that_is_held_is_neither_removed_nor_replaced(tmp_path: Path) -> None:
    old, new = tmp_path / "old é", tmp_path / "new"
    for path in (old, new):
        path.write_bytes(path.name.encode())
    with old.open("rb") as file:
        for forbidden in (
            old.unlink,
            lambda: os.remove(old),
            lambda: new.replace(old),
            lambda: old.rename(tmp_path / "other"),
        ):
            with pytest.raises(PermissionError):
                forbidden()
        assert file.read() == old.name.encode()
    with pytest.raises(FileExistsError):
        new.rename(old)
    new.replace(old)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


# -- texts -------------------------------------------------------------------------------------------------------------

SOURCES = sorted([*ROOT.glob("lib_anyms/**/*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("*.py")])


def text_calls(path: Path) -> Iterator[ast.Call]:
    """Calls that open a text, by name (Path.open and the built-in alike); not those that open bytes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in ("open", "read_text", "write_text"):
            continue
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        values = [*node.args, *(word.value for word in node.keywords if word.arg == "mode")]
        modes = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
        of_bytes = name == "open" and any("b" in mode and len(mode) <= 3 for mode in modes)
        if not of_bytes and getattr(owner, "id", "") not in ("Image", "os"):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_is_utf_8(path: Path) -> None:
    """Without an encoding Windows uses the code page of the user's language."""
    for call in text_calls(path):
        encodings = [word.value for word in call.keywords if word.arg == "encoding"]
        assert [getattr(value, "value", "") for value in encodings] == ["utf-8"], f"line {call.lineno}"


def test_the_check_sees_a_text_without() -> None:
    assert sum(len(list(text_calls(path))) for path in SOURCES) > 10


# -- what Windows does not have ----------------------------------------------------------------------------------------

NOT_ON_WINDOWS = {
    "os": {
        "fork",
        "killpg",
        "setsid",
        "getpgid",
        "getuid",
        "geteuid",
        "chown",
        "mkfifo",
        "O_NOFOLLOW",
        "sysconf",
        "uname",
        "nice",
    },
    "signal": {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "pthread_sigmask", "SIG_BLOCK", "SIG_SETMASK", "alarm"},
    "import": {"fcntl", "resource", "pwd", "grp", "termios", "pty"},
}
# Uses that check first whether the name exists; only the command line may have them.
GUARDED = {
    ("lock.py", "fcntl"),
}


def posix_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in NOT_ON_WINDOWS.get(getattr(node.value, "id", ""), ()):
            yield node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [getattr(node, "module", None), *(alias.name for alias in node.names)]
            yield from (name for name in names if name in NOT_ON_WINDOWS["import"])


def test_nothing_is_used_that_windows_does_not_have() -> None:
    uses = {(path, name) for path in SOURCES for name in posix_names(path)}
    assert {(path.name, name) for path, name in uses} == GUARDED
    assert all("standalone" in path.parts for path, _ in uses)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_processes_are_spawned(path: Path) -> None:
    """Windows can only spawn; fork would hide what cannot be pickled."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = (getattr(node.func, "attr", "") or getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        if name in ("get_context", "set_start_method"):
            assert [getattr(value, "value", "") for value in node.args] == ["spawn"], f"line {node.lineno}"
        assert name != "Pool", f"line {node.lineno}: a pool of the default kind"
        if name == "ProcessPoolExecutor":
            contexts = [getattr(value.func, "id", "") for value in node.args if isinstance(value, ast.Call)]
            assert "get_context" in contexts, f"line {node.lineno}"

"""The trained files in the repository and in the home: joined once and complete, or refused in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib_anyms.errors import Refused
from lib_anyms.lab.commands import train
from lib_anyms.lab.train import export
from lib_anyms.standalone import bundle
from lib_anyms.standalone.bundle import join_files, split_files, sprites_folder, sprites_models, store
from lib_anyms.standalone.cli import main
from lib_anyms.standalone.processes import CHECKOUT

NAMES = (bundle.CHECKPOINT, bundle.ENCODER, *bundle.ADAPTERS.values(), bundle.CARD, bundle.HISTORY)
CONTENTS = {name: name.encode() * 100 for name in NAMES}
SIZE = 1000  # of a part
BUDGET, LARGEST = 40e6, 15 * 2**20  # bytes: of all files together, of one in the repository


def written(folder: Path, contents: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]


def contents_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the repository."""
    split_files(written(tmp_path / "exported", CONTENTS), tmp_path / "parts", SIZE)
    monkeypatch.setattr(bundle, "FILES", tmp_path / "parts")
    return tmp_path / "parts"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


# -- parts -------------------------------------------------------------------------------------------------------------


def test_files_are_split_and_joined_again(tmp_path: Path) -> None:
    contents = {"large": bytes(range(256)) * 10, "exact": b"e" * 1000, "small": b"s", "empty": b""}
    listed = split_files(written(tmp_path / "originals", contents), tmp_path / "parts", SIZE)
    sizes = {name: len(content) for name, content in contents_of(listed.parent).items() if name != bundle.LIST}
    assert sizes == {"large.0": 1000, "large.1": 1000, "large.2": 560, "exact": 1000, "small": 1}
    joined = join_files(listed, tmp_path / "joined")
    assert {file.name: file.read_bytes() for file in joined} == contents_of(tmp_path / "joined") == contents


def test_a_different_file_of_the_same_name_is_unchanged(parts: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    written(mine, {bundle.ENCODER: b"my own"})
    with pytest.raises(Refused) as refusal:
        join_files(parts / bundle.LIST, mine)
    assert refusal.value.cause == "bundle_taken"
    assert (mine / bundle.ENCODER).read_bytes() == b"my own"
    (mine / bundle.ENCODER).unlink()
    (mine / f"{bundle.ENCODER}.half").write_bytes(b"left by a run that was cut off")
    join_files(parts / bundle.LIST, mine)
    assert contents_of(mine) == CONTENTS


def damage_byte(parts: Path) -> None:
    part = parts / f"{bundle.CHECKPOINT}.1"
    part.write_bytes(part.read_bytes()[:-1] + b"?")


def cut_short(parts: Path) -> None:
    part = parts / f"{bundle.CHECKPOINT}.2"
    part.write_bytes(part.read_bytes()[:-1])


def as_git_pointer(parts: Path) -> None:
    (parts / f"{bundle.CHECKPOINT}.0").write_text("version https://git-lfs", encoding="utf-8")


DAMAGES = {
    "a byte changed": damage_byte,
    "a part cut short": cut_short,
    "a pointer in place of a part": as_git_pointer,
    "a part missing": lambda parts: (parts / f"{bundle.CHECKPOINT}.1").unlink(),
    "no list": lambda parts: (parts / bundle.LIST).unlink(),
    "half a list": lambda parts: (parts / bundle.LIST).write_text('{"a": {', encoding="utf-8"),
    "a list of another kind": lambda parts: (parts / bundle.LIST).write_text('["a"]', encoding="utf-8"),
    "a list without hashes": lambda parts: (parts / bundle.LIST).write_text('{"a": {"parts": []}}', encoding="utf-8"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_parts_are_refused_and_leave_no_model(parts: Path, models: Path, damage: str) -> None:
    DAMAGES[damage](parts)
    for _ in range(2):
        with pytest.raises(Refused) as refusal:
            sprites_folder(models)
        assert refusal.value.cause == "bundle_damaged"
        assert str(parts) in str(refusal.value)
        assert not [path for path in models.iterdir() if path.name not in ("sprites-half", "sprites.lock")]


# -- in the home -------------------------------------------------------------------------------------------------------


def test_they_are_joined_once(parts: Path, models: Path) -> None:
    folder = sprites_folder(models)
    assert contents_of(folder) == CONTENTS
    assert sorted(path.name for path in models.iterdir()) == sorted([folder.name, "sprites.lock"])
    times = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    os.utime(parts / f"{bundle.CHECKPOINT}.0")
    assert sprites_folder(models) == folder
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} == times


@pytest.mark.parametrize("loss", ["cut", "removed", "changed"])
def test_an_incomplete_folder_is_joined_again(parts: Path, models: Path, loss: str) -> None:
    folder = sprites_folder(models)
    file = folder / bundle.ENCODER
    if loss == "removed":
        file.unlink()
    else:
        file.write_bytes(CONTENTS[bundle.ENCODER][:-1] + (b"" if loss == "cut" else b"?"))
    assert sprites_folder(models) == folder
    assert contents_of(folder) == CONTENTS


def test_a_new_version_replaces_the_old_one(parts: Path, models: Path, tmp_path: Path) -> None:
    old = sprites_folder(models)
    (models / "random").mkdir()
    changed = {**CONTENTS, bundle.ENCODER: b"trained longer"}
    split_files(written(tmp_path / "longer", changed), parts, SIZE)
    new = sprites_folder(models)
    assert contents_of(new) == changed
    assert sorted(path.name for path in models.iterdir()) == sorted(["random", new.name, "sprites.lock"])
    assert old != new


def test_line_ends_of_the_list_make_no_new_version(parts: Path, models: Path) -> None:
    folder = sprites_folder(models)
    (parts / bundle.LIST).write_bytes((parts / bundle.LIST).read_bytes().replace(b"\n", b"\r\n"))
    assert sprites_folder(models) == folder


def test_a_home_that_cannot_be_written_is_refused(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused) as refusal:
        sprites_folder(tmp_path / "file" / "models")
    assert refusal.value.cause == "home_unusable"


def test_the_adapter_is_the_4_token_one_or_the_named_one(parts: Path, models: Path) -> None:
    assert sprites_models(models, "plus").adapter.name == bundle.ADAPTERS["plus"]
    default = sprites_models(models)
    assert [path.name for path in (default.checkpoint, default.adapter, default.encoder)] == [
        bundle.CHECKPOINT,
        bundle.ADAPTERS["base"],
        bundle.ENCODER,
    ]
    assert all(path.is_file() for path in (default.checkpoint, default.adapter, default.encoder))


# A process that prints when it begins and how many files it joined. Joining is slow, or ends the process at the second
# file.
PROCESS = """
import os, sys, time
from pathlib import Path
from lib_anyms.standalone import bundle
parts, models, go, how = sys.argv[1:]
bundle.FILES, join_parts, joined = Path(parts), bundle._join_parts, []
def slowly(*arguments):
    joined.append(1)
    if how == "dies" and len(joined) == 2:
        os._exit(9)
    time.sleep(0.1)
    return join_parts(*arguments)
bundle._join_parts = slowly
print("ready", flush=True)
while how != "dies" and not Path(go).exists():
    time.sleep(0.01)
print(bundle.sprites_folder(Path(models)), len(joined))
"""


def start(parts: Path, models: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(parts), str(models), str(models.parent / "go"), how]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_joins_and_all_have_the_files(parts: Path, models: Path) -> None:
    processes = [start(parts, models, "waits") for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    (models.parent / "go").touch()
    lines = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    folder = sprites_folder(models)
    assert {path for path, _ in lines} == {str(folder)}
    assert sorted(int(count) for _, count in lines) == [0, 0, len(CONTENTS)]
    assert contents_of(folder) == CONTENTS


def test_a_killed_process_leaves_nothing_that_looks_like_the_model(parts: Path, models: Path) -> None:
    process = start(parts, models, "dies")
    process.communicate(timeout=60)
    assert process.returncode == 9
    assert [path.name for path in models.iterdir() if path.is_dir()] == ["sprites-half"]
    assert contents_of(sprites_folder(models)) == CONTENTS
    assert not (models / "sprites-half").exists()


# -- in the repository -------------------------------------------------------------------------------------------------


def test_an_export_is_stored_in_a_checkout_with_its_card(tmp_path: Path) -> None:
    exported = tmp_path / "exported"
    contents = {**CONTENTS, bundle.CARD: b"# Sprites\n"}
    written(exported, {**contents, bundle.CURVES: b"curves", "notes.txt": b"not for the checkout"})
    pictures = tmp_path / "docs" / "pictures"
    written(pictures, {bundle.DOCS_CURVES: b"of an older one", "other.png": b""})
    written(tmp_path / bundle.FOLDER, {"checkpoint.safetensors.9": b"of an older one"})
    listed = store(exported, tmp_path, SIZE)
    assert listed == tmp_path / bundle.FOLDER / bundle.LIST
    assert set(json.loads(listed.read_text(encoding="utf-8"))) == set(CONTENTS)
    assert not (listed.parent / "checkpoint.safetensors.9").exists()
    assert max(file.stat().st_size for file in listed.parent.iterdir() if file != listed) == SIZE
    joined = {file.name: file.read_bytes() for file in join_files(listed, tmp_path / "joined")}
    assert joined == contents
    card = (tmp_path / "docs" / "sprites.md").read_text(encoding="utf-8")
    assert card.startswith("# Sprites\n")
    assert [line[line.rindex("(") + 1 : -1] for line in card.splitlines() if line.startswith("![")] == [
        f"pictures/{bundle.DOCS_CURVES}"
    ]
    assert contents_of(pictures) == {bundle.DOCS_CURVES: b"curves", "other.png": b""}
    (exported / bundle.CURVES).unlink()  # a training without a log
    store(exported, tmp_path, SIZE)
    assert (tmp_path / "docs" / "sprites.md").read_text(encoding="utf-8") == "# Sprites\n"


def test_train_stores_what_it_exports_only_with_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Path] = []
    monkeypatch.setattr(train, "store", stored.append)
    monkeypatch.setattr(export, "export", lambda out, folder: written(folder, CONTENTS))
    for arguments in ([], ["--bundle"]):
        assert main(["train", "--here", "--export", *arguments, "--out", str(tmp_path)]) == 0
        assert stored == [tmp_path / "files"] * len(arguments)


def test_what_this_checkout_holds_keeps_its_budget() -> None:
    files = [path for path in bundle.FILES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= BUDGET
    assert all(path.stat().st_size <= LARGEST for path in files)


def test_the_checkout_lists_all_that_a_training_continues_from() -> None:
    entries = json.loads((bundle.FILES / bundle.LIST).read_text(encoding="utf-8"))
    assert set(entries) == set(NAMES)
    parts = [part for entry in entries.values() for part in entry["parts"]]
    assert {file.name for file in bundle.FILES.iterdir()} == {*parts, bundle.LIST}

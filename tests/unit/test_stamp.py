"""The source stamps: they change with every shipped file, and the page's JavaScript carries the current one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lib_anyms import stamp
from lib_anyms.stamp import ROOT, SourceTree, page_stamp, running, source_files, write_marks
from lib_anyms.standalone.cli import main

STALE = "the page's stamp is stale: run `python -m lib_anyms stamp` after a change below javascript/"
FILES = (
    "lib_anyms/__init__.py",
    "lib_anyms/engine/attention.py",
    "scripts/anyms.py",
    "javascript/anyms.mjs",
    "javascript/anyms/part.mjs",
    "style.css",
)
OTHERS = (
    "lib_anyms/lab/oracle.py",
    "lib_anyms/standalone/cli.py",
    "lib_anyms/engine/__pycache__/attention.py",
    "lib_anyms/engine/notes.txt",
    "tests/test_a.py",
    "README.md",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small checkout with every kind of file."""
    for name in (*FILES, *OTHERS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"// {name}\n", encoding="utf-8")
    entry = tmp_path / "javascript" / "anyms.mjs"
    entry.write_text('import { part } from "./anyms/part.mjs?v=old";\n// a ?v= in a text stays\n', encoding="utf-8")
    return tmp_path


def test_the_page_s_javascript_carries_the_current_stamp(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT / "javascript", tmp_path / "javascript")
    assert write_marks(copy) == [], STALE


def test_the_shipped_files_are_found() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in source_files()}
    assert {"lib_anyms/stamp.py", "scripts/anyms.py", "javascript/anyms.mjs", "style.css"} <= names
    assert not [name for name in names if name.startswith(("lib_anyms/lab/", "lib_anyms/standalone/", "tests/"))]
    assert running() == running()
    assert len(running()) == 64


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_changes_the_stamp(tree: Path, name: str) -> None:
    sources = SourceTree(tree)
    before = sources.stamp()
    assert sources.stamp() == before
    with (tree / name).open("a", encoding="utf-8") as file:
        file.write("changed\n")
    changed = sources.stamp()
    assert changed != before
    assert changed == SourceTree(tree).stamp()


@pytest.mark.parametrize("name", OTHERS)
def test_no_other_file_changes_the_stamp(tree: Path, name: str) -> None:
    before = SourceTree(tree).stamp()
    (tree / name).write_text("changed\n", encoding="utf-8")
    assert SourceTree(tree).stamp() == before


def test_a_file_that_comes_goes_or_moves_changes_the_stamp(tree: Path) -> None:
    sources, stamps = SourceTree(tree), set()
    stamps.add(sources.stamp())
    added = tree / "lib_anyms" / "engine" / "sdpa.py"
    added.write_text("new\n", encoding="utf-8")
    stamps.add(sources.stamp())
    added.rename(added.with_name("fused.py"))
    stamps.add(sources.stamp())
    (tree / "style.css").unlink()
    stamps.add(sources.stamp())
    assert len(stamps) == 4


def test_a_change_of_the_same_size_is_seen(tree: Path) -> None:
    sources, path = SourceTree(tree), tree / "lib_anyms" / "engine" / "attention.py"
    before = sources.stamp()
    path.write_bytes(path.read_bytes().upper())
    os.utime(path, ns=(0, 0))
    assert sources.stamp() != before


def test_files_are_hashed_again_only_after_a_change(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, calls = SourceTree(tree), []
    digest = stamp._digest
    monkeypatch.setattr(stamp, "_digest", lambda *arguments: calls.append(1) or digest(*arguments))
    for _ in range(3):
        sources.stamp()
    assert len(calls) == 1
    os.utime(tree / "style.css", ns=(0, 0))
    sources.stamp()
    assert len(calls) == 2


def test_line_ends_and_marks_do_not_count(tree: Path) -> None:
    before = SourceTree(tree).stamp(), page_stamp(tree / "javascript")
    write_marks(tree / "javascript")
    for name in FILES:
        path = tree / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert (SourceTree(tree).stamp(), page_stamp(tree / "javascript")) == before


def test_writing_the_marks(tree: Path) -> None:
    folder = tree / "javascript"
    assert write_marks(folder) == [folder / "anyms.mjs"]
    text = (folder / "anyms.mjs").read_text(encoding="utf-8")
    assert text == f'import {{ part }} from "./anyms/part.mjs?v={page_stamp(folder)}";\n// a ?v= in a text stays\n'
    assert write_marks(folder) == []
    (folder / "anyms" / "part.mjs").write_text("export const part = 2;\n", encoding="utf-8")
    assert write_marks(folder) == [folder / "anyms.mjs"]


def test_the_command(tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tree / "javascript"
    monkeypatch.setattr(stamp, "JAVASCRIPT", folder)
    assert main(["stamp"]) == 0
    assert capsys.readouterr().out == f"AnyMS: the page's stamp is {page_stamp(folder)}. Changed files: 1.\n"
    assert write_marks(folder) == []

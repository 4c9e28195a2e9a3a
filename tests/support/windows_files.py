"""Windows' rules for files: no open file can be removed or replaced, and a rename never overwrites."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# Linux lists the files that a process has open. Before 3.11 pathlib keeps its own references to `os` functions.
WORKS = sys.platform.startswith("linux") and sys.version_info >= (3, 11)
IN_USE, EXISTS = 13, 17


def follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply Windows' rules for the rest of the test, where this system can; elsewhere change nothing."""
    rules = (("unlink", removing), ("remove", removing), ("replace", moving), ("rename", renaming))
    for name, rule in rules if WORKS else ():
        monkeypatch.setattr(os, name, rule(getattr(os, name)))


def is_open(path: Any) -> bool:
    """Whether this process has the file open or mapped; a link to it counts as another file."""
    absolute = os.path.abspath(os.fsdecode(path))
    if os.path.islink(absolute) or not os.path.isfile(absolute):
        return False
    real = os.path.realpath(absolute)
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # another thread may close it meanwhile
            if os.readlink(f"/proc/self/fd/{number}") == real:
                return True
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.endswith(f" {real}") for line in mapped)


def refuse(path: Any) -> None:
    raise PermissionError(
        IN_USE, "The process cannot access the file because it is being used by another process", str(path)
    )


def removing(function: Callable[..., None]) -> Callable[..., None]:
    def remove(path: Any, *args: Any, dir_fd: Any = None) -> None:
        if dir_fd is None and is_open(path):
            refuse(path)
        function(path, *args, dir_fd=dir_fd)

    return remove


def moving(function: Callable[..., None]) -> Callable[..., None]:
    def replace(source: Any, target: Any, **folders: Any) -> None:
        for path in (source, target):
            if is_open(path):
                refuse(path)
        function(source, target, **folders)

    return replace


def renaming(function: Callable[..., None]) -> Callable[..., None]:
    def rename(source: Any, target: Any, **folders: Any) -> None:
        if os.path.lexists(target):
            raise FileExistsError(EXISTS, "Cannot create a file when that file already exists", str(target))
        if is_open(source):
            refuse(source)
        function(source, target, **folders)

    return rename

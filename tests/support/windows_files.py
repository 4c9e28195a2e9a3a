"""Files as Windows has them: what this process holds cannot be removed or replaced, and a rename never overwrites."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Linux tells what a process holds; before 3.11 pathlib does not ask `os` each time.
WORKS = sys.platform.startswith("linux") and sys.version_info >= (3, 11)
IN_USE, EXISTS = 13, 17


def follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, where this system can; elsewhere nothing changes."""
    for name, ruled in (
        (("unlink", removing), ("remove", removing), ("replace", moving), ("rename", renaming)) if WORKS else ()
    ):
        monkeypatch.setattr(os, name, ruled(getattr(os, name)))


def held(path: Any) -> bool:
    """Whether this process has the file open or mapped; a link to it is another file."""
    place = os.path.abspath(os.fsdecode(path))
    if os.path.islink(place) or not os.path.isfile(place):
        return False
    real = os.path.realpath(place)
    opened = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(os.path.islink(each) and os.readlink(each) == real for each in opened) or any(
        line.endswith(f" {real}") for line in mapped
    )


def refuse(path: Any) -> None:
    raise PermissionError(
        IN_USE, "The process cannot access the file because it is being used by another process", str(path)
    )


def removing(function: Callable[..., None]) -> Callable[..., None]:
    def remove(path: Any, *args: Any, dir_fd: Any = None) -> None:
        if dir_fd is None and held(path):
            refuse(path)
        function(path, *args, dir_fd=dir_fd)

    return remove


def moving(function: Callable[..., None]) -> Callable[..., None]:
    def replace(source: Any, target: Any, **folders: Any) -> None:
        for path in (source, target):
            if held(path):
                refuse(path)
        function(source, target, **folders)

    return replace


def renaming(function: Callable[..., None]) -> Callable[..., None]:
    def rename(source: Any, target: Any, **folders: Any) -> None:
        if os.path.lexists(target):
            raise FileExistsError(EXISTS, "Cannot create a file when that file already exists", str(target))
        if held(source):
            refuse(source)
        function(source, target, **folders)

    return rename

"""Sizes and ages of the files in a picture cache, in memory: to list a folder of 30,000 files takes seconds."""

from __future__ import annotations

import os
import re
import stat
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from lib_anyms.runtime import runtime

_FILE = re.compile(r"([0-9a-f]{12})\.png")


@dataclass
class FolderIndex:
    """The pictures of one folder, least recently used first: name -> (bytes, time of last use)."""

    folder: Path
    files: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)
    total: int = 0  # bytes
    changed: int = -1  # the folder's time of change when it was listed, or last changed by us
    lock: Lock = field(default_factory=Lock)

    def refresh(self) -> None:
        """List the folder if another program, or the user, added or removed files since."""
        if _changed(self.folder) == self.changed:
            return
        facts_of = list_pictures(self.folder)
        ordered = sorted(facts_of.items(), key=lambda entry: entry[1].st_mtime_ns)
        self.files = OrderedDict((name, (facts.st_size, facts.st_mtime_ns)) for name, facts in ordered)
        self.total = sum(size for size, _ in self.files.values())
        self.changed = _changed(self.folder)

    def add(self, name: str) -> None:
        """A file of that name was written."""
        facts = regular(self.folder / name)
        if facts is None:
            return
        size, _ = self.files.pop(name, (0, 0))
        self.files[name] = (facts.st_size, facts.st_mtime_ns)
        self.total += facts.st_size - size

    def make_room(self, limit: int) -> None:
        """Remove the least recently used files beyond `limit` bytes."""
        while self.total > limit and self.files:
            name, (size, used) = self.files.popitem(last=False)
            self.total -= size
            facts = regular(self.folder / name)
            if facts is not None and facts.st_mtime_ns > used:  # used since; its time was not read then
                self.add(name)
            else:
                (self.folder / name).unlink(missing_ok=True)
        self.changed = _changed(self.folder)


class FolderIndexes:
    """The index of each folder, for the life of the process."""

    def __init__(self) -> None:
        self._indexes: dict[Path, FolderIndex] = {}

    def of(self, folder: Path) -> FolderIndex:
        return self._indexes.setdefault(folder, FolderIndex(folder))

    def clear(self) -> None:
        self._indexes.clear()


def index_of(folder: Path) -> FolderIndex:
    """The one index of `folder` in this process."""
    return runtime.of(FolderIndexes).of(folder)


def list_pictures(folder: Path) -> dict[str, os.stat_result]:
    """Size and times of the cache's files in `folder`: plain files with the name of a hash."""
    facts_of = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    facts_of[entry.name] = entry.stat(follow_symlinks=False)
    except OSError:  # no folder yet, or a file that has just gone
        return facts_of
    return facts_of


def regular(path: Path) -> os.stat_result | None:
    """Size and times of a plain file; None for a link, a pipe, a folder, or nothing."""
    try:
        facts = path.lstat()
    except OSError:
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1

"""Source stamps: one hash of all shipped files, one of the page's JavaScript.

A version number stays the same between commits; a hash does not. Two uses: AnyMS reports when the files on disk are no
longer the ones that run, and the address of each JavaScript module carries `?v=STAMP`, so that a browser never mixes
old and new modules. Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
JAVASCRIPT = ROOT / "javascript"
DIGITS = 8  # of a stamp, where people or addresses show it
_SKIPPED = frozenset({"__pycache__", "lab", "standalone"})  # folders of lib_anyms that a WebUI never loads
_MARK = re.compile(rb'(?<=\.mjs)\?v=[^"\'\s]*')  # the stamp in a module's address
Facts = dict[Path, tuple[int, int]]  # file -> size in bytes, time of change in ns


class SourceTree:
    """The shipped files below `root`. They are hashed again only when a size or a time of change differs."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._facts: Facts = {}
        self._stamp = ""

    def stamp(self) -> str:
        """SHA-256 of the files as they are now, 64 hexadecimal digits.

        Raises OSError when a file cannot be read, for example in the middle of an update.
        """
        first = self.root / "lib_anyms" / "__init__.py"  # missing only while an update replaces the folder
        facts = {path: _facts(path) for path in (first, *source_files(self.root))}
        if not self._stamp or facts != self._facts:
            self._stamp = _digest(self.root, facts)
            self._facts = facts
        return self._stamp


@cache
def running() -> str:
    """The stamp of the sources that this process runs: computed once, before an update can change them."""
    return SourceTree().stamp()


def source_files(root: Path = ROOT) -> list[Path]:
    """The files a WebUI loads: Python without lab and standalone, the script, JavaScript, styles; sorted."""
    package = _walk(root / "lib_anyms", ".py")
    scripts = (root / "scripts").glob("*.py")
    styles = (root / "style.css",) if (root / "style.css").is_file() else ()
    return sorted([*package, *scripts, *_walk(root / "javascript", ".mjs"), *styles])


def page_stamp(folder: Path) -> str:
    """What each import in `folder` must carry as `?v=`: the short hash of its modules without these marks."""
    return _digest(folder, _walk(folder, ".mjs"))[:DIGITS]


def write_marks(folder: Path) -> list[Path]:
    """Put the current stamp into every `?v=` of `folder` -> the files that changed."""
    mark = f"?v={page_stamp(folder)}".encode()
    changed = []
    for path in sorted(_walk(folder, ".mjs")):
        before = path.read_bytes()
        after = _MARK.sub(mark, before)
        if after != before:
            path.write_bytes(after)
            changed.append(path)
    return changed


def _walk(folder: Path, suffix: str) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if name not in _SKIPPED]
        yield from (Path(place, name) for name in names if name.endswith(suffix))


def _facts(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _digest(root: Path, paths: Iterable[Path]) -> str:
    """Names and contents. Line ends and marks do not count: git may change the first, `write_marks` the second."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        if path.suffix == ".mjs":
            content = _MARK.sub(b"", content)
        name = path.relative_to(root).as_posix().encode()
        digest.update(b"%d %s %d " % (len(name), name, len(content)))
        digest.update(content)
    return digest.hexdigest()

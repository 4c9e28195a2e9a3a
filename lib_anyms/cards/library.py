"""A user's folder of cards: list and search them, read one by name or hash, add new ones. Never replaces a card.

A name from outside is compared with the files' names and never becomes a path. Links that lead out of the folder are
ignored.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from secrets import token_hex

from lib_anyms.cards.card import MAX_BYTES, Card, read_card
from lib_anyms.errors import Refused

log = logging.getLogger("anyms")
SUFFIX = ".safetensors"
MAX_LISTED = 5000
_LONGEST = 60  # characters of a file name's stem, without a number
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # names that Windows reserves


@dataclass(frozen=True)
class Entry:
    """A card in the library's list. `adapters` are the fingerprints of the adapters it has tokens for.

    prompt, avoid: the subject's own prompts, "" without one.
    """

    file: str
    name: str
    role: str
    hash: str
    adapters: tuple[str, ...]
    prompt: str = ""
    avoid: str = ""


class Library:
    """The cards in `folder`, which need not exist yet. Ignores subfolders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entries(self, search: str = "") -> list[Entry]:
        """Cards sorted by file name. Each word of `search` must occur in the file name, subject name or role."""
        words = search.casefold().split()
        entries = []
        for path in self._files():
            try:
                entry = _entry(path)
            except Refused as reason:
                log.debug("%s skipped: %s", path.name, reason)
                continue
            text = f"{path.stem} {entry.name} {entry.role}".casefold()
            if all(word in text for word in words):
                entries.append(entry)
        return entries

    def find(self, name: str) -> Card:
        """Read the card with this file name, stem or hash. Raises Refused if there is none, or it is damaged."""
        paths = {path.name: path for path in self._files()}
        match = next((path for path in paths.values() if name in (path.name, path.stem)), None)
        if match is None:
            match = paths.get(self.named(name) or "")
        if match is None:
            raise Refused("card_unknown", got=name, expected=_few([path.stem for path in paths.values()]))
        return read_file(match)

    def named(self, digest: str) -> str | None:
        """The file name of the card with this hash, or None."""
        return next((entry.file for entry in self.entries() if entry.hash == digest), None)

    def add(self, data: bytes) -> str:
        """Save a card's bytes under its subject's name; a number follows a name in use. Returns the file name.

        Raises Refused.
        """
        stem = file_stem(read_card(data, "to be saved").name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                name = self._free_name(stem)
                with suppress(FileExistsError):  # another save took the name since
                    write_new(self.folder / name, data)
                    return name
        except (OSError, StopIteration) as error:
            got = getattr(error, "strerror", None) or error
            raise Refused("card_unwritten", folder=self.folder.name, got=got) from error

    def _free_name(self, stem: str) -> str:
        """A file name that is not in use; upper and lower case are one. Raises StopIteration if all are in use."""
        used = {path.name.casefold() for path in self.folder.iterdir()}
        names = (stem + (f"-{number}" if number > 1 else "") + SUFFIX for number in range(1, MAX_LISTED))
        return next(name for name in names if name.casefold() not in used)

    def _files(self) -> Iterator[Path]:
        try:
            home = self.folder.resolve()
            names = sorted(os.listdir(home), key=str.casefold)
        except OSError:
            return
        cards = (home / name for name in names if name.lower().endswith(SUFFIX))
        for path, _ in zip(cards, range(MAX_LISTED)):
            if path.is_file() and path.resolve().parent == home:
                yield path


def write_new(path: Path, data: bytes) -> None:
    """Write a whole new file; of two writers at once, one wins. Raises FileExistsError if it exists, else OSError."""
    if path.exists():
        raise FileExistsError(f"{path.name} exists already")
    half = _half(path)
    try:
        _write(half, data)
        _rename_to_new(half, path)
    finally:
        half.unlink(missing_ok=True)


def _rename_to_new(half: Path, path: Path) -> None:
    """Give `half` the name `path`. Raises FileExistsError if that name is taken, even since a moment."""
    try:
        os.link(half, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError, NotImplementedError):  # a disk without hard links: reserve the name, then rename
        path.touch(exist_ok=False)
        try:
            half.replace(path)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def write_over(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it once complete; an old file stays until then. Raises OSError."""
    half = _half(path)
    try:
        _write(half, data)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _half(path: Path) -> Path:
    """A name that no other writer uses, in any process and thread."""
    return path.with_name(f".{path.name}.{os.getpid()}.{token_hex(4)}.half")


def _write(half: Path, data: bytes) -> None:
    half.touch(exist_ok=False)  # never write through a link of that name
    half.write_bytes(data)


def file_stem(name: str) -> str:
    """A stem for a subject's file name, valid on every system: letters, digits and single hyphens."""
    stem = "-".join(re.findall(r"\w+", name))[:_LONGEST].strip("-_")
    return f"card-{stem}" if not stem or _RESERVED.fullmatch(stem) else stem


def read_file(path: Path) -> Card:
    """Read the card in a file. Raises Refused."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise Refused("file_unreadable", path=path.name, got=getattr(error, "strerror", None) or error) from error
    return read_card(data, path.name)


def _entry(path: Path) -> Entry:
    try:
        facts = path.stat()
    except OSError as error:
        raise Refused("file_unreadable", path=path.name, got=error.strerror or error) from error
    return _listed(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=MAX_LISTED)
def _listed(path: Path, _size: int, _changed: int) -> Entry:
    card = read_file(path)
    adapters = tuple(encoding.adapter for encoding in card.encodings)
    return Entry(path.name, card.name, card.role, card.hash, adapters, card.prompt, card.avoid)


def _few(names: list[str]) -> str:
    """The first ten names, for a message."""
    if len(names) > 10:
        return f"{', '.join(names[:10])} and {len(names) - 10} more"
    return ", ".join(names) or "none"

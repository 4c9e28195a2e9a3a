"""The folder where a user's cards are: listed, searched, read by name or hash, and added to without ever replacing a
card.

A name from outside is only compared with what is there, never made a path of. What a link leads to outside is not
looked at.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lib_anyms.cards.card import MAX_BYTES, Card, read_card
from lib_anyms.errors import Refused

log = logging.getLogger("anyms")
SUFFIX = ".safetensors"
MAX_LISTED = 5000
_LONGEST = 60  # characters of a file's stem made from a name
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)  # by Windows


@dataclass(frozen=True)
class Entry:
    """A card of the library as it is listed: `adapters` are the fingerprints it has tokens for."""

    file: str
    name: str
    role: str
    hash: str
    adapters: tuple[str, ...]


class Library:
    """The cards in `folder`, which need not exist yet. Subfolders are left alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entries(self, wanted: str = "") -> list[Entry]:
        """Cards by file name; of `wanted` every word must be in the file's name, the subject's name or its role."""
        words = wanted.casefold().split()
        found = []
        for path in self._files():
            try:
                entry = _entry(path)
            except Refused as reason:
                log.debug("%s passed over: %s", path.name, reason)
                continue
            told = f"{path.stem} {entry.name} {entry.role}".casefold()
            if all(word in told for word in words):
                found.append(entry)
        return found

    def find(self, name: str) -> Card:
        """The card of this file name, stem or hash. Raises Refused: there is none, or it is not sound."""
        paths = {path.name: path for path in self._files()}
        named = next((path for path in paths.values() if name in (path.name, path.stem)), None)
        if named is None and (file := self.named(name)) is not None:
            named = paths.get(file)
        if named is None:
            raise Refused("card_unknown", got=name, expected=_few([path.stem for path in paths.values()]))
        return read_file(named)

    def named(self, digest: str) -> str | None:
        """The file name of the card of this hash."""
        return next((entry.file for entry in self.entries() if entry.hash == digest), None)

    def add(self, data: bytes) -> str:
        """Keep a card's bytes under its subject's name, with a number where that is taken -> the file's name.

        Raises Refused.
        """
        stem = file_stem(read_card(data, "to be saved").name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            taken = {path.name.casefold() for path in self.folder.iterdir()}
            names = (stem + (f"-{number}" if number > 1 else "") + SUFFIX for number in range(1, MAX_LISTED))
            name = next(name for name in names if name.casefold() not in taken)
            write_new(self.folder / name, data)
        except (OSError, StopIteration) as error:
            raise Refused(
                "card_unwritten", folder=self.folder.name, got=getattr(error, "strerror", None) or error
            ) from error
        return name

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
    """`write_over` where there is no such file yet; else raises FileExistsError."""
    if path.exists():
        raise FileExistsError(f"{path.name} is there already")
    write_over(path, data)


def write_over(path: Path, data: bytes) -> None:
    """Write a file that gets its name when it is whole; what has that name is kept until then. Raises OSError."""
    half = path.with_name(f".{path.name}.{os.getpid()}.half")
    try:
        half.unlink(missing_ok=True)
        half.touch(exist_ok=False)  # never through a link of that name
        half.write_bytes(data)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def file_stem(name: str) -> str:
    """A file name for a subject's name, on every system: letters, digits and single hyphens."""
    stem = "-".join(re.findall(r"\w+", name))[:_LONGEST].strip("-_")
    return f"card-{stem}" if not stem or _RESERVED.fullmatch(stem) else stem


def read_file(path: Path) -> Card:
    """The card in a file. Raises Refused."""
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
    return Entry(path.name, card.name, card.role, card.hash, tuple(each.adapter for each in card.encodings))


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return (f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown) or "none"

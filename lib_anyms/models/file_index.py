"""What each model file is, read from its header once: an adapter, an encoder, or something else and why.

Users keep hundreds of files beside the few AnyMS can use. What a file was found not to be is kept by its path, size and
time of change, in memory and in one JSON file, so that a stranger is opened once in its life; an adapter or encoder
once a process.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib_anyms import __version__
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint, identify
from lib_anyms.ip_adapter.encoder import EncoderCheckpoint, identify_encoder
from lib_anyms.tensor_files.tensor_file import open_tensors

log = logging.getLogger("anyms")
Verdict = AdapterCheckpoint | EncoderCheckpoint | Refused
Stamp = tuple[int, int]  # size in bytes, time of change in ns

KEPT_FILES = 20_000  # entries of the JSON file; one takes about 250 bytes
STORE_LIMIT = 32 * 2**20  # bytes of it that are read at all
_ANEW = 1  # raised where headers are understood differently within one version of AnyMS


def what_is(path: Path) -> Verdict:
    """Read the header, nothing else. A file that cannot be used is returned as the Refused that says why."""
    try:
        with open_tensors(path) as file:
            shapes, metadata = file.shapes, file.metadata
        try:
            return identify(path, shapes)
        except Refused as no_adapter:
            if no_adapter.cause not in ("adapter_encoder", "adapter_none"):
                return no_adapter
            try:
                return identify_encoder(path, shapes, metadata)
            except Refused as no_encoder:
                return no_encoder if no_adapter.cause == "adapter_encoder" else no_adapter
    except Refused as unreadable:
        return unreadable


class FileIndex:
    """Verdicts by path. `keep_in` names the JSON file; without, they are kept for the life of the process."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Stamp, Verdict]] = {}
        self._store: Path | None = None
        self._lock = threading.Lock()

    def keep_in(self, store: Path) -> None:
        """From now on strangers are remembered in `store`, whose content is taken over."""
        with self._lock:
            self._store = store
            self._known = {**_read(store), **self._known}

    def look(self, paths: Iterable[Path]) -> list[tuple[Path, Verdict]]:
        """Of each path that is a file, in the order given; changed and new ones are opened, the others are not."""
        with self._lock:
            found, news = [], False
            for path in paths:
                try:
                    facts = path.stat()
                except (OSError, ValueError):
                    continue
                stamp, known = (facts.st_size, facts.st_mtime_ns), self._known.get(str(path))
                if known is None or known[0] != stamp:
                    known = stamp, _bare(what_is(path))
                    if isinstance(known[1], Refused) and known[1].cause == "file_unreadable":
                        self._known.pop(str(path), None)  # who may read a file can change without the file
                    else:
                        self._known[str(path)] = known
                        news = news or isinstance(known[1], Refused)
                found.append((path, known[1]))
            if news and self._store is not None:
                _write(self._store, self._known)
            return found

    def clear(self) -> None:
        """Forget everything, also where it is kept; the JSON file itself stays as it is."""
        with self._lock:
            self._known, self._store = {}, None


index = FileIndex()


def _bare(verdict: Verdict) -> Verdict:
    """A kept error must not keep what the failed calls had in their hands."""
    if isinstance(verdict, Refused):
        verdict.__traceback__ = verdict.__cause__ = verdict.__context__ = None
    return verdict


def _version() -> list[object]:
    return [__version__, _ANEW]


def _read(store: Path) -> dict[str, tuple[Stamp, Verdict]]:
    """What the file holds; a damaged or foreign one holds nothing."""
    try:
        if store.stat().st_size > STORE_LIMIT:
            return {}
        content = json.loads(store.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("version") != _version():
            return {}
        return dict(entry for entry in map(_entry, content["files"].items()) if entry is not None)
    except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
        log.debug("the file index %s is not read: %s", store.name, error)
        return {}


def _entry(row: tuple[str, Any]) -> tuple[str, tuple[Stamp, Verdict]] | None:
    with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
        path, (size, changed, cause, facts) = row
        if type(size) is int and type(changed) is int:
            return path, ((size, changed), Refused(cause, **facts))
    return None


def _write(store: Path, known: dict[str, tuple[Stamp, Verdict]]) -> None:
    """Whole or not at all. A folder that cannot be written costs time at the next start, nothing else."""
    strangers = [(path, stamp, verdict) for path, (stamp, verdict) in known.items() if isinstance(verdict, Refused)]
    files = {
        path: [*stamp, verdict.cause, {name: _plain(value) for name, value in verdict.facts.items()}]
        for path, stamp, verdict in strangers[-KEPT_FILES:]
    }
    beside = store.with_name(f"{store.name}.{os.getpid()}.new")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps({"version": _version(), "files": files}, ensure_ascii=True), encoding="utf-8")
        os.replace(beside, store)
    except OSError as error:
        log.debug("the file index %s is not written: %s", store.name, error)
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float)) else str(value)

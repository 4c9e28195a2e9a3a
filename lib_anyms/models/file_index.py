"""What each model file is: an adapter, an encoder, or something else. Each header is read once.

Users keep hundreds of other model files beside the few that AnyMS can use. The verdict on such a file is saved in one
JSON file by path, size and time of change, so its header is read once ever. Headers of adapters and encoders are read
once per process.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint, checked_adapter
from lib_anyms.ip_adapter.encoder import EncoderCheckpoint, checked_encoder
from lib_anyms.runtime import runtime
from lib_anyms.stamp import running
from lib_anyms.tensor_files.tensor_file import TensorFile, open_tensors

log = logging.getLogger("anyms")
Verdict = AdapterCheckpoint | EncoderCheckpoint | Refused
Stamp = tuple[int, int]  # size in bytes, time of change in ns

KEPT_FILES = 20_000  # entries of the JSON file; one takes about 250 bytes
STORE_LIMIT = 32 * 2**20  # bytes; a larger file is ignored


def what_is(path: Path) -> Verdict:
    """Read the header only. An unusable file gives the Refused that says why; nothing is raised."""
    try:
        with open_tensors(path) as file:
            return _verdict(file)
    except Refused as unreadable:
        return unreadable


def _verdict(file: TensorFile) -> Verdict:
    try:
        return checked_adapter(file)
    except Refused as no_adapter:
        if no_adapter.cause not in ("adapter_encoder", "adapter_none"):
            return no_adapter
        try:
            return checked_encoder(file)
        except Refused as no_encoder:
            is_encoder = no_adapter.cause == "adapter_encoder" or no_encoder.cause != "encoder_form"
            return no_encoder if is_encoder else no_adapter


class FileIndex:
    """Verdicts by path, in memory and, after `keep_in`, in a JSON file."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Stamp, Verdict]] = {}
        self._store: Path | None = None
        self._lock = threading.Lock()

    def keep_in(self, store: Path) -> None:
        """Load the verdicts of the JSON file `store`, and save new ones there from now on."""
        with self._lock:
            self._store = store
            self._known = {**_read(store), **self._known}

    def look(self, paths: Iterable[Path]) -> list[tuple[Path, Verdict]]:
        """Return (path, verdict) of each path that is a file, in the order of `paths`. Opens new and changed files."""
        with self._lock:
            result, unsaved = [], False
            for path in paths:
                try:
                    facts = path.stat()
                except (OSError, ValueError):
                    continue
                if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for its writer
                    continue
                stamp, known = (facts.st_size, facts.st_mtime_ns), self._known.get(str(path))
                if known is None or known[0] != stamp:
                    known = stamp, _bare(what_is(path))
                    unsaved = self._remember(path, known) or unsaved
                result.append((path, known[1]))
            if unsaved and self._store is not None:
                _write(self._store, self._known)
            return result

    def clear(self) -> None:
        """Forget all verdicts and the JSON file's path. The JSON file itself stays."""
        with self._lock:
            self._known, self._store = {}, None

    def _remember(self, path: Path, known: tuple[Stamp, Verdict]) -> bool:
        """Whether the JSON file lacks this verdict now."""
        verdict = known[1]
        if isinstance(verdict, Refused) and verdict.cause == "file_unreadable":
            self._known.pop(str(path), None)  # its permissions can change while size and time stay
            return False
        self._known[str(path)] = known
        return isinstance(verdict, Refused)


index = runtime.of(FileIndex)


def _bare(verdict: Verdict) -> Verdict:
    """Drop the traceback: it would keep the local variables of the failed calls alive."""
    if isinstance(verdict, Refused):
        verdict.__traceback__ = verdict.__cause__ = verdict.__context__ = None
    return verdict


def _version() -> str:
    """Saved verdicts hold for these sources only: another AnyMS may judge a header differently."""
    return running()


def _read(store: Path) -> dict[str, tuple[Stamp, Verdict]]:
    """The saved verdicts; none if the file is damaged or of other sources."""
    try:
        if store.stat().st_size > STORE_LIMIT:
            return {}
        content = json.loads(store.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("version") != _version():
            return {}
        entries = map(_entry, content["files"].items())
        return dict(entry for entry in entries if entry is not None)
    except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
        log.debug("the file index %s is not read: %s", store.name, error)
        return {}


def _entry(item: tuple[str, Any]) -> tuple[str, tuple[Stamp, Verdict]] | None:
    """(path, verdict) of one item of the JSON file; None if it is damaged."""
    with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
        path, (size, changed, cause, facts) = item
        if type(size) is int and type(changed) is int:
            return path, ((size, changed), Refused(cause, **facts))
    return None


def _write(store: Path, known: dict[str, tuple[Stamp, Verdict]]) -> None:
    """Write the whole file or nothing. If the folder is not writable, the next start is slower, nothing else."""
    unusable = [(path, stamp, verdict) for path, (stamp, verdict) in known.items() if isinstance(verdict, Refused)]
    files = {path: _row(stamp, verdict) for path, stamp, verdict in unusable[-KEPT_FILES:]}
    new = store.with_name(f"{store.name}.{os.getpid()}.new")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({"version": _version(), "files": files}, ensure_ascii=True), encoding="utf-8")
        os.replace(new, store)
    except OSError as error:
        log.debug("the file index %s is not written: %s", store.name, error)
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _row(stamp: Stamp, verdict: Refused) -> list[object]:
    """Size, time, cause and facts, as JSON holds them."""
    return [*stamp, verdict.cause, {name: _plain(value) for name, value in verdict.facts.items()}]


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float)) else str(value)

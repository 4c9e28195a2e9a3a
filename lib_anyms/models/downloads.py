"""Download a known model file when the user asks: resume after a cut, check the SHA-256 before the file gets its name.

The bytes go into `<file>.<hash>.part` in the target folder. The part is renamed only when its SHA-256 is the known one,
so other code never sees half a file. A download pauses while an image is generating.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.models.known_files import HOME, KnownFile
from lib_anyms.models.web_file import CHUNK, Cut, Restart, chunks, describe, open_at
from lib_anyms.runtime import runtime

log = logging.getLogger("anyms")
SPARE = 256 * 2**20  # bytes of the disk that stay free
STALLED = 30.0  # seconds without a byte
TRIES = 4  # attempts in a row without progress
PROGRESS = 2**16  # bytes that count as progress
RETRY_AFTER = 2.0  # seconds; doubles with each attempt in a row
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Progress:
    """`done` and `size` in bytes; `state` is "running", "done", "stopped" or "failed" (then `sentence` says why)."""

    name: str
    done: int
    size: int
    state: str = "running"
    sentence: str = ""


@dataclass(frozen=True)
class Conditions:
    """Callbacks and limits: pause while `waits()`, stop when `ends()`, `report` the number of saved bytes."""

    waits: Callable[[], bool] = lambda: False
    ends: Callable[[], bool] = lambda: False
    report: Callable[[int], None] = lambda _: None
    stalled: float = STALLED
    retry_after: float = RETRY_AFTER


class Stopped(Exception):
    """The user stopped the download. The part stays, and the next download resumes it."""


def fetch(file: KnownFile, folder: Path, home: str = HOME, conditions: Conditions | None = None) -> Path:
    """Download `file` into `folder` -> its path. `home` is the address of the site or of a mirror.

    Raises Refused or Stopped. In every case a file of that name in `folder` has the known SHA-256.
    """
    conditions = conditions or Conditions()
    address = _checked_address(file, folder, home)
    target, part = folder / file.name, folder / f"{file.name}.{file.sha256[:8]}.part"
    with _disk_errors(folder, part, file):
        folder.mkdir(parents=True, exist_ok=True)
        if part.is_symlink() or _size(part) > file.size:
            part.unlink()
        _check_space(file, folder, file.size - _size(part))
    try:
        digest = _receive_all(file, address, part, conditions)
        if digest != file.sha256:
            raise Refused("download_other", file=file.name, got=f"SHA-256 {digest[:12]}", expected=file.sha256[:12])
    except (Refused, Stopped) as reason:
        wrong = isinstance(reason, Refused) and reason.cause == "download_other"
        if part.exists() and (wrong or not _size(part)):
            part.unlink()
        raise
    if os.path.lexists(target):
        raise Refused("download_taken", file=file.name, folder=folder.name)
    with _disk_errors(folder, part, file):
        os.replace(part, target)
    return target


def _checked_address(file: KnownFile, folder: Path, home: str) -> str:
    """The file's address. Raises Refused for a bad mirror, an unsafe name, or a target that exists."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", home):
        raise Refused("download_mirror", got=home)
    if not file.offered or Path(file.name).name != file.name:
        raise Refused("download_unknown", got=file.name, expected="a file whose address and hash are known")
    if os.path.lexists(folder / file.name):
        raise Refused("download_taken", file=file.name, folder=folder.name)
    return file.address(home)


def _check_space(file: KnownFile, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE:
        raise Refused("download_space", file=file.words, folder=folder.name, got=f"{free / 1e9:.1f} GB")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _receive_all(file: KnownFile, address: str, part: Path, conditions: Conditions) -> str:
    """Complete `part` -> its SHA-256. Retry while attempts make progress."""
    fruitless = 0
    while True:
        before = _size(part)
        try:
            return _receive(file, address, part, conditions)
        except (Cut, Restart) as reason:
            if isinstance(reason, Restart):
                part.unlink(missing_ok=True)
            done = _size(part)
            fruitless = 0 if done >= before + PROGRESS else fruitless + 1
            if fruitless >= TRIES:
                raise Refused("download_broken", file=file.name, got=reason, done=f"{done / 1e6:.0f} MB") from reason
            log.debug("download of %s: %s", file.name, reason)
            _rest(conditions, conditions.retry_after * 2**fruitless)


def _receive(file: KnownFile, address: str, part: Path, conditions: Conditions) -> str:
    """Append to `part` what one connection sends -> its SHA-256. Raises Cut, Restart, Stopped or Refused."""
    with _disk_errors(part.parent, part, file), part.open("ab") as out:
        digest = _digest_of(part, conditions)
        done = out.tell()
        if done == file.size:
            return digest.hexdigest()
        with open_at(file, address, done, conditions.stalled) as response:
            for chunk in chunks(response, lambda: _continue(conditions)):
                done += len(chunk)
                if done > file.size:
                    raise Refused("download_other", file=file.name, got="more bytes", expected=f"{file.size} bytes")
                out.write(chunk)
                digest.update(chunk)
                conditions.report(done)
        out.flush()
        if done < file.size:
            raise Cut(f"it ended at {done} of {file.size} bytes")
        os.fsync(out.fileno())
    return digest.hexdigest()


def _digest_of(part: Path, conditions: Conditions) -> Any:
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            _continue(conditions)
            digest.update(chunk)
    return digest


def _continue(conditions: Conditions) -> None:
    """Wait while an image is generating. Raises Stopped."""
    while not conditions.ends() and conditions.waits():
        time.sleep(0.25)
    if conditions.ends():
        raise Stopped


def _rest(conditions: Conditions, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _continue(conditions)
        time.sleep(min(0.25, seconds))


@contextmanager
def _disk_errors(folder: Path, part: Path, file: KnownFile) -> Iterator[None]:
    """Turn an OSError into Refused. A full disk also gives the part's bytes back."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            part.unlink(missing_ok=True)
            raise Refused("download_space", file=file.words, folder=folder.name, got="0 GB") from error
        raise Refused("download_unwritable", folder=folder.name, got=error.strerror or error) from error


class Downloads:
    """Run one download at a time in a background thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._progress: Progress | None = None
        self._ending = threading.Event()

    @property
    def progress(self) -> Progress | None:
        """Progress of the last download, also after its end; None before the first."""
        return self._progress

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(
        self, file: KnownFile, folder: Path, home: str = HOME, busy: Callable[[], bool] = lambda: False
    ) -> Progress:
        """Start to download `file`; the download pauses while `busy()`.

        Raises Refused if another one runs or this one cannot start.
        """
        with self._lock:
            if self.running and self._progress is not None:
                raise Refused("download_running", file=self._progress.name)
            if busy():
                raise Refused("download_busy", file=file.name)
            _checked_address(file, folder, home)
            self._ending.clear()
            self._progress = Progress(file.name, 0, file.size)
            conditions = Conditions(busy, self._ending.is_set, self._report)
            self._thread = threading.Thread(
                target=self._run, args=(file, folder, home, conditions), name="anyms-download", daemon=True
            )
            log.warning("AnyMS downloads %s into %s", file.words, folder)
            self._thread.start()
            return self._progress

    def stop(self) -> None:
        """Stop the running download, if any. Its part stays for the next time."""
        self._ending.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end of the running download, at most `seconds`."""
        if self._thread is not None:
            self._thread.join(seconds)

    def clear(self) -> None:
        """Stop, and forget the last download."""
        self.stop()
        self.wait(2)
        self._thread = self._progress = None

    def _run(self, file: KnownFile, folder: Path, home: str, conditions: Conditions) -> None:
        try:
            fetch(file, folder, home, conditions)
            self._end("done", done=file.size)
        except Stopped:
            self._end("stopped")
        except Refused as refusal:
            self._end("failed", sentence=str(refusal))
        except Exception as error:  # nothing above this thread would report it
            log.exception("AnyMS: the download of %s failed", file.name)
            broken = Refused("download_broken", file=file.name, got=describe(error), done="some MB")
            self._end("failed", sentence=str(broken))

    def _report(self, done: int) -> None:
        last = self._progress
        if last is None:  # cleared since
            return
        tenth = 10 * done // last.size
        if tenth > 10 * last.done // last.size:
            log.warning("AnyMS downloads %s: %d %%", last.name, 10 * tenth)  # hosts do not show log.info
        self._progress = replace(last, done=done)

    def _end(self, state: str, **changes: Any) -> None:
        if self._progress is None:  # cleared since
            return
        self._progress = replace(self._progress, state=state, **changes)
        log.warning("AnyMS: %s: %s", self._progress.name, self._progress.sentence or state)


downloads = runtime.of(Downloads)

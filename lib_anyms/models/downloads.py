"""Fetching a known model file because the user asked for it: resumed where it was cut, checked before it gets its name.

What is fetched lies beside its place under a name of its own and is moved there only when its SHA-256 is the known one;
so no half file is ever found. Nothing is fetched unasked, and while a picture is made a download waits.
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
from lib_anyms.models.web_file import PIECE, Anew, Cut, in_words, open_at, pieces

log = logging.getLogger("anyms")
SPARE = 256 * 2**20  # bytes of the disk that are left free
STALLED = 30.0  # seconds without a byte
TRIES = 4  # in a row that bring less than
FRUITFUL = 2**16  # bytes
RETRY_AFTER = 2.0  # seconds; doubled at each try in a row
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Progress:
    """`done` and `size` in bytes; `state` is "running", "done", "stopped" or "failed", then with the `sentence` why."""

    name: str
    done: int
    size: int
    state: str = "running"
    sentence: str = ""


@dataclass(frozen=True)
class Conditions:
    """What a download asks meanwhile: whether to wait, whether to end; and whom it tells how many bytes are there."""

    waits: Callable[[], bool] = lambda: False
    ends: Callable[[], bool] = lambda: False
    tell: Callable[[int], None] = lambda _: None
    stalled: float = STALLED
    retry_after: float = RETRY_AFTER


class Stopped(Exception):
    """The user ended the download; what was fetched stays and is gone on from."""


def fetch(file: KnownFile, folder: Path, home: str = HOME, conditions: Conditions | None = None) -> Path:
    """Fetch `file` into `folder` -> its path. `home` is the address of the site or of its mirror.

    Raises Refused, or Stopped. Whatever happens, `folder` holds no file of that name that is not the known one.
    """
    conditions = conditions or Conditions()
    address, target = _checked(file, folder, home), folder / file.name
    part = folder / f"{file.name}.{file.sha256[:8]}.part"
    with _writing(folder, part, file):
        folder.mkdir(parents=True, exist_ok=True)
        if part.is_symlink() or (part.exists() and part.stat().st_size > file.size):
            part.unlink()
        fetched = part.stat().st_size if part.exists() else 0
        _check_room(file, folder, file.size - fetched)
    try:
        digest = _receive_whole(file, address, part, conditions)
        if digest != file.sha256:
            raise Refused("download_other", file=file.name, got=f"SHA-256 {digest[:12]}", expected=file.sha256[:12])
    except (Refused, Stopped) as reason:
        other = isinstance(reason, Refused) and reason.cause == "download_other"
        if part.exists() and (other or not part.stat().st_size):
            part.unlink()
        raise
    if os.path.lexists(target):
        raise Refused("download_taken", file=file.name, folder=folder.name)
    with _writing(folder, part, file):
        os.replace(part, target)
    return target


def _checked(file: KnownFile, folder: Path, home: str) -> str:
    """The address. Raises Refused for what must not be fetched from, or to, where it would."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", home):
        raise Refused("download_mirror", got=home)
    if not file.offered or Path(file.name).name != file.name:
        raise Refused("download_unknown", got=file.name, expected="a file whose address and hash are known")
    if os.path.lexists(folder / file.name):
        raise Refused("download_taken", file=file.name, folder=folder.name)
    return file.address(home)


def _check_room(file: KnownFile, folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need + SPARE:
        raise Refused("download_space", file=file.words, folder=folder.name, got=f"{free / 1e9:.1f} GB")


def _receive_whole(file: KnownFile, address: str, part: Path, conditions: Conditions) -> str:
    """-> the SHA-256 of `part`, which has the file's size then. Tries again as long as tries bring something."""
    fruitless = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _receive(file, address, part, conditions)
        except (Cut, Anew) as reason:
            if isinstance(reason, Anew):
                part.unlink(missing_ok=True)
            done = part.stat().st_size if part.exists() else 0
            fruitless = 0 if done >= before + FRUITFUL else fruitless + 1
            if fruitless >= TRIES:
                raise Refused("download_broken", file=file.name, got=reason, done=f"{done / 1e6:.0f} MB") from reason
            log.debug("download of %s: %s", file.name, reason)
            _rest(conditions, conditions.retry_after * 2**fruitless)


def _receive(file: KnownFile, address: str, part: Path, conditions: Conditions) -> str:
    """One connection's worth. Raises Cut, Anew, Stopped or Refused."""
    with _writing(part.parent, part, file), part.open("ab") as out:
        digest = _digest_of(part, conditions)
        done = out.tell()
        if done == file.size:
            return digest.hexdigest()
        with open_at(file, address, done, conditions.stalled) as answer:
            for piece in pieces(answer, lambda: _go_on(conditions)):
                done += len(piece)
                if done > file.size:
                    raise Refused("download_other", file=file.name, got="more bytes", expected=f"{file.size} bytes")
                out.write(piece)
                digest.update(piece)
                conditions.tell(done)
        out.flush()
        if done < file.size:
            raise Cut(f"it ended at {done} of {file.size} bytes")
        os.fsync(out.fileno())
    return digest.hexdigest()


def _digest_of(part: Path, conditions: Conditions) -> Any:
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while piece := file.read(PIECE):
            _go_on(conditions)
            digest.update(piece)
    return digest


def _go_on(conditions: Conditions) -> None:
    """Returns when a picture is no longer made. Raises Stopped."""
    while not conditions.ends() and conditions.waits():
        time.sleep(0.25)
    if conditions.ends():
        raise Stopped


def _rest(conditions: Conditions, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _go_on(conditions)
        time.sleep(min(0.25, seconds))


@contextmanager
def _writing(folder: Path, part: Path, file: KnownFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            part.unlink(missing_ok=True)
            raise Refused("download_space", file=file.words, folder=folder.name, got="none any more") from error
        raise Refused("download_unwritable", folder=folder.name, got=error.strerror or error) from error


class Downloads:
    """One download at a time, in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._progress: Progress | None = None
        self._ending = threading.Event()

    @property
    def progress(self) -> Progress | None:
        """Of the last one, also when it has ended; None before the first."""
        return self._progress

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(
        self, file: KnownFile, folder: Path, home: str = HOME, busy: Callable[[], bool] = lambda: False
    ) -> Progress:
        """Begin to fetch `file`; while `busy` the download waits.

        Raises Refused: one is running, or it cannot be begun.
        """
        with self._lock:
            if self.running and self._progress is not None:
                raise Refused("download_running", file=self._progress.name)
            if busy():
                raise Refused("download_busy", file=file.name)
            _checked(file, folder, home)
            self._ending.clear()
            self._progress = Progress(file.name, 0, file.size)
            conditions = Conditions(busy, self._ending.is_set, self._tell)
            self._thread = threading.Thread(
                target=self._run, args=(file, folder, home, conditions), name="anyms-download", daemon=True
            )
            log.warning("AnyMS fetches %s into %s", file.words, folder)
            self._thread.start()
            return self._progress

    def stop(self) -> None:
        """End the running one, if any; what it fetched stays for the next time."""
        self._ending.set()

    def wait(self, seconds: float | None = None) -> None:
        """Until the running one has ended, or `seconds`."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, file: KnownFile, folder: Path, home: str, conditions: Conditions) -> None:
        try:
            fetch(file, folder, home, conditions)
            self._end("done", done=file.size)
        except Stopped:
            self._end("stopped")
        except Refused as refusal:
            self._end("failed", sentence=str(refusal))
        except Exception as error:  # the thread has nobody else to tell
            log.exception("AnyMS: the download of %s failed", file.name)
            self._end(
                "failed", sentence=str(Refused("download_broken", file=file.name, got=in_words(error), done="some"))
            )

    def _tell(self, done: int) -> None:
        last = self._progress
        assert last is not None  # since `start`
        tenth = 10 * done // last.size
        if tenth > 10 * last.done // last.size:
            log.warning("AnyMS fetches %s: %d %%", last.name, 10 * tenth)  # hosts show no less than warnings
        self._progress = replace(last, done=done)

    def _end(self, state: str, **changes: Any) -> None:
        assert self._progress is not None
        self._progress = replace(self._progress, state=state, **changes)
        log.warning("AnyMS: %s: %s", self._progress.name, self._progress.sentence or state)


downloads = Downloads()

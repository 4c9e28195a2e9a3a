"""A lock that lets one process in at a time. The operating system holds it, so it can never be stale."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    def _try(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try(file: BinaryIO) -> None:
        # pip inherits the lock: if this process is killed, no second pip starts while the first one still runs.
        os.set_inheritable(file.fileno(), True)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def only_one(path: Path, on_wait: Callable[[], None], poll: float = 0.5) -> Iterator[None]:
    """Hold the lock file `path` during the block; call `on_wait` once if another process holds it.

    Creates the file's folder. `poll` is the time between two tries, in seconds.
    """
    file = _acquire(path)
    if file is None:
        on_wait()
    while file is None:
        time.sleep(poll)
        file = _acquire(path)
    try:
        yield
    finally:
        file.close()


def discard(path: Path) -> None:
    """Remove the lock file inside the block that holds it. Windows forbids that; the file stays there."""
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def _acquire(path: Path) -> BinaryIO | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        _try(file)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except (BlockingIOError, PermissionError, FileNotFoundError):
        pass  # another process holds it (PermissionError on Windows), or removed it after we opened it
    file.close()
    return None

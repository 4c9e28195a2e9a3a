"""One process at a time.

The operating system holds the lock, so that it ends with its holder and can never be stale.
"""

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
        # pip inherits the lock: should this process be killed, nobody installs beside the pip it left behind.
        os.set_inheritable(file.fileno(), True)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def only_one(path: Path, on_wait: Callable[[], None], poll: float = 0.5) -> Iterator[None]:
    """Hold the lock file `path` for the block (its folder is made); `on_wait` is called once if another process holds
    it.
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
    """Remove the lock file from inside the block that holds it; on Windows, which forbids that, it stays."""
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
        pass  # held by another process (Windows says PermissionError), or discarded since it was opened
    file.close()
    return None

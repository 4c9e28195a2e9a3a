"""The process's memory and processor time while a function runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import torch

from lib_anyms.engine.memory import collect

_STATUS = "/proc/self/statm"  # on Linux: pages in all, in memory, shared of these, ...
_PAGE, _PAUSE = 4096, 0.002  # bytes; seconds between two readings


def peak_mib(act: Callable[[], object]) -> float:
    """The peak increase in MiB; 0 where the system does not report it. Mapped files do not count."""
    return watched(act)[1]


def watched(act: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds, which other processes do not change, and MiB as `peak_mib`."""
    collect(torch.device("cpu"))  # else freed memory is reused, and does not show as an increase
    first, most, done = _resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(_PAUSE):
            most.append(_resident())
            del most[: most.index(max(most))]

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = time.process_time()
    try:
        result = act()
        seconds = time.process_time() - start
        most.append(_resident())
        del result
    finally:
        done.set()
        watcher.join()
    return seconds, max(0, max(most) - first) / 2**20


def _resident() -> int:
    try:
        with open(_STATUS, encoding="utf-8") as status:
            fields = status.read().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0

"""How much memory of its own a process takes while something runs, and how long it computes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import torch

from lib_anyms.engine.memory import collect

_STATUS = "/proc/self/statm"  # Linux tells it there: pages in all, in memory, of these shared, ...
_PAGE, _PAUSE = 4096, 0.002  # bytes, seconds between two looks


def peak_mib(act: Callable[[], object]) -> float:
    """The most MiB above what there was before; 0 where the system does not tell. Mapped files do not count."""
    return watched(act)[1]


def watched(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor's time, whatever else the machine does meanwhile, and MiB as `peak_mib`."""
    collect(torch.device("cpu"))  # else what was taken and dropped before is taken again unseen
    first, most, done = _resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(_PAUSE):
            most.append(_resident())
            del most[: most.index(max(most))]

    looker = threading.Thread(target=watch, daemon=True)
    looker.start()
    began = time.process_time()
    try:
        kept = act()
        seconds = time.process_time() - began
        most.append(_resident())
        del kept
    finally:
        done.set()
        looker.join()
    return seconds, max(0, max(most) - first) / 2**20


def _resident() -> int:
    try:
        with open(_STATUS, encoding="utf-8") as status:
            fields = status.read().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0

"""Limit the memory that a part of a test takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROCESS = Path("/proc/self")


@contextmanager
def at_most(mib: int) -> Iterator[None]:
    """Fail if the process grows by `mib` MiB or more inside the block, even for a moment.

    Checks nothing except on Linux, which can reset the peak.
    """
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        yield
        return
    before = _peak()
    yield
    growth = (_peak() - before) / 1024
    assert growth < mib, f"{growth:.0f} MiB"


def _peak() -> int:
    """KiB, since the last reset."""
    lines = (_PROCESS / "status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

"""How much memory a piece of a test takes at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROCESS = Path("/proc/self")


@contextmanager
def at_most(mib: int) -> Iterator[None]:
    """The process grows by less than so many MiB meanwhile, also for a moment.

    Only Linux counts that anew when it is asked.
    """
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        yield
        return
    before = _most()
    yield
    grown = (_most() - before) / 1024
    assert grown < mib, f"{grown:.0f} MiB"


def _most() -> int:
    """KiB, since the count was begun."""
    lines = (_PROCESS / "status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

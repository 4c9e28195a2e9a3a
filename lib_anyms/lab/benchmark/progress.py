"""A progress bar with the time left: one line that is renewed on a terminal, a line each 15 seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_EVERY = 15.0  # seconds between two lines
_WIDTH = 24  # characters of the bar


class Progress:
    """Counts finished jobs of one kind. `say` prints a line."""

    def __init__(self, what: str, total: int, say: Callable[[str], None]) -> None:
        self._what, self._total, self._say = what, total, say
        self._finished, self._start = 0, time.monotonic()
        self._last = self._start

    def step(self) -> None:
        """One more is finished."""
        self._finished += 1
        now = time.monotonic()
        if sys.stdout.isatty():
            end = "\n" if self._finished == self._total else ""
            print(f"\r{self.line(now - self._start)}", end=end, flush=True)
        elif now - self._last > _EVERY:
            self._last = now
            self._say(self.line(now - self._start))

    def line(self, seconds: float) -> str:
        """The bar after so many seconds."""
        full = _WIDTH * self._finished // max(1, self._total)
        each = seconds / max(1, self._finished)
        bar = "#" * full + "." * (_WIDTH - full)
        left = duration(each * (self._total - self._finished))
        return f"[{bar}] {self._finished} of {self._total} {self._what}, {each:.1f} s each, {left} left"


def duration(seconds: float) -> str:
    """In the unit that a reader expects: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

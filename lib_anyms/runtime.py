"""State that outlives a job: one object per process holds it, one value per class.

Each room asks for the value of its class. Rooms need not know each other, and a test resets all values in one call.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar


class Clearable(Protocol):
    """A value with an empty state: a cache, a table, a slot."""

    def clear(self) -> None:
        """Return to the state of a new process."""


T = TypeVar("T", bound=Clearable)


class Runtime:
    """The values of one process. Each is created when it is first needed, and stays the same object."""

    def __init__(self) -> None:
        self._values: dict[type, Any] = {}

    def of(self, kind: type[T]) -> T:
        """The one value of class `kind`."""
        if kind not in self._values:
            self._values[kind] = kind()
        value: T = self._values[kind]
        return value

    def reset(self) -> None:
        """Clear every value."""
        for value in list(self._values.values()):
            value.clear()


runtime = Runtime()

"""Planted faults, a module for each room of lib_anyms; `python -m tests.faults` plants them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tests.faults.fault import Fault

_NO_ROOMS = ("fault", "planting", "__main__")
_ROOMS = sorted(module.name for module in iter_modules(__path__) if module.name not in _NO_ROOMS)
FAULTS: tuple[Fault, ...] = ()
for _room in _ROOMS:
    FAULTS += import_module(f"{__name__}.{_room}").FAULTS

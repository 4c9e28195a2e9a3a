"""Planted faults, a module for each room of lib_anyms; `python -m tests.faults` plants them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tests.faults.fault import Fault

_NO_ROOMS = ("fault", "__main__")
FAULTS: tuple[Fault, ...] = tuple(
    fault
    for module in sorted(module.name for module in iter_modules(__path__) if module.name not in _NO_ROOMS)
    for fault in import_module(f"{__name__}.{module}").FAULTS
)

"""Planted faults of errors."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "a sentence quotes a whole image",
        "lib_anyms/errors.py",
        "return fact if len(text) <= high else",
        "return fact if len(text) <= 10**9 else",
        "tests/unit/test_no_contents.py -k wrong_place",
    ),
)

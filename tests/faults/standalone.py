"""Planted faults of standalone."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "a damaged part is joined",
        "lib_anyms/standalone/bundle.py",
        'if _hash(data) != facts["sha256"]:',
        "if not data:",
        "tests/cli/test_bundle.py -k damaged",
    ),
)

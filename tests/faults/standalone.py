"""Planted faults of lib_anyms/standalone."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "a damaged part is joined",
        "lib_anyms/standalone/bundle.py",
        'if _hash(data) != entry["sha256"]:',
        "if not data:",
        "tests/cli/test_bundle.py -k damaged",
    ),
    Fault(
        "diffusers: a step is announced after the last one",
        "lib_anyms/standalone/generate.py",
        "if steps_done < pipeline.num_timesteps:",
        "if steps_done:",
        "tests/cli/test_example.py -k subjects",
    ),
    Fault(
        "diffusers: the empty negative prompt is encoded",
        "lib_anyms/standalone/generate.py",
        "negative_prompt=sampling.negative or None",
        "negative_prompt=sampling.negative",
        "tests/cli/test_demo.py -k negative",
    ),
)

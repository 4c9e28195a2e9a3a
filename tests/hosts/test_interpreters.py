"""The laws and unit tests with each host's Python: its torch, transformers, Pillow, numpy and safetensors.

A host's environment has neither pytest nor hypothesis: add them to a copy of it. It has no diffusers (or another
version than the standalone's), so tests of the standalone are left out.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from lib_anyms.standalone.processes import CHECKOUT
from tests.hosts import server
from tests.hosts.kinds import KINDS

# Test files with these words need diffusers, or packages that come with it.
STANDALONE = re.compile(r"lib_anyms\.standalone|tests\.support\.files|import diffusers")
AT_LEAST = 400
SECONDS = 1500


@pytest.mark.parametrize("name", KINDS)
def test_laws_and_units(name: str, measured: list[str]) -> None:
    place = server.find(name)
    if isinstance(place, str):
        pytest.skip(place)
    units = sorted((CHECKOUT / "tests" / "unit").glob("test_*.py"))
    left_out = [path for path in units if STANDALONE.search(path.read_text(encoding="utf-8"))]
    ignored = [f"--ignore={path.relative_to(CHECKOUT)}" for path in left_out]
    command = [str(place.python), "-m", "pytest", "tests/laws", "tests/unit", "-q", "-p", "no:cacheprovider", *ignored]
    environ = {
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_OFFLINE": "1",
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=CHECKOUT, env={**kept, **environ}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    measured.append(f"{name}, laws and unit tests with its own Python: {passed[1]} passed")
    assert int(passed[1]) >= AT_LEAST

"""Plant one fault in a copy of the project, and run tests there in this process.

Not in __main__.py: another process must be able to import these functions.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.fault import Fault

ROOT = Path(__file__).parents[2]
PARTS = ("lib_anyms", "scripts", "examples", "tests", "pyproject.toml", "javascript", "style.css")


def plant(fault: Fault, folder: Path, wrong: bool = True) -> None:
    """Copy the project into `folder` and plant the fault, unless this is the counter-check."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors*"))
        elif source.exists():
            shutil.copy(source, folder / part)
    file = folder / fault.file
    planted = fault.planted(file.read_text(encoding="utf-8"))  # raises in the counter-check too
    if wrong:
        file.write_text(planted, encoding="utf-8")


def run_tests(folder: Path, arguments: Sequence[str], output: Path) -> None:
    """Run pytest in `folder` and end this process with its exit code."""
    with output.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(path for path in sys.path if path and not Path(path).is_relative_to(ROOT))]
    for name in [*sys.modules]:  # this module came from ROOT; the tests must come from `folder`
        if name.partition(".")[0] in ("tests", "lib_anyms"):
            del sys.modules[name]
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *arguments])))

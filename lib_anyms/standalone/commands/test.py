"""Check and test this checkout: ruff, mypy, pytest; with CI=true the planted faults and the quick evaluation's bars
too.

With pytest's arguments: only that.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time

from lib_anyms.standalone.processes import CHECKOUT

PYTEST = ("-m", "pytest")
RUFF = ("-m", "ruff")
CHECKS = {
    "ruff": (*RUFF, "check"),
    "format": (*RUFF, "format", "--check"),
    "mypy": ("-m", "mypy"),
    "pytest": (*PYTEST, "tests"),
}
QUALITY = ("-m", "lib_anyms", "evaluate", "--here", "--suite", "quick", "--bars")
CI_CHECKS = CHECKS | {"faults": ("-m", "tests.faults"), "quality": QUALITY}

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CLOSING = re.compile(r"(\d+ \w+|no tests ran).* in [\d.]+s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is left over goes to pytest."""
    parser.usage = "%(prog)s [-h] [--here] [pytest's arguments]"


def run(args: argparse.Namespace) -> int:
    """Run what `args.rest` asks for, or every check, also after one has failed -> 0 only if all passed."""
    os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
    if args.rest:
        return subprocess.run([sys.executable, *PYTEST, *args.rest], cwd=CHECKOUT, check=False).returncode
    return run_checks(CI_CHECKS if os.environ.get("CI") == "true" else CHECKS)


def run_checks(checks: dict[str, tuple[str, ...]]) -> int:
    """Each check's arguments of Python in turn; then one line about all, and pytest's closing line, which CI reads,
    last.
    """
    told, closing, failed = [], "", False
    for name, arguments in checks.items():
        print(f"AnyMS: {name}", flush=True)
        began = time.monotonic()
        code, lines = _echoed(arguments)
        told.append(f"{name} {f'FAILED ({code})' if code else 'passed'} in {time.monotonic() - began:.0f} s")
        failed = failed or code != 0
        if name == "pytest":
            closing = next((line for line in reversed(lines) if _CLOSING.search(line)), "")
    print("AnyMS: " + ", ".join(told))
    print(closing, flush=True)
    return int(failed)


def _echoed(arguments: tuple[str, ...]) -> tuple[int, list[str]]:
    """Run Python and pass its output through as it comes -> its exit code and its lines without colours."""
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        environ |= {"FORCE_COLOR": "1", "COLUMNS": str(os.get_terminal_size().columns)}
    command = [sys.executable, *arguments]
    seen = bytearray()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=CHECKOUT, env=environ
    ) as process:
        assert process.stdout is not None
        while part := os.read(process.stdout.fileno(), 65536):
            seen += part
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
    return process.returncode, _COLOUR.sub("", seen.decode(errors="replace")).splitlines()

"""Check and test this checkout.

Without options: ruff, mypy, and pytest on the laws and the units. Each option adds a part.
CI=true runs all parts, with one gradio, the planted faults that are due, and the stored quality if it still applies.
With arguments of pytest this command runs only pytest.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lib_anyms.standalone.processes import CHECKOUT

# Folders and files of tests/. In ORDER the longest come first: the short ones then fill the gaps between two workers.
CORE = ("laws", "unit", "compat", *sorted(path.name for path in (CHECKOUT / "tests").glob("test_*.py")))
PARTS = {
    "ui": "the page in a browser, with both gradios",
    "lab": "training, evaluation and benchmark",
    "cli": "the command line",
    "parity": "the same image as diffusers' IP-Adapter",
    "contract": "what the extension does in a host, by small copies of the hosts",
}
OTHERS = {
    "faults": "planted faults: of changed files, and a twentieth of all",
    "quality": "how well layouts hold, measured again if the engine changed",
}
HOST_PARTS = ("hosts", "big")  # skipped without a real WebUI, real files or a lot of memory
ORDER = (*PARTS, *HOST_PARTS, *CORE)
AT_ONCE = ("ruff", "format", "prepare", "mypy")  # they begin together: mypy has one core, and prepare waits for others
GRADIO = "ANYMS_TEST_GRADIO"  # the gradio of tests/ui; both if it is not set
_MOST_WORKERS = 8  # each imports torch

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CLOSING = re.compile(r"(\d+ \w+|no tests ran).* in [\d.]+s")

Check = tuple[str, ...]  # Python's arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each part; other arguments go to pytest."""
    parser.usage = "%(prog)s [-h] [--here] [--all] [parts] | [pytest's arguments]"
    for name, description in {**PARTS, **OTHERS}.items():
        parser.add_argument(f"--{name}", action="store_true", help=description)
    parser.add_argument("--all", action="store_true", help="every part, every fault, and the quality measured again")


def run(args: argparse.Namespace) -> int:
    """Run pytest with `args.rest`, or all checks, even after one failed -> 0 only if all passed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers use the other cores
    if args.rest:
        return subprocess.run([sys.executable, "-m", "pytest", *args.rest], cwd=CHECKOUT, check=False).returncode
    parts = {name for name in (*PARTS, *OTHERS) if getattr(args, name)}
    ci = os.environ.get("CI") == "true"
    if ci and not args.all:
        os.environ.setdefault(GRADIO, gradio_in_turn())
    return run_checks(plan(parts, ci, args.all))


def plan(parts: Collection[str], ci: bool, everything: bool) -> dict[str, Check]:
    """The checks in order, by name. `parts`: keys of PARTS and OTHERS."""
    folders = [name for name in ORDER if name in CORE or name in parts or ci or everything]
    again = ("--all",) if everything else ()
    checks: dict[str, Check] = {
        "ruff": ("-m", "ruff", "check"),
        "format": ("-m", "ruff", "format", "--check"),
        "prepare": ("-m", "tests.prepare", *(name for name in folders if name in PARTS)),
        "pytest": ("-m", "pytest", *_workers(), *(f"tests/{name}" for name in folders)),
        "mypy": ("-m", "mypy"),
        "faults": ("-m", "tests.faults", *again),
        "quality": ("-m", "tests.quality", *again),
    }
    return {name: check for name, check in checks.items() if name not in OTHERS or name in parts or ci or everything}


def _workers() -> tuple[str, ...]:
    """pytest-xdist's options: a module stays on one worker, because its fixtures are expensive."""
    count = min(_MOST_WORKERS, os.cpu_count() or 1)
    return ("-n", str(count if count > 1 else 0), "--dist", "loadscope", "--no-loadscope-reorder")


def gradio_in_turn() -> str:
    """The gradio of this commit: an even hash gives one, an odd hash the other. Without git it is gradio4."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
        return ("gradio3", "gradio4")[int(done.stdout.strip(), 16) % 2]
    except (OSError, ValueError, subprocess.CalledProcessError):
        return "gradio4"


def run_checks(checks: Mapping[str, Check]) -> int:
    """Run the checks -> 0 if all passed. The last line printed is pytest's closing line, which CI reads.

    Those of AT_ONCE run beside the others; each one's output is printed in its turn.
    """
    results, closing, failed = [], "", False
    with ThreadPoolExecutor(len(AT_ONCE)) as pool:
        begun = {name: pool.submit(_run, checks[name], False) for name in AT_ONCE if name in checks}
        for name, arguments in checks.items():
            print(f"AnyMS: {name}", flush=True)
            done = begun[name].result() if name in begun else _run(arguments, True)
            if name in begun:
                _write(done.output)
            results.append(f"{name} {f'FAILED ({done.code})' if done.code else 'passed'} in {done.seconds:.0f} s")
            failed = failed or done.code != 0
            if name == "pytest":
                closing = next((line for line in reversed(done.lines) if _CLOSING.search(line)), "")
    print("AnyMS: " + ", ".join(results))
    print(closing, flush=True)
    return int(failed)


@dataclass(frozen=True)
class Done:
    """A check that ended."""

    code: int
    output: bytes
    seconds: float

    @property
    def lines(self) -> list[str]:
        """Its output without colours."""
        return _COLOUR.sub("", self.output.decode(errors="replace")).splitlines()


def _run(arguments: Check, echo: bool) -> Done:
    """Run Python; `echo` prints its output as it comes."""
    began = time.monotonic()
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    if sys.stdout.isatty():
        environ |= {"FORCE_COLOR": "1", "COLUMNS": str(os.get_terminal_size().columns)}
    command = [sys.executable, *arguments]
    output = bytearray()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=CHECKOUT, env=environ
    ) as process:
        assert process.stdout is not None
        while chunk := os.read(process.stdout.fileno(), 65536):
            output += chunk
            if echo:
                _write(chunk)
    return Done(process.returncode, bytes(output), time.monotonic() - began)


def _write(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()

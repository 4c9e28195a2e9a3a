"""Plant faults, each in a copy of the project, and run the tests that must fail.

`python -m tests.faults [--all] [--only NAME] [--unplanted]` prints a line for each fault; exit 0 only if every one was
caught. By default: the faults of the files that the last commit changed, and every day another tenth of the rest.
--unplanted is the counter-check: nothing is planted, and no test may fail.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from tests.faults import FAULTS
from tests.faults.fault import Fault

ROOT = Path(__file__).parents[2]
PARTS = ("lib_anyms", "scripts", "tests", "pyproject.toml", "javascript", "style.css")
# Most of what a test takes is importing these. So they are imported once, and each fault's process is a fork of the one
# that did.
HEAVY = ("numpy", "torch", "transformers", "diffusers", "PIL.Image")
_DAYS = 10
_FORKS = "forkserver" in multiprocessing.get_all_start_methods()  # Windows starts each process anew


def changed_files() -> set[str]:
    """What the last commit and the uncommitted changes touch; empty where git cannot say."""
    command = ["git", "diff", "--name-only", "HEAD~1"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return set()
    return set(done.stdout.split("\n"))


def due(faults: Sequence[Fault], changed: Collection[str], day: int) -> list[Fault]:
    """The faults of changed files, and those whose turn is on this day: each comes once in `_DAYS` days."""
    return [
        fault for fault in faults if fault.file in changed or zlib.crc32(fault.name.encode()) % _DAYS == day % _DAYS
    ]


def plant(fault: Fault, folder: Path, wrong: bool = True) -> None:
    """Copy the project into `folder` and put the fault in, unless it is the counter-check."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors*"))
        elif source.exists():
            shutil.copy(source, folder / part)
    file = folder / fault.file
    planted = fault.planted(file.read_text(encoding="utf-8"))  # raises also where nothing is planted
    if wrong:
        file.write_text(planted, encoding="utf-8")


def run_tests(folder: Path, arguments: Sequence[str], output: Path) -> None:
    """Run pytest in `folder`, as a process of its own; ends with its exit code."""
    with output.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(folder)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder)}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(path for path in sys.path if path and not Path(path).is_relative_to(ROOT))]
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *arguments])))


def caught_by(fault: Fault, wrong: bool = True) -> str:
    """The test that failed, or "" if none did."""
    selection, _, words = fault.tests.partition(" -k ")
    arguments = [*selection.split(), *(["-k", words.strip("'")] if words else [])]
    context = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
    with tempfile.TemporaryDirectory(prefix="anyms-fault-") as name:
        folder, output = Path(name, "project"), Path(name, "output")
        plant(fault, folder, wrong)
        process = context.Process(target=run_tests, args=(folder, arguments, output))
        process.start()
        process.join()
        told = output.read_text(encoding="utf-8") if output.exists() else ""
    if process.exitcode == 0:
        return ""
    failed = [line for line in told.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if process.exitcode != 1 or not failed:
        raise SystemExit(f"{fault.name}: pytest did not run ({process.exitcode}).\n{told[-4000:]}")
    return failed[0].split(" - ")[0].removeprefix("FAILED ")


def tell(fault: Fault, wrong: bool = True) -> bool:
    """Whether a test failed; prints a line about it."""
    began = time.monotonic()
    test = caught_by(fault, wrong)
    how = ("caught" if test else "MISSED") if wrong else ("FAILED" if test else "passed")
    print(f"{how}  {fault.name}  ({test or fault.tests}, {time.monotonic() - began:.0f} s)", flush=True)
    return bool(test)


def count_failed(faults: Sequence[Fault], wrong: bool = True) -> int:
    """Plant each; the first that cannot be planted or tested ends all."""
    os.environ["OMP_NUM_THREADS"] = "1"
    multiprocessing.set_forkserver_preload([*HEAVY])
    with ThreadPoolExecutor(os.cpu_count()) as crew:
        running = [crew.submit(tell, fault, wrong) for fault in faults]
        try:
            return sum(one.result() for one in running)
        except BaseException:
            crew.shutdown(cancel_futures=True)
            raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every fault")
    parser.add_argument("--only", metavar="NAME", help="faults whose name contains NAME")
    parser.add_argument("--unplanted", action="store_true", help="plant nothing: no test may fail")
    args = parser.parse_args()
    if args.only:
        chosen = [fault for fault in FAULTS if args.only in fault.name]
    else:
        chosen = list(FAULTS) if args.all else due(FAULTS, changed_files(), date.today().toordinal())
    failed = count_failed(chosen, wrong=not args.unplanted)
    if args.unplanted:
        print(f"{failed} of {len(chosen)} selections of tests failed with nothing planted")
        return int(not chosen or failed > 0)
    print(f"{failed} of {len(chosen)} planted faults caught")
    return int(not chosen or failed < len(chosen))


if __name__ == "__main__":
    sys.exit(main())

"""Plant faults, each in a copy of the project, and run the tests that must fail.

`python -m tests.faults [--all] [--only NAME] [--unplanted]` prints a line for each fault; exit 0 only if all are caught.
By default: faults of the files that the last commit changed, at most 12, and each day another twentieth of all faults.
--unplanted is the counter-check: it plants nothing, and no test may fail.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from tests.faults import FAULTS
from tests.faults.fault import Fault
from tests.faults.planting import ROOT, plant, run_tests

# Importing these takes longer than most tests. One server process imports them, and each fault runs in a fork of it.
HEAVY = (
    "numpy",
    "torch",
    "transformers.models.clip.modeling_clip",
    "diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl",
    "PIL.Image",
    "pytest",
    "hypothesis.strategies",
)
_DAYS = 20
MOST_CHANGED = 12  # with a twentieth of the rest about 4 minutes on two cores
_FORKS = "forkserver" in multiprocessing.get_all_start_methods()  # Windows cannot fork


def changed_files() -> set[str]:
    """The files of the last commit and of uncommitted changes; empty without git."""
    command = ["git", "diff", "--name-only", "HEAD~1"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return set()
    return set(done.stdout.split("\n"))


def due(faults: Sequence[Fault], changed: Collection[str], day: int) -> list[Fault]:
    """Faults of changed files, at most MOST_CHANGED, and those of this day: each comes once in _DAYS days."""
    of_changed = [fault for fault in faults if fault.file in changed]
    of_changed.sort(key=lambda fault: zlib.crc32(f"{day} {fault.name}".encode()))  # other ones each day
    of_today = [fault for fault in faults if zlib.crc32(fault.name.encode()) % _DAYS == day % _DAYS]
    return list(dict.fromkeys([*of_changed[:MOST_CHANGED], *of_today]))


def caught_by(fault: Fault, wrong: bool = True) -> str:
    """The test that failed; "" if none did."""
    selection, _, words = fault.tests.partition(" -k ")
    arguments = [*selection.split(), *(["-k", words.strip("'")] if words else [])]
    context = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
    with tempfile.TemporaryDirectory(prefix="anyms-fault-") as name:
        folder, output = Path(name, "project"), Path(name, "output")
        plant(fault, folder, wrong)
        process = context.Process(target=run_tests, args=(folder, arguments, output))
        process.start()
        process.join()
        report = output.read_text(encoding="utf-8") if output.exists() else ""
    if process.exitcode == 0:
        return ""
    failed = [line for line in report.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if process.exitcode != 1 or not failed:
        raise SystemExit(f"{fault.name}: pytest did not run ({process.exitcode}).\n{report[-4000:]}")
    return failed[0].split(" - ")[0].removeprefix("FAILED ")


def check(fault: Fault, wrong: bool = True) -> bool:
    """Print a line -> whether a test failed."""
    began = time.monotonic()
    test = caught_by(fault, wrong)
    outcomes = ("MISSED", "caught") if wrong else ("passed", "FAILED")
    seconds = time.monotonic() - began
    print(f"{outcomes[bool(test)]}  {fault.name}  ({test or fault.tests}, {seconds:.0f} s)", flush=True)
    return bool(test)


def count_failed(faults: Sequence[Fault], wrong: bool = True) -> int:
    """Plant each fault -> how many made a test fail. The first that cannot be planted or tested ends all."""
    os.environ["OMP_NUM_THREADS"] = "1"
    multiprocessing.set_forkserver_preload([*HEAVY])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(check, fault, wrong) for fault in faults]
        try:
            return sum(future.result() for future in running)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every fault")
    parser.add_argument("--only", metavar="NAME", help="faults whose name contains NAME")
    parser.add_argument("--unplanted", action="store_true", help="plant nothing: no test may fail")
    args = parser.parse_args()
    if args.only:
        chosen = [fault for fault in FAULTS if args.only in fault.name]
    elif args.all:
        chosen = list(FAULTS)
    else:
        chosen = due(FAULTS, changed_files(), date.today().toordinal())
    failed = count_failed(chosen, wrong=not args.unplanted)
    if args.unplanted:
        print(f"{failed} of {len(chosen)} selections of tests failed without a planted fault")
        return int(not chosen or failed > 0)
    print(f"{failed} of {len(chosen)} planted faults caught")
    return int(not chosen or failed < len(chosen))


if __name__ == "__main__":
    sys.exit(main())

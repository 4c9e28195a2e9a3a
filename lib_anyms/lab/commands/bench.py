"""`python -m lib_anyms bench`: what AnyMS costs, side by side with the plain UNet, its peers and the forms that were
tried.

Prints a table of ratios; docs/performance.md says how to read it. Importing this needs the standard library only.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lib_anyms.errors import Refused
from lib_anyms.standalone.commands.card import pairs

if TYPE_CHECKING:
    from lib_anyms.models.model_files import ModelPair

SUITES = ("quick", "full", "gpu", "prepare")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a measurement."""
    add = parser.add_argument
    add(
        "--suite",
        default="quick",
        choices=SUITES,
        help="default quick; full adds SDXL's own size on the CPU, gpu needs CUDA",
    )
    add(
        "--adapter",
        type=Path,
        metavar="FILE",
        help="IP-Adapter for the suite prepare: from pictures or cards to keys and values",
    )
    add("--encoder", type=Path, metavar="FILE", help="its image encoder (default for both: the small world's)")
    add("--rounds", type=int, default=5, metavar="N", help="of the suite prepare (default 5)")
    add("--json", type=Path, metavar="FILE", help="where the numbers go (default: bench.json in --out)")
    add("--out", type=Path, default=Path("anyms-bench"), metavar="DIR", help="folder to write to (default anyms-bench)")
    add("--threads", type=int, metavar="N", help="of torch on the CPU (default: torch's own)")


def run(args: argparse.Namespace) -> int:
    """Measure, print and write -> exit code. Raises Refused."""
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    import torch

    from lib_anyms.lab.bench.prepare import prepare_rows
    from lib_anyms.lab.bench.report import plot, table, write_json
    from lib_anyms.lab.bench.suites import rows_of

    device = "cuda" if args.suite == "gpu" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise Refused("cli_no_gpu", got=torch.__version__)
    if args.threads is not None:
        torch.set_num_threads(max(1, args.threads))
    began, rows = time.monotonic(), []
    for row in (
        rows_of(args.suite, traces=args.out)
        if args.suite != "prepare"
        else prepare_rows(_pair(args), rounds=max(1, args.rounds))
    ):
        rows.append(row)
        print(table([row])[-1], flush=True)
    print("", *table(rows), sep="\n")
    args.out.mkdir(parents=True, exist_ok=True)
    written = args.json or args.out / "bench.json"
    write_json(written, args.suite, device, time.monotonic() - began, rows)
    plot(args.out / "bench.png", rows)
    print("", written, args.out / "bench.png", sep="\n")
    return 0


def _pair(args: argparse.Namespace) -> ModelPair:
    given = [[path] if path is not None else [] for path in (args.adapter, args.encoder)]
    return pairs(*given)[-1]

"""`python -m lib_anyms bench`: measure AnyMS beside the plain UNet, other implementations and other forms.

Prints a table of ratios; docs/performance.md says how to read it. Importing this needs the standard library only.
"""

from __future__ import annotations

import argparse
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
    suite = "default quick; full adds SDXL's own size on the CPU, gpu needs CUDA"
    add("--suite", default="quick", choices=SUITES, help=suite)
    adapter = "IP-Adapter for the suite prepare: from images or cards to keys and values"
    add("--adapter", type=Path, metavar="FILE", help=adapter)
    add("--encoder", type=Path, metavar="FILE", help="its image encoder (default for both: the small world's)")
    add("--rounds", type=int, default=5, metavar="N", help="of the suite prepare (default 5)")
    add("--json", type=Path, metavar="FILE", help="file for the numbers (default: bench.json in --out)")
    add("--out", type=Path, default=Path("anyms-bench"), metavar="DIR", help="folder to write to (default anyms-bench)")
    add("--threads", type=int, metavar="N", help="of torch on the CPU (default: torch's own)")


def run(args: argparse.Namespace) -> int:
    """Measure, print and write -> exit code. Raises Refused."""
    import torch

    from lib_anyms.lab.bench.prepare import prepare_results
    from lib_anyms.lab.bench.report import plot, table, write_json
    from lib_anyms.lab.bench.suites import results_of

    device = "cuda" if args.suite == "gpu" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise Refused("cli_no_gpu", got=torch.__version__)
    if args.threads is not None:
        torch.set_num_threads(max(1, args.threads))
    start, results = time.monotonic(), []
    if args.suite == "prepare":
        measured = prepare_results(_pair(args), rounds=max(1, args.rounds))
    else:
        measured = results_of(args.suite, traces=args.out)
    for result in measured:
        results.append(result)
        print(table([result])[-1], flush=True)
    print("", *table(results), sep="\n")
    args.out.mkdir(parents=True, exist_ok=True)
    json_file = args.json or args.out / "bench.json"
    write_json(json_file, args.suite, device, time.monotonic() - start, results)
    plot(args.out / "bench.png", results)
    print("", json_file, args.out / "bench.png", sep="\n")
    return 0


def _pair(args: argparse.Namespace) -> ModelPair:
    files = [[path] if path is not None else [] for path in (args.adapter, args.encoder)]
    return pairs(*files)[-1]

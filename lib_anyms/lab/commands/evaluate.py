"""`python -m lib_anyms evaluate`: measure in the small world how well layouts hold, beside other methods.

Makes and scores the images of a suite, and writes results.json, contact sheets and plots. A second run with the same
--out makes only the missing images. docs/evaluation.md describes the metrics. Importing this needs the standard library
only.
"""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lib_anyms.errors import Refused
from lib_anyms.standalone.bundle import sprites_folder
from lib_anyms.standalone.environment import Environment, find_home

if TYPE_CHECKING:
    from lib_anyms.lab.evaluation.pictures import Files
    from lib_anyms.lab.evaluation.suites import Cell

# Copies from evaluation/suites.py and evaluation/pictures.py, which need torch; a test compares them.
SUITES = (
    *("quick", "hosts", "full", "single", "disjoint", "priority"),
    *("adapters", "overlap", "scaling", "words", "demo"),
)
STEPS, GUIDANCE, SCALE = 20, 4.0, 2.0
DTYPES = ("auto", "float32", "float16", "bfloat16")
OWN_FILES = ("checkpoint", "adapter", "encoder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of an evaluation."""
    add = parser.add_argument
    add("--suite", default="quick", choices=SUITES, help="the comparison (default quick: 3 minutes on 2 cores)")
    add("--scenes", type=int, metavar="N", help="at most N of each cell, for a slow host (default: the suite's number)")
    host = "or the address of a running A1111 or Forge with AnyMS"
    add("--host", default="diffusers", metavar="diffusers|URL", help=host)
    add("--json", type=Path, metavar="FILE", help="file for the numbers (default: results.json in --out)")
    out = Path("anyms-evaluation")
    add("--out", type=Path, default=out, metavar="DIR", help="folder to write to, and to resume from")
    add("--seed", type=int, default=0, help="of scenes and noise (default 0)")
    add("--bars", action="store_true", help="print the bars, and exit with 1 if one of them fails")
    add("--checkpoint", type=Path, metavar="FILE", help="SDXL checkpoint, .safetensors (default: the small world's)")
    for name in OWN_FILES[1:]:
        add(f"--{name}", type=Path, metavar="FILE", help=f"the {name}'s file, with --checkpoint")
    add("--files", type=Path, metavar="DIR", help="the files of your own training (its folder `files`)")
    add("--clip", type=Path, metavar="DIR", help="a CLIP in transformers' format, for CLIP-I and CLIP-T")
    add("--processes", type=int, help="that make images (default: one per core; one on a GPU or a WebUI)")
    add("--steps", type=int, default=STEPS, help=f"of the Euler sampler (default {STEPS})")
    add("--guidance", type=float, default=GUIDANCE, help=f"classifier-free guidance scale (default {GUIDANCE:g})")
    add("--scale", type=float, default=SCALE, help=f"of the image stream (default {SCALE:g}, for the small world)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    add("--dtype", default="auto", choices=DTYPES, help="default float16 on a GPU, float32 on the CPU")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print -> exit code, 1 if a bar of --bars fails. Raises Refused."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: ends the other processes too
    try:
        return _evaluate(args)
    finally:
        signal.signal(signal.SIGTERM, before)


def _evaluate(args: argparse.Namespace) -> int:
    import torch

    from lib_anyms.lab.evaluation import suites
    from lib_anyms.lab.evaluation.pictures import Settings
    from lib_anyms.lab.evaluation.results import table
    from lib_anyms.lab.evaluation.run import Evaluation, evaluate

    settings = Settings(
        args.seed, _steps(args.steps), args.guidance, args.scale, args.device, args.dtype, _host(args.host)
    )
    processes = _processes(args)
    if processes > 1:
        torch.set_num_threads(1)
    evaluation = Evaluation(_files(args), settings, args.out, processes)
    cells = fewer(suites.cells_of(suites.SUITES[args.suite]), args.scenes)
    outcome = evaluate(evaluation, args.suite, args.json, lambda line: print(f"AnyMS: {line}", flush=True), cells)
    print(*table(outcome.results), "", *outcome.files, sep="\n")
    if args.bars:
        print("", *outcome.bars, sep="\n")
        return int(not all(bar.passed for bar in outcome.bars))
    return 0


def _files(args: argparse.Namespace) -> Files:
    from lib_anyms.lab.evaluation.pictures import files_in, own_files

    if args.clip is not None and not args.clip.is_dir():
        raise Refused("cli_file", path=args.clip, got="there is no such folder")
    present = [name for name in OWN_FILES if getattr(args, name) is not None]
    absent = [name for name in OWN_FILES if getattr(args, name) is None]
    if present and absent:
        raise Refused("cli_needs", option=f"--{present[0]}", got=f"no --{absent[0]}", expected=f"--{absent[0]} FILE")
    if present:
        return own_files(args.checkpoint, args.adapter, args.encoder, args.clip)
    folder = args.files or sprites_folder(Environment(find_home(), say=print).models())
    return files_in(folder, args.clip)


def fewer(cells: list[Cell], most: int | None) -> list[Cell]:
    """The cells with at most that many scenes each. Raises Refused for less than one."""
    if most is None:
        return cells
    if most < 1:
        raise Refused("field_range", field="--scenes", got=most, low=1, high=max(cell.scenes for cell in cells))
    return [replace(cell, scenes=min(cell.scenes, most)) for cell in cells]


def _host(name: str) -> str:
    if name != "diffusers" and not name.startswith(("http://", "https://")):
        expected = "diffusers, or an address like http://127.0.0.1:7860"
        raise Refused("field_choice", field="--host", got=name, expected=expected)
    return name


def _steps(number: int) -> int:
    if not 1 <= number <= 1000:
        raise Refused("field_range", field="--steps", got=number, low=1, high=1000)
    return number


def _processes(args: argparse.Namespace) -> int:
    import torch

    if args.processes is not None:
        return max(1, int(args.processes))
    elsewhere = args.host != "diffusers" or args.device not in ("auto", "cpu")
    if elsewhere or (args.device == "auto" and torch.cuda.is_available()):
        return 1
    return os.cpu_count() or 1

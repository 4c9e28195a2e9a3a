"""`python -m lib_anyms evaluate`: how well layouts hold, measured in the small world, beside what they are compared with.

Makes the pictures of a suite, scores them, and writes results.json, contact sheets and plots; run again with the same --out it
makes only what is missing. docs/evaluation.md says what is measured. Importing this needs the standard library only.
"""

from __future__ import annotations

import argparse
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lib_anyms.errors import Refused
from lib_anyms.standalone.environment import Environment, find_home
from lib_anyms.standalone.evaluation.cells import QUICK, SUITES, Cell, cells_of
from lib_anyms.standalone.sprites.bundle import ORACLE, sprites_folder

if TYPE_CHECKING:
    from lib_anyms.standalone.evaluation.files import Files

DTYPES = ("auto", "float32", "float16", "bfloat16")
OWN_FILES = ("checkpoint", "adapter", "encoder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of an evaluation."""
    add = parser.add_argument
    add("--suite", default=QUICK, choices=tuple(SUITES), help=f"what is compared (default {QUICK}: 4 to 7 minutes on 2 cores)")
    add("--scenes", type=int, metavar="N", help="at most N of each cell (default: as the suite asks): for a slow host")
    add("--host", default="diffusers", metavar="diffusers|URL", help="or the address of a running A1111 or Forge with AnyMS")
    add("--json", type=Path, metavar="FILE", help="where the numbers go (default: results.json in --out)")
    add("--out", type=Path, default=Path("anyms-evaluation"), metavar="DIR", help="folder to write to, and to go on from")
    add("--seed", type=int, default=0, help="of scenes and noise (default 0)")
    add("--bars", action="store_true", help="print what must hold, and exit with 1 if any of it does not")
    add("--checkpoint", type=Path, metavar="FILE", help="SDXL checkpoint, .safetensors (default: the small world's)")
    for name in OWN_FILES[1:]:
        add(f"--{name}", type=Path, metavar="FILE", help=f"the {name}'s file, with --checkpoint")
    add("--files", type=Path, metavar="DIR", help="the small world's files of a training of your own (its folder `files`)")
    add("--clip", type=Path, metavar="DIR", help="a CLIP in transformers' format, for CLIP-I and CLIP-T")
    add("--processes", type=int, help="that make pictures (default: one a core, on a GPU or a WebUI one)")
    add("--steps", type=int, default=20, help="of the Euler sampler (default 20)")
    add("--guidance", type=float, default=7.0, help="classifier-free guidance scale (default 7)")
    add("--scale", type=float, default=2.0, help="of the image stream (default 2, which serves the small world best)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    add("--dtype", default="auto", choices=DTYPES, help="default float16 on a GPU, float32 on the CPU")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print -> exit code, 1 if --bars finds one that does not hold. Raises Refused."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read when they are imported
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, other processes included
    try:
        return _evaluate(args)
    finally:
        signal.signal(signal.SIGTERM, before)


def _evaluate(args: argparse.Namespace) -> int:
    import torch

    from lib_anyms.standalone.evaluation.evaluate import evaluate
    from lib_anyms.standalone.evaluation.painting import Settings
    from lib_anyms.standalone.evaluation.report import table
    from lib_anyms.standalone.evaluation.work import Evaluation

    settings = Settings(args.seed, _steps(args.steps), args.guidance, args.scale, args.device, args.dtype, _host(args.host))
    processes = _processes(args)
    if processes > 1:
        torch.set_num_threads(1)
    evaluation = Evaluation(_files(args), settings, args.out, processes)
    cells = fewer(cells_of(SUITES[args.suite]), args.scenes)
    outcome = evaluate(evaluation, args.suite, args.json, lambda line: print(f"AnyMS: {line}", flush=True), cells)
    print(*table(outcome.rows), "", *outcome.written, sep="\n")
    if args.bars:
        print("", *outcome.bars, sep="\n")
        return int(not all(bar.passed for bar in outcome.bars))
    return 0


def _files(args: argparse.Namespace) -> Files:
    from lib_anyms.standalone.evaluation.files import files_given, files_in

    if args.clip is not None and not args.clip.is_dir():
        raise Refused("cli_file", path=args.clip, got="there is no such folder")
    given = [name for name in OWN_FILES if getattr(args, name) is not None]
    lacking = [name for name in OWN_FILES if getattr(args, name) is None]
    if given and lacking:
        raise Refused("cli_needs", option=f"--{given[0]}", got=f"no --{lacking[0]}", expected=f"--{lacking[0]} FILE")
    folder = args.files or sprites_folder(Environment(find_home(), say=print).models())
    if given:
        oracle = folder / ORACLE
        return files_given(args.checkpoint, args.adapter, args.encoder, oracle if oracle.is_file() else None, args.clip)
    return files_in(folder, args.clip)


def fewer(cells: list[Cell], most: int | None) -> list[Cell]:
    """The cells with at most so many scenes each. Raises Refused for less than one."""
    if most is None:
        return cells
    if most < 1:
        raise Refused("field_range", field="--scenes", got=most, low=1, high=max(cell.scenes for cell in cells))
    return [replace(cell, scenes=min(cell.scenes, most)) for cell in cells]


def _host(given: str) -> str:
    if given != "diffusers" and not given.startswith(("http://", "https://")):
        raise Refused("field_choice", field="--host", got=given, expected="diffusers, or an address like http://127.0.0.1:7860")
    return given


def _steps(given: int) -> int:
    if not 1 <= given <= 1000:
        raise Refused("field_range", field="--steps", got=given, low=1, high=1000)
    return given


def _processes(args: argparse.Namespace) -> int:
    import torch

    if args.processes is not None:
        return max(1, int(args.processes))
    busy_elsewhere = args.host != "diffusers" or args.device not in ("auto", "cpu")
    return 1 if busy_elsewhere or (args.device == "auto" and torch.cuda.is_available()) else os.cpu_count() or 1

"""`python -m lib_anyms evaluate`: measure how well layouts hold, beside other methods.

Makes and scores images of the small world, and writes results.json, contact sheets and plots. A second run with the
same --out makes only the missing images. docs/evaluation.md describes the metrics. With --bench it measures real
weights on public benchmarks: docs/real-weights.md. Importing this needs the standard library only.
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
    from lib_anyms.lab.evaluation.pictures import Files, Settings
    from lib_anyms.lab.evaluation.suites import Cell

# Copies from evaluation/suites.py and evaluation/pictures.py, which need torch; a test compares them.
SUITES = (
    *("quick", "hosts", "full", "single", "disjoint", "priority"),
    *("adapters", "overlap", "scaling", "words", "demo"),
)
Defaults = tuple[int, float, float, float]  # steps, guidance, scale, fade
SMALL_WORLD: Defaults = (20, 4.0, 2.0, 0.5)
SDXL: Defaults = (30, 5.0, 0.6, 1.0)
BENCH_OPTIONS = ("bench_check", "modes", "seeds", "size", "detector", "dino", "dreamsim")
DTYPES = ("auto", "float32", "float16", "bfloat16")
OWN_FILES = ("checkpoint", "adapter", "encoder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of an evaluation, then those of a benchmark with real weights."""
    add = parser.add_argument
    add("--suite", choices=SUITES, help="the comparison (default quick: 3 minutes on 2 cores)")
    add("--scenes", type=int, metavar="N", help="at most N of each cell, or of a benchmark (default: all)")
    host = "or the address of a running A1111 or Forge with AnyMS; with --bench repeatable, one picture at a time each"
    add("--host", action="append", metavar="diffusers|URL", help=host)
    add("--json", type=Path, metavar="FILE", help="file for the numbers (default: results.json in --out)")
    out = "folder to write to, and to resume from (default anyms-evaluation; anyms-bench with --bench)"
    add("--out", type=Path, metavar="DIR", help=out)
    add("--seed", type=int, default=0, help="of scenes and noise (default 0)")
    add("--bars", action="store_true", help="print the bars, and exit with 1 if one of them fails")
    add("--checkpoint", type=Path, metavar="FILE", help="SDXL checkpoint, .safetensors (default: the small world's)")
    for name in OWN_FILES[1:]:
        add(f"--{name}", type=Path, metavar="FILE", help=f"the {name}'s file, with --checkpoint")
    add("--files", type=Path, metavar="DIR", help="the files of your own training (its folder `files`)")
    clip = "a CLIP in transformers' format, for CLIP-I and CLIP-T; with --bench repeatable"
    add("--clip", action="append", type=Path, metavar="DIR", help=clip)
    add("--processes", type=int, help="that make images (default: one per core; one on a GPU or a WebUI)")
    own = "with --bench and --checkpoint"
    options = {
        "steps": "of the Euler sampler",
        "guidance": "classifier-free guidance scale",
        "scale": "of the image stream",
        "fade": "the part of --scale in the later steps",
    }
    for (name, described), small, real in zip(options.items(), SMALL_WORLD, SDXL):
        kind = int if name == "steps" else float
        add(f"--{name}", type=kind, help=f"{described} (default {small:g}, for the small world; {real:g} {own})")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    add("--dtype", default="auto", choices=DTYPES, help="default float16 on a GPU, float32 on the CPU")
    _add_bench(parser.add_argument_group("real weights (docs/real-weights.md)"))


def _add_bench(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--bench", type=Path, metavar="DIR", help="measure with the scenes in this folder")
    add("--bench-check", action="store_true", help="only say what is missing, how large it is, where it is published")
    add("--modes", metavar="A,B", help="modes to compare (default all)")
    add("--seeds", type=int, metavar="N", help="pictures of each scene and mode, from --seed on (default: the scenes')")
    add("--size", type=int, metavar="N", help="pixels of a picture's side (default: the model's native size)")
    detector = "folder of a Grounding DINO or OWLv2; small-world for the small world's templates; repeatable"
    add("--detector", action="append", type=Path, metavar="DIR", help=detector)
    add("--dino", action="append", type=Path, metavar="DIR", help="folder of a DINO or DINOv2; repeatable")
    add("--dreamsim", type=Path, metavar="DIR", help="folder of DreamSim's weights, if its package is installed")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print -> exit code, 1 if a bar of --bars fails or --bench-check finds a gap. Raises Refused."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: ends the other processes too
    try:
        if args.bench is not None:
            from lib_anyms.lab.benchmark.command import measure

            return measure(args)
        _refuse_bench_options(args)
        return _evaluate(args)
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_bench_options(args: argparse.Namespace) -> None:
    for name in BENCH_OPTIONS:
        if getattr(args, name):
            raise Refused("bench_option", option=f"--{name.replace('_', '-')}")
    for name in ("host", "clip"):
        if len(getattr(args, name) or ()) > 1:
            raise Refused("bench_option", option=f"a second --{name}")


def _evaluate(args: argparse.Namespace) -> int:
    import torch

    from lib_anyms.lab.evaluation import suites
    from lib_anyms.lab.evaluation.results import table
    from lib_anyms.lab.evaluation.run import Evaluation, evaluate

    settings = settings_of(args, SMALL_WORLD)
    processes = _processes(args)
    if processes > 1:
        torch.set_num_threads(1)
    evaluation = Evaluation(files_of(args), settings, args.out or Path("anyms-evaluation"), processes)
    suite = args.suite or SUITES[0]
    cells = fewer(suites.cells_of(suites.SUITES[suite]), args.scenes)
    outcome = evaluate(evaluation, suite, args.json, lambda line: print(f"AnyMS: {line}", flush=True), cells)
    print(*table(outcome.results), "", *outcome.files, sep="\n")
    if args.bars:
        print("", *outcome.bars, sep="\n")
        return int(not all(bar.passed for bar in outcome.bars))
    return 0


def settings_of(args: argparse.Namespace, defaults: Defaults) -> Settings:
    """Raises Refused."""
    from lib_anyms.lab.evaluation.pictures import Settings

    options = args.steps, args.guidance, args.scale, args.fade
    steps, guidance, scale, fade = (own if value is None else value for value, own in zip(options, defaults))
    host = _host(args.host[0] if args.host else "diffusers")
    return Settings(args.seed, _steps(int(steps)), guidance, scale, args.device, args.dtype, host, fade)


def files_of(args: argparse.Namespace) -> Files:
    """The files of the command line, or the small world's. Raises Refused."""
    from lib_anyms.lab.evaluation.pictures import files_in, own_files

    clip = args.clip[0] if args.clip else None
    if clip is not None and not clip.is_dir():
        raise Refused("cli_file", path=clip, got="there is no such folder")
    present = [name for name in OWN_FILES if getattr(args, name) is not None]
    absent = [name for name in OWN_FILES if getattr(args, name) is None]
    if present and absent:
        raise Refused("cli_needs", option=f"--{present[0]}", got=f"no --{absent[0]}", expected=f"--{absent[0]} FILE")
    if present:
        return own_files(args.checkpoint, args.adapter, args.encoder, clip)
    folder = args.files or sprites_folder(Environment(find_home(), say=print).models())
    return files_in(folder, clip)


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
    elsewhere = args.host not in (None, ["diffusers"]) or args.device not in ("auto", "cpu")
    if elsewhere or (args.device == "auto" and torch.cuda.is_available()):
        return 1
    return os.cpu_count() or 1

"""`python -m lib_anyms train`: train the small world "sprites" and write the files that hosts load.

Hours on a CPU, minutes on a GPU; it can be interrupted and gone on with by --resume. In the folder: files/ with what hosts load,
sheets/ with pictures of what has been learnt so far, log.jsonl. Importing this needs the standard library only.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from lib_anyms.errors import Refused

MINUTES, CUDA_MINUTES = 720.0, 24.0  # of the whole training, where --minutes does not say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a training."""
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=Path("sprites-training"),
        metavar="DIR",
        help="folder to write to (default ./sprites-training)",
    )
    add("--resume", action="store_true", help="go on with the training in DIR; complete stages are left as they are")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 (default cpu)")
    add("--minutes", type=float, help=f"of all stages, or of --stage (default {MINUTES:.0f}, {CUDA_MINUTES:.0f} on a GPU)")
    add("--stage", metavar="NAME", help="train this stage only, on the ones before it")
    add("--threads", type=int, default=1, help="of torch (default 1; pictures are drawn in other processes)")
    add("--workers", type=int, help="processes that draw pictures (default 1, on a GPU one a core)")
    add("--seed", type=int, help="default 0, with --resume the one it was begun with")
    add("--compile", action="store_true", help="train a compiled UNet (pays on a GPU only)")
    add("--export", action="store_true", help="train nothing, write the files from what is there")


def run(args: argparse.Namespace) -> int:
    """Train and export -> exit code. Raises Refused."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read when they are imported
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    import torch

    from lib_anyms.standalone.sprites.export import export
    from lib_anyms.standalone.sprites.stages import STAGES

    if args.stage is not None and args.stage not in STAGES:
        raise Refused("train_stage", got=args.stage, expected=", ".join(STAGES))
    torch.set_num_threads(args.threads)
    if not args.export:
        with _ended_gently():
            _train(args)
        if args.stage is not None:
            return 0
    for file in export(args.out, args.out / "files"):
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
    return 0


def _train(args: argparse.Namespace) -> None:
    import torch

    from lib_anyms.standalone.sprites.stages import STAGES, Run, begin, train_all, train_stage
    from lib_anyms.standalone.sprites.training import Where

    where = Where(args.out, torch.device(args.device), args.compile)
    cuda = where.device.type == "cuda"
    workers = args.workers if args.workers is not None else (os.cpu_count() or 2) - 1 if cuda else 1
    whole = None if args.stage else args.minutes
    part_of_a_run = args.resume or (args.stage is not None and not where.state(args.stage).exists())
    minutes, seed = begin(args.out, whole, args.seed, part_of_a_run, CUDA_MINUTES if cuda else MINUTES)
    training = Run(where, minutes, seed, workers)
    if args.stage:
        train_stage(STAGES[args.stage], training, args.minutes, args.resume)
    else:
        train_all(training, args.resume)


class _ended_gently:
    """While it lasts a request to end the process saves the training as Ctrl-C does."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

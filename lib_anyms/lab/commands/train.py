"""`python -m lib_anyms train`: train the small world "sprites" and write the files that hosts load.

Hours on a CPU, minutes on a GPU; it can be interrupted and resumed. In the folder: files/ with what hosts load, sheets/
with pictures of what has been learnt so far, log.jsonl. Importing this needs the standard library only.
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
from lib_anyms.standalone.bundle import store

MINUTES, CUDA_MINUTES = 240.0, 24.0  # of the whole training, where --minutes does not say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a training."""
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=Path("sprites-training"),
        metavar="DIR",
        help="folder to write to (default %(default)s)",
    )
    add("--resume", action="store_true", help="go on with the training in DIR; complete stages are left as they are")
    add(
        "--start",
        type=Path,
        metavar="FILES",
        help="begin with the weights of these files (written by `sprites --out FILES`)",
    )
    add("--device", default="cpu", help="cpu, cuda, cuda:1 (default cpu)")
    add(
        "--minutes",
        type=float,
        help=f"of all stages, or of --stage (default {MINUTES:.0f}, {CUDA_MINUTES:.0f} on a GPU)",
    )
    add("--stage", metavar="NAME", help="train this stage only, on the ones before it")
    add("--threads", type=int, default=1, help="of torch (default 1)")
    add("--seed", type=int, help="default 0, with --resume the one it began with")
    add("--export", action="store_true", help="train nothing, write the files from what is there")
    add("--bundle", action="store_true", help="put the files into this checkout too, as its demo uses them")


def run(args: argparse.Namespace) -> int:
    """Train and export -> exit code. Raises Refused."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read when they are imported
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    import torch

    from lib_anyms.lab.train.export import export
    from lib_anyms.lab.train.stages import STAGES

    if args.stage is not None and args.stage not in STAGES:
        raise Refused("train_stage", got=args.stage, expected=", ".join(STAGES))
    torch.set_num_threads(args.threads)
    if not args.export:
        with _saved_when_ended():
            _train(args)
        if args.stage is not None:
            return 0
    for file in export(args.out, args.out / "files"):
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
    if args.bundle:
        print(store(args.out / "files"))
    return 0


def _train(args: argparse.Namespace) -> None:
    import torch

    from lib_anyms.lab.train.export import start_from
    from lib_anyms.lab.train.stages import STAGES, Run, begin, train_all, train_stage
    from lib_anyms.lab.train.trainer import TrainContext

    context = TrainContext(args.out, torch.device(args.device))
    default = CUDA_MINUTES if context.device.type == "cuda" else MINUTES
    of_all = None if args.stage else args.minutes
    if args.stage and not args.resume and context.state(args.stage).exists():
        raise Refused("train_exists", out=args.out)
    resume = args.resume or (args.stage is not None and args.start is None)  # a start never overwrites a training
    settings = begin(args.out, of_all, args.seed, resume, default)
    if args.start is not None and not args.resume:
        start_from(args.start, args.out)
    run_ = Run(context, *settings)
    if args.stage:
        train_stage(STAGES[args.stage], run_, args.minutes, args.resume)
    else:
        train_all(run_, args.resume or args.start is not None)


class _saved_when_ended:
    """While it lasts a request to end the process saves the training, as Ctrl-C does; only the first request counts."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self) -> None:
        self._before = [signal.signal(number, self._interrupt) for number in self._SIGNALS]

    def __exit__(self, *_: object) -> None:
        for number, before in zip(self._SIGNALS, self._before):
            signal.signal(number, before)

    def _interrupt(self, _number: int, _frame: Any) -> None:
        for number in self._SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

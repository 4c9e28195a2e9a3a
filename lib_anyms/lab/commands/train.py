"""`python -m lib_anyms train`: train the small world "sprites" and write the files that hosts load.

Takes hours on a CPU, minutes on a GPU; can be interrupted and resumed. The folder gets files/ for hosts, sheets/ of
samples, and log.jsonl. Importing this needs the standard library only.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.standalone.bundle import store

MINUTES, CUDA_MINUTES = 240.0, 24.0  # of the whole training, without --minutes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a training."""
    add = parser.add_argument
    out = Path("sprites-training")
    add("--out", type=Path, default=out, metavar="DIR", help="folder to write to (default %(default)s)")
    add("--resume", action="store_true", help="continue the training in DIR; complete stages stay as they are")
    add("--start", type=Path, metavar="FILES", help="continue the weights in FILES (written by `sprites --out FILES`)")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 (default cpu)")
    default = f"default {MINUTES:.0f}, {CUDA_MINUTES:.0f} on a GPU"
    add("--minutes", type=float, help=f"of all stages, or of --stage ({default})")
    add("--stage", metavar="NAME", help="train this stage only; the ones before it must be complete")
    add("--threads", type=int, default=1, help="of torch (default 1)")
    add("--seed", type=int, help="default 0, with --resume the seed of its start")
    add("--export", action="store_true", help="write the files without further training")
    add("--bundle", action="store_true", help="also put the files into this checkout, for its demo")


def run(args: argparse.Namespace) -> int:
    """Train and export -> exit code. Raises Refused."""
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
    settings = begin(args.out, of_all, args.seed, args.resume or args.stage is not None, default)
    if args.start and not args.resume:
        start_from(args.start, args.out)
    run_ = Run(context, *settings)
    resume = args.resume or args.start is not None
    if args.stage:
        train_stage(STAGES[args.stage], run_, args.minutes, resume)
    else:
        train_all(run_, resume)


class _saved_when_ended:
    """Inside the `with`, SIGTERM saves the training as Ctrl-C does. Only the first signal counts."""

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

"""`python -m lib_anyms train`: train the small world "sprites" and write the files that hosts load.

Hours on a CPU, minutes on a GPU; it can be interrupted and gone on with by --resume. In the folder: files/ with what hosts load,
sheets/ with pictures of what has been learnt so far, log.jsonl. `torchrun --nproc-per-node 2 -m lib_anyms train --here ...`
trains with two processes on two cores. Importing this needs the standard library only.
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
from lib_anyms.standalone.sprites.bundle import store

CREW = "LOCAL_RANK"  # set by torchrun: several processes train together, best one a core
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
    add(
        "--from",
        type=Path,
        dest="source",
        metavar="DIR",
        help="begin a further round with --stage, from what the training in DIR came to, or from its files (`sprites --out DIR`)",
    )
    add("--device", default="cpu", help="cpu, cuda, cuda:1 (default cpu)")
    add("--minutes", type=float, help=f"of all stages, or of --stage (default {MINUTES:.0f}, {CUDA_MINUTES:.0f} on a GPU)")
    add("--stage", metavar="NAME", help="train this stage only, on the ones before it")
    add("--threads", type=int, default=1, help="of torch (default 1; pictures are drawn in other processes)")
    add("--workers", type=int, help="processes that draw pictures (default 1, on a GPU one a core)")
    add("--seed", type=int, help="default 0, with --resume the one it was begun with")
    add("--compile", action="store_true", help="train a compiled UNet (pays on a GPU only)")
    add("--export", action="store_true", help="train nothing, write the files from what is there")
    add("--bundle", action="store_true", help="put the files into this checkout too, as its demo uses them")


def run(args: argparse.Namespace) -> int:
    """Train and export -> exit code. Raises Refused."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read when they are imported
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    import torch

    from lib_anyms.standalone.sprites.export import export
    from lib_anyms.standalone.sprites.rounds import go_on
    from lib_anyms.standalone.sprites.stages import STAGES

    if args.stage not in STAGES and not (args.stage is args.source is None):
        raise Refused("train_stage", got=args.stage or "", expected=", ".join(STAGES))
    torch.set_num_threads(args.threads)
    if args.source is not None and os.environ.get(CREW, "0") == "0":  # the others wait for it where they meet, in _train
        go_on(args.source, args.out)
    if not args.export:
        with _ended_gently():
            leads = _train(args)
        if args.stage is not None or not leads:
            return 0
    for file in export(args.out, args.out / "files"):
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
    if args.bundle:
        print(store(args.out / "files"))
    return 0


def _train(args: argparse.Namespace) -> bool:
    """-> whether this process is the one that writes."""
    import torch

    from lib_anyms.standalone.sprites.stages import STAGES, Run, begin, settings, train_all, train_stage
    from lib_anyms.standalone.sprites.training import Where

    device = torch.device(args.device)
    cuda = device.type == "cuda"
    if CREW in os.environ:
        torch.distributed.init_process_group("nccl" if cuda else "gloo")
    where = Where(args.out, device, args.compile)
    if not where.crew.leads:
        logging.getLogger("anyms").setLevel(logging.WARNING)
    workers = args.workers if args.workers is not None else (os.cpu_count() or 2) - 1 if cuda else 1
    minutes = CUDA_MINUTES if cuda else MINUTES
    if args.stage:
        if not args.resume and where.state(args.stage).exists():
            raise Refused("train_exists", out=args.out)
        run = Run(where, *settings(args.out, None, args.seed, minutes), workers)
        train_stage(STAGES[args.stage], run, args.minutes, args.resume)
        return where.crew.leads
    if not where.crew.leads:
        where.crew.wait()  # for the one that leads to begin the run
    begun = begin(args.out, args.minutes, args.seed, args.resume or not where.crew.leads, minutes)
    if where.crew.leads:
        where.crew.wait()
    train_all(Run(where, *begun, workers), args.resume)
    return where.crew.leads


class _ended_gently:
    """While it lasts a request to end the process saves the training, as does Ctrl-C; only the first counts.

    torchrun passes on what a shell has already sent to all: a second one would break off the saving.
    """

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

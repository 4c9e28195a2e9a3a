"""`python -m lib_anyms sprites --out DIR`: the trained small world's files, whole, with their model card.

checkpoint.safetensors is an SDXL in LDM names, adapter-base (4 tokens) and adapter-plus (16) its IP-Adapters, encoder
their image encoder. Importing this needs the standard library only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.standalone.bundle import ADAPTERS, CHECKPOINT, ENCODER, FILES, LIST, join_files

USE = """
To use them here: python -m lib_anyms demo --checkpoint {checkpoint} --adapter {adapter} --encoder {encoder}

In A1111 and Forge a checkpoint belongs into models/Stable-diffusion, an adapter into models/ControlNet, its encoder into
models/clip_vision. But neither can load this checkpoint as it comes, because they know SDXL in its full size only: A1111 needs a
yaml beside it and a description of both text encoders, Forge an entry in its list of UNets. AnyMS sets up neither; its tests
do, in a host that is kept for testing (tests/hosts/tiny.py). The adapters and the encoder fit this checkpoint alone: with
another one AnyMS steps aside and says so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write to; other files in it stay"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files and say what they are for -> exit code. Raises Refused."""
    try:
        files = join_files(FILES / LIST, args.out)
    except OSError as error:
        raise Refused("cli_out", path=args.out, got=error) from error
    for file in files:
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
    print(USE.format(checkpoint=args.out / CHECKPOINT, adapter=args.out / ADAPTERS["base"], encoder=args.out / ENCODER))
    return 0

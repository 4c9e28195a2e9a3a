"""`python -m lib_anyms sprites --out DIR`: write the trained small world's files and their model card.

checkpoint.safetensors is an SDXL with LDM's names, adapter-base (4 tokens) and adapter-plus (16) are its IP-Adapters,
encoder is their image encoder. Importing this module needs the standard library only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.standalone.bundle import ADAPTERS, CHECKPOINT, ENCODER, FILES, LIST, join_files

USE = """
To use them here: python -m lib_anyms demo --checkpoint {checkpoint} --adapter {adapter} --encoder {encoder}

In A1111 and Forge a checkpoint belongs into models/Stable-diffusion, an adapter into models/ControlNet, its encoder
into models/clip_vision. But neither can load this checkpoint without changes, because they know SDXL in its full size
only: A1111 needs a yaml beside it and a description of both text encoders, Forge an entry in its list of UNets. Only
AnyMS's tests set this up, in a test host (tests/hosts/tiny.py). The adapters and the encoder fit this checkpoint only:
with another one AnyMS steps aside and reports it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write to; other files in it stay"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files and print how to use them -> exit code. Raises Refused."""
    try:
        files = join_files(FILES / LIST, args.out)
    except OSError as error:
        raise Refused("cli_out", path=args.out, got=error) from error
    for file in files:
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
    print(USE.format(checkpoint=args.out / CHECKPOINT, adapter=args.out / ADAPTERS["base"], encoder=args.out / ENCODER))
    return 0

"""`python -m lib_anyms cut FILE OUT`: cut a subject out of a picture, to check the result before its use.

Applies the mask, removes the background, then crops. Importing this module needs the standard library only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lib_anyms.errors import Noted, Refused
from lib_anyms.layout.geometry import Box


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two files and the three ways to cut."""
    add = parser.add_argument
    add("picture", type=Path, metavar="FILE")
    add("out", type=Path, metavar="OUT", help="the new picture, PNG")
    add("--crop", metavar="x0,y0,x1,y1", help="keep this part, in fractions 0..1")
    add("--mask", type=Path, metavar="FILE", help="a picture that is white or opaque at the subject")
    add("--remove-background", action="store_true", help="with rembg, if it and one of its models are installed")


def run(args: argparse.Namespace) -> int:
    """Write the picture and print its size -> exit code. Raises Refused, with nothing written."""
    from lib_anyms.ip_adapter.cutting import NOTHING_ERASED, cropped, masked, without_background
    from lib_anyms.ip_adapter.references import read_mask, read_picture
    from lib_anyms.standalone.subjects import read_bytes

    if args.out.exists():
        raise Refused("card_taken", path=args.out)
    picture = read_picture(read_bytes(args.picture), args.picture.name)
    if args.mask is not None:
        picture = masked(picture, read_mask(read_bytes(args.mask), args.mask.name))
    if args.remove_background:
        picture = without_background(picture)
    if args.crop is not None:
        picture = cropped(picture, Box.read(_numbers(args.crop)))
    if picture.info.get(NOTHING_ERASED):
        print(Noted("nothing_erased", name=args.picture.name), file=sys.stderr)
    try:
        picture.save(args.out, "PNG")
    except OSError as error:
        raise Refused("cli_out", path=args.out, got=error.strerror or error) from error
    print(f"{args.out}  {picture.width} x {picture.height}")
    return 0


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise Refused("box_form", got=text) from error

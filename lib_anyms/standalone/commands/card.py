"""`python -m lib_anyms card`: store a subject in one small file that needs no image encoder.

`save OUT` makes a card from pictures. `add CARD` adds tokens for one more adapter, from the pictures in the card.
`show CARD` lists its contents. Without --adapter and --encoder it uses the small world's. Importing this module needs
the standard library only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib_anyms.errors import Refused
from lib_anyms.layout.fields import COMBINES, FITS
from lib_anyms.layout.layout import PROMPTS, ROLES
from lib_anyms.standalone.environment import Environment, find_home

if TYPE_CHECKING:
    from lib_anyms.models.model_files import ModelPair


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    save = actions.add_parser("save", help="make a card from pictures", allow_abbrev=False)
    save.add_argument("card", type=Path, metavar="OUT", help="the new file, .safetensors")
    save.add_argument("--name", required=True, help="the subject's name in the prompt")
    save.add_argument(
        "--picture",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="a picture of the subject; repeatable",
    )
    save.add_argument("--role", default="subject", choices=ROLES, help="default subject")
    save.add_argument("--prompt", default="", metavar="TEXT", help="the subject's own prompt, as a proposal")
    save.add_argument("--avoid", default="", metavar="TEXT", help="the subject's own negative prompt, as a proposal")
    save.add_argument(
        "--fit", default="pad", choices=FITS, help="how to make a picture square for the encoder (default pad)"
    )
    save.add_argument(
        "--combine", default="average", choices=COMBINES, help="how to combine several pictures (default average)"
    )
    save.add_argument(
        "--float32", action="store_true", help="store tokens in float32: twice the size, exactly the same images"
    )
    add = actions.add_parser("add", help="add tokens for one more adapter", allow_abbrev=False)
    add.add_argument("card", type=Path, metavar="CARD")
    for action in (save, add):
        action.add_argument("--adapter", type=Path, action="append", metavar="FILE", help="IP-Adapter; repeatable")
        action.add_argument(
            "--encoder", type=Path, action="append", metavar="FILE", help="its image encoder; one can serve several"
        )
    show = actions.add_parser("show", help="list the contents of a card", allow_abbrev=False)
    show.add_argument("card", type=Path, metavar="CARD")
    show.add_argument("--pictures", type=Path, metavar="DIR", help="write the card's pictures to this folder")


def run(args: argparse.Namespace) -> int:
    """Run the action -> exit code. Raises Refused, with nothing written."""
    return {"save": _save, "add": _add, "show": _show}[args.action](args)


def _save(args: argparse.Namespace) -> int:
    import torch

    from lib_anyms.cards.library import write_new
    from lib_anyms.ip_adapter.references import read_picture
    from lib_anyms.job.card_making import make_card
    from lib_anyms.job.pictures import MAX_PICTURES
    from lib_anyms.standalone.subjects import CARD_SUFFIX, read_bytes

    if args.card.suffix.lower() != CARD_SUFFIX:
        raise Refused("card_suffix", path=args.card, expected=CARD_SUFFIX)
    if args.card.exists():
        raise Refused("card_taken", path=args.card)
    if len(args.picture) > MAX_PICTURES:
        raise Refused("picture_count", name=args.name, got=len(args.picture), high=MAX_PICTURES)
    pictures = [read_picture(read_bytes(file), args.name) for file in args.picture]
    dtype = torch.float32 if args.float32 else torch.float16
    models = pairs(args.adapter or [], args.encoder or [])
    how = args.fit, args.combine, dtype, args.prompt, args.avoid
    data = make_card(args.name, args.role, pictures, models, *how)
    try:
        args.card.parent.mkdir(parents=True, exist_ok=True)
        write_new(args.card, data)
    except OSError as error:
        raise Refused("cli_out", path=args.card, got=error.strerror or error) from error
    return _show(argparse.Namespace(card=args.card, pictures=None))


def _add(args: argparse.Namespace) -> int:
    from lib_anyms.cards.card import read_card
    from lib_anyms.cards.library import read_file, write_over
    from lib_anyms.job.card_making import add_adapter

    card = read_file(args.card)
    data = b""
    for pair in pairs(args.adapter or [], args.encoder or []):
        data = add_adapter(card, pair)
        card = read_card(data, args.card.name)
    try:
        write_over(args.card, data)
    except OSError as error:
        raise Refused("cli_out", path=args.card, got=error.strerror or error) from error
    return _show(argparse.Namespace(card=args.card, pictures=None))


def _show(args: argparse.Namespace) -> int:
    from lib_anyms.cards.library import read_file

    card = read_file(args.card)
    size = args.card.stat().st_size
    print(f"{args.card}  {size / 1024:.0f} KiB  hash {card.hash}")
    print(f"{card.name} ({card.role}), {len(card.pictures)} pictures stored")
    for name in PROMPTS:
        if getattr(card, name):
            print(f"{name}: {getattr(card, name)}")
    for encoding in card.encodings:
        count, width = encoding.tokens.shape
        dtype = str(encoding.tokens.dtype).removeprefix("torch.")
        details = f"{count} tokens of {width}, {dtype}, {encoding.fit}, {encoding.combine}"
        print(f"for {encoding.file or 'an adapter'} ({encoding.kind}, {encoding.adapter[:12]}): {details}")
    if args.pictures is not None:
        args.pictures.mkdir(parents=True, exist_ok=True)
        for number in range(len(card.pictures)):
            file = args.pictures / f"{args.card.stem}-{number + 1}.png"
            card.picture(number).save(file)
            print(file)
    return 0


def pairs(adapters: Sequence[Path], encoders: Sequence[Path]) -> list[ModelPair]:
    """Pair each adapter with the first encoder that fits it; without any, the small world's. Raises Refused."""
    from lib_anyms.ip_adapter.checkpoint import read_adapter
    from lib_anyms.ip_adapter.encoder import read_encoder
    from lib_anyms.ip_adapter.tokens import check_pair
    from lib_anyms.models.model_files import ModelPair
    from lib_anyms.standalone.bundle import ADAPTERS, ENCODER, sprites_folder

    if bool(adapters) != bool(encoders):
        option, lacking = ("--adapter", "--encoder") if adapters else ("--encoder", "--adapter")
        raise Refused("cli_needs", option=option, got=f"no {lacking}", expected=f"{lacking} FILE")
    if not adapters:
        folder = sprites_folder(Environment(find_home(), say=print).models())
        adapters = [path for name in ADAPTERS.values() if (path := folder / name).is_file()]
        encoders = [folder / ENCODER]
    read_encoders = [read_encoder(path) for path in encoders]
    models = []
    for adapter in map(read_adapter, adapters):
        fitting = [one for one in read_encoders if one.width_for(adapter.kind) == adapter.encoder_width]
        encoder = fitting[0] if fitting else read_encoders[0]  # check_pair then refuses it with the reason
        check_pair(adapter, encoder)
        models.append(ModelPair(adapter, encoder))
    return models

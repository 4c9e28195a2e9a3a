"""`python -m lib_anyms demo`: reference pictures + boxes + prompt in, a picture out, on diffusers.

Writes picture.png, layout.png (boxes and names drawn on it), sheet.png (what went in and what came out) and
result.json. With a real SDXL checkpoint, adapter and encoder the same command makes real pictures on a GPU; without,
the trained small world "sprites" shows what AnyMS does, on any computer. Importing this needs the standard library
only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_anyms import __version__
from lib_anyms.errors import Refused
from lib_anyms.layout.fields import REQUEST_FIELDS, Field
from lib_anyms.standalone.environment import Environment, find_home
from lib_anyms.standalone.subjects import FORM, parse_subject, place_subjects, read_bytes

if TYPE_CHECKING:
    from lib_anyms.job.request import Pictures, Request
    from lib_anyms.standalone.generate import Generated, Models

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
FILES = ("adapter", "encoder")  # settings that are paths here and names in a WebUI


@dataclass(frozen=True)
class Preset:
    """What is said of a model before it runs, and the values of options that are not given."""

    said: str
    steps: int
    guidance: float
    scale: float


SPRITES, RANDOM, OWN = "sprites", "random", "own"
PRESETS = {
    SPRITES: Preset(
        "The model is this project's small world: it knows flat drawn figures, nothing else. For all else see --checkpoint.",
        20,
        4.0,
        2.0,
    ),
    RANDOM: Preset(
        "The model has random weights: the picture shows that everything runs, not what AnyMS can do. See --checkpoint.",
        8,
        5.0,
        0.6,
    ),
    OWN: Preset("", 30, 5.0, 0.6),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the demo; those of the request come from its field table."""
    add = parser.add_argument
    add("--out", type=Path, default=Path("anyms-out"), metavar="DIR", help="folder to write to (default ./anyms-out)")
    add("--prompt", help="text of the picture")
    add("--negative", default="", help="text to keep out of the picture")
    add(
        "--subject",
        action="append",
        default=[],
        metavar=f'"{FORM}"',
        help="repeatable, back to front; box in fractions 0..1; FILE is a picture or a subject card",
    )
    add(
        "--layout",
        type=Path,
        metavar="FILE",
        help="layout JSON whose N-th subject is the N-th --subject, then without @box",
    )
    add("--seed", type=int, help="of the noise (default 0; the bundled scene has one of its own)")
    add("--steps", type=int, help=_defaults("steps"))
    add("--size", metavar="N|WxH", help="pixels, multiples of 8 (default: what the model was made for, 1024 or 256)")
    add("--guidance", type=float, help=f"classifier-free guidance scale ({_defaults('guidance')})")
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="SDXL checkpoint, .safetensors (default: the small world)"
    )
    model.add_argument(
        "--random", action="store_true", help="a tiny SDXL with random weights: shows only that everything runs"
    )
    for name in FILES:
        add(f"--{name}", type=Path, metavar="FILE", help=f"the {name}'s file, with --checkpoint")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    add("--dtype", default="auto", choices=DTYPES, help="default float16 on a GPU, float32 on the CPU")
    for row in REQUEST_FIELDS:
        if row.name not in ("enabled", *FILES):
            _add_field(parser, row)


def _defaults(option: str) -> str:
    return "default {}, with the sprites {}".format(*(f"{getattr(PRESETS[kind], option):g}" for kind in (OWN, SPRITES)))


def _add_field(parser: argparse.ArgumentParser, row: Field) -> None:
    described = f"{row.help} (default {row.default})"
    if row.name == "scale":
        parser.add_argument("--scale", type=float, help=f"{row.help} ({_defaults('scale')})")
    elif row.choices:
        parser.add_argument(f"--{row.name}", default=row.default, choices=row.choices, help=described)
    else:
        parser.add_argument(f"--{row.name}", default=row.default, type=float, help=described)


def run(args: argparse.Namespace) -> int:
    """Make the picture -> exit code. Raises Refused and SteppedAside; nothing is written then."""
    kind = _kind(args)
    if said := PRESETS[kind].said:
        print(said, flush=True)
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read when they are imported
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    from lib_anyms.standalone.drawing import draw_layout, draw_sheet
    from lib_anyms.standalone.generate import generate

    models = _models(args, kind)
    _fill(args, PRESETS[kind], models)
    request, prompt = _request(args)
    started = time.perf_counter()
    made = generate(
        models,
        request,
        prompt,
        args.negative,
        args.seed,
        _steps(args),
        _size(args),
        args.guidance,
        args.device,
        args.dtype,
    )
    seconds = time.perf_counter() - started
    args.out.mkdir(parents=True, exist_ok=True)
    made.picture.save(args.out / "picture.png")
    assert request.layout is not None
    draw_layout(made.picture, request.layout).save(args.out / "layout.png")
    draw_sheet(_looks(request), request.layout, made.picture).save(args.out / "sheet.png")
    result = _result(args, kind, request, made, prompt, seconds)
    (args.out / "result.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{args.out / 'picture.png'}  {made.layers} layers in each of {made.calls} UNet calls, {seconds:.1f} s")
    return 0


def _looks(request: Request) -> Pictures:
    """What the subjects look like: a card's own pictures where one stands for them."""
    cards = [
        () if card is None else tuple(card.picture(n) for n in range(len(card.pictures))) for card in request.cards
    ]
    return tuple(pictures or shown for pictures, shown in zip(request.pictures, cards))


def _kind(args: argparse.Namespace) -> str:
    """Which of PRESETS."""
    if args.checkpoint is not None:
        return OWN
    return RANDOM if args.random else SPRITES


def _fill(args: argparse.Namespace, preset: Preset, models: Models) -> None:
    """Give the options that were not given the values of the model, or of the scene."""
    from lib_anyms.standalone import default_scene
    from lib_anyms.standalone.pipeline import read_checkpoint

    for name in ("steps", "guidance", "scale"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(preset, name))
    if args.seed is None:
        args.seed = 0 if args.subject else default_scene.SEED
    if args.size is None:
        args.size = str(read_checkpoint(models.checkpoint).structure.native_size)


def _models(args: argparse.Namespace, kind: str) -> Models:
    from lib_anyms.standalone.bundle import sprites_models
    from lib_anyms.standalone.generate import Models, random_models

    if kind != OWN:
        stray = [f"--{name}" for name in FILES if getattr(args, name) is not None]
        if stray:
            raise Refused("cli_needs", option=stray[0], got="no --checkpoint", expected="--checkpoint FILE")
        made = Environment(find_home(), say=print).models()
        return random_models(made / "random") if kind == RANDOM else sprites_models(made)
    cards = [parse_subject(text).card for text in args.subject]
    encodes = not cards or None in cards
    lacking = [f"--{name}" for name in FILES if getattr(args, name) is None and (encodes or name != "encoder")]
    if lacking:
        raise Refused("cli_needs", option="--checkpoint", got=f"no {lacking[0]}", expected=f"{lacking[0]} FILE")
    for path in (args.checkpoint, args.adapter, args.encoder):
        if path is not None and not path.is_file():
            raise Refused("cli_file", path=path, got="there is no such file")
    return Models(args.checkpoint, args.adapter, args.encoder)


def _request(args: argparse.Namespace) -> tuple[Request, str]:
    from lib_anyms.cards.library import read_file
    from lib_anyms.ip_adapter.references import read_picture
    from lib_anyms.job.request import Request
    from lib_anyms.standalone import default_scene

    settings = {row.name: getattr(args, row.name) for row in REQUEST_FIELDS if row.name not in ("enabled", *FILES)}
    if not args.subject:
        if args.layout is not None:
            raise Refused("cli_needs", option="--layout", got="no --subject", expected="a --subject NAME=FILE for each")
        return Request(default_scene.LAYOUT, default_scene.pictures(), **settings), args.prompt or default_scene.PROMPT
    subjects = [parse_subject(text) for text in args.subject]
    layout = place_subjects(subjects, args.layout)
    cards = tuple(read_file(subject.card) if subject.card else None for subject in subjects)
    pictures = tuple(
        () if subject.card else tuple(read_picture(read_bytes(file), subject.name) for file in subject.files)
        for subject in subjects
    )
    return Request(layout, pictures, cards=cards, **settings), args.prompt or ", ".join(
        subject.name for subject in subjects
    )


def _steps(args: argparse.Namespace) -> int:
    if not 1 <= args.steps <= 1000:
        raise Refused("field_range", field="--steps", got=args.steps, low=1, high=1000)
    return int(args.steps)


def _size(args: argparse.Namespace) -> tuple[int, int]:
    """(width, height) in pixels."""
    numbers = args.size.lower().split("x")
    if len(numbers) > 2 or not all(
        number.isdigit() and int(number) % 8 == 0 and 64 <= int(number) <= 4096 for number in numbers
    ):
        raise Refused("cli_size", got=args.size)
    return int(numbers[0]), int(numbers[-1])


def _result(
    args: argparse.Namespace, kind: str, request: Request, made: Generated, prompt: str, seconds: float
) -> dict[str, Any]:
    packages = {name: version(name) for name in ("torch", "diffusers", "transformers")}
    return {
        "seed": args.seed,
        "seconds": round(seconds, 2),
        "versions": {"anyms": __version__, "python": platform.python_version(), **packages},
        "command": shlex.join(["python", "-m", "lib_anyms", *sys.argv[1:]]),
        "model": kind,
        "prompt": prompt,
        "negative": args.negative,
        "steps": _steps(args),
        "size": list(made.picture.size),
        "device": made.device,
        "layers": made.layers,
        "unet_calls": made.calls,
        "request": request.to_json(),
    }

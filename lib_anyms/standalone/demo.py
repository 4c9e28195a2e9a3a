"""`python -m lib_anyms demo`: make a picture from reference pictures, boxes and a prompt, on diffusers.

Writes picture.png, layout.png (the boxes drawn on it), sheet.png (references, boxes, picture) and result.json.
With an SDXL checkpoint, an adapter and its encoder it makes real pictures on a GPU. Without them it uses the bundled
small world "sprites", on any computer. Importing this module needs the standard library only.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_anyms import __version__
from lib_anyms.errors import Refused
from lib_anyms.layout.fields import REQUEST_FIELDS, SECOND_LOOK, Field
from lib_anyms.layout.layout import Layout
from lib_anyms.standalone.environment import Environment, find_home
from lib_anyms.standalone.sampling import Sampling
from lib_anyms.standalone.subjects import (
    FORM,
    parse_subject,
    place_subjects,
    read_bytes,
    silhouette_files,
    with_prompts,
)

if TYPE_CHECKING:
    from lib_anyms.job.request import Pictures, Request
    from lib_anyms.standalone.generate import Generated, Models

DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
FILES = ("adapter", "encoder")  # settings that are paths here and names in a WebUI
NOT_OPTIONS = ("enabled", *FILES, SECOND_LOOK)  # there are no other extensions here


@dataclass(frozen=True)
class Preset:
    """A model's notice, printed before it runs, and its default options."""

    notice: str
    steps: int
    guidance: float
    scale: float
    fade: float = 1.0


SPRITES, RANDOM, OWN = "sprites", "random", "own"
PRESETS = {
    SPRITES: Preset(
        "The model is this project's small world: it draws flat figures only. For other pictures use --checkpoint.",
        20,
        4.0,
        2.0,
        0.5,
    ),
    RANDOM: Preset(
        "The model has random weights: the picture only shows that all parts run. For real pictures use --checkpoint.",
        8,
        5.0,
        0.6,
    ),
    OWN: Preset("", 30, 5.0, 0.6),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options; those of the request come from REQUEST_FIELDS."""
    add = parser.add_argument
    add("--out", type=Path, default=Path("anyms-out"), metavar="DIR", help="folder to write to (default ./anyms-out)")
    add("--prompt", help="what the picture shows")
    add("--negative", default="", help="what the picture must not show")
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
        help="layout JSON; its N-th subject is the N-th --subject, which then has no @box",
    )
    add("--seed", type=int, help="seed of the noise (default 0, or the bundled scene's)")
    add("--steps", type=int, help=_defaults("steps"))
    add("--size", metavar="N|WxH", help="pixels, multiples of 8 (default: the model's native size, 1024 or 256)")
    add("--guidance", type=float, help=f"classifier-free guidance scale ({_defaults('guidance')})")
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="SDXL checkpoint, .safetensors (default: the small world)"
    )
    model.add_argument(
        "--random", action="store_true", help="use a tiny SDXL with random weights: shows only that everything runs"
    )
    for name in FILES:
        add(f"--{name}", type=Path, metavar="FILE", help=f"file of the {name}, with --checkpoint")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    add("--dtype", default="auto", choices=DTYPES, help="default float16 on a GPU, float32 on the CPU")
    for name, replaced in (("prompt", "--prompt"), ("avoid", "--negative")):
        described = f"text that replaces {replaced} in the box of subject NAME; repeat it"
        add(f"--subject-{name}", action="append", default=[], metavar="NAME=TEXT", help=described)
    described = "mask of the whole image, white where subject NAME is, within its box; repeat it"
    add("--subject-silhouette", action="append", default=[], metavar="NAME=FILE", help=described)
    for field in REQUEST_FIELDS:
        if field.name not in NOT_OPTIONS:
            _add_field(parser, field)


def _defaults(option: str) -> str:
    own, sprites = getattr(PRESETS[OWN], option), getattr(PRESETS[SPRITES], option)
    return f"default {own:g}, with the sprites {sprites:g}"


def _add_field(parser: argparse.ArgumentParser, field: Field) -> None:
    described = f"{field.help} (default {field.default})"
    if field.name in ("scale", "fade"):
        parser.add_argument(f"--{field.name}", type=float, help=f"{field.help} ({_defaults(field.name)})")
    elif field.choices:
        parser.add_argument(f"--{field.name}", default=field.default, choices=field.choices, help=described)
    else:
        parser.add_argument(f"--{field.name}", default=field.default, type=type(field.default), help=described)


def run(args: argparse.Namespace) -> int:
    """Make the picture -> exit code. Raises Refused and SteppedAside, with nothing written."""
    kind = _kind(args)
    if PRESETS[kind].notice:
        print(PRESETS[kind].notice, flush=True)
    from lib_anyms.standalone.generate import generate

    models = _models(args, kind)
    _fill_defaults(args, PRESETS[kind], models)
    request, prompt = _request(args)
    sampling = Sampling(_seed(args), _steps(args), args.guidance, _size(args), args.negative, args.device, args.dtype)
    started = time.perf_counter()
    generated = generate(models, request, prompt, sampling)
    seconds = time.perf_counter() - started
    result = _result(args, kind, request, generated, prompt, seconds)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "result.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _save_pictures(args.out, request, generated)
    calls = f"{generated.layers} layers in each of {generated.calls} UNet calls"
    print(f"{args.out / 'picture.png'}  {calls}, {seconds:.1f} s")
    return 0


def _save_pictures(folder: Path, request: Request, generated: Generated) -> None:
    from lib_anyms.standalone.drawing import draw_layout, draw_sheet

    assert request.layout is not None
    generated.picture.save(folder / "picture.png")
    draw_layout(generated.picture, request.layout).save(folder / "layout.png")
    draw_sheet(_references(request), request.layout, generated.picture).save(folder / "sheet.png")


def _references(request: Request) -> Pictures:
    """The subjects' reference pictures; for a subject with a card, the card's pictures."""
    references = []
    for pictures, card in zip(request.pictures, request.cards):
        if card is not None:
            pictures = tuple(card.picture(number) for number in range(len(card.pictures)))
        references.append(pictures)
    return tuple(references)


def _kind(args: argparse.Namespace) -> str:
    """A key of PRESETS."""
    if args.checkpoint is not None:
        return OWN
    return RANDOM if args.random else SPRITES


def _fill_defaults(args: argparse.Namespace, preset: Preset, models: Models) -> None:
    """Fill absent options from the model's preset, or from the bundled scene."""
    from lib_anyms.standalone import default_scene
    from lib_anyms.standalone.pipeline import read_checkpoint

    for name in ("steps", "guidance", "scale", "fade"):
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
        folder = Environment(find_home(), say=print).models()
        return random_models(folder / "random") if kind == RANDOM else sprites_models(folder)
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

    names = [field.name for field in REQUEST_FIELDS if field.name not in NOT_OPTIONS]
    settings = {name: getattr(args, name) for name in names}
    if not args.subject:
        if args.layout is not None:
            raise Refused("cli_needs", option="--layout", got="no --subject", expected="a --subject NAME=FILE for each")
        layout = _described(default_scene.LAYOUT, args)
        return Request(layout, default_scene.pictures(), **settings), args.prompt or default_scene.PROMPT
    subjects = [parse_subject(text) for text in args.subject]
    layout = _described(place_subjects(subjects, args.layout), args)
    cards, pictures = [], []
    for subject in subjects:
        files = () if subject.card else subject.files
        cards.append(read_file(subject.card) if subject.card else None)
        pictures.append(tuple(read_picture(read_bytes(file), subject.name) for file in files))
    prompt = args.prompt or ", ".join(subject.name for subject in subjects)
    return Request(layout, tuple(pictures), cards=tuple(cards), **settings), prompt


def _described(layout: Layout, args: argparse.Namespace) -> Layout:
    """`layout` with each subject's own prompts and silhouette. Raises Refused."""
    from lib_anyms.job.pictures import PictureReader

    layout = with_prompts(layout, "prompt", args.subject_prompt)
    layout = with_prompts(layout, "avoid", args.subject_avoid)
    files, reader, subjects = silhouette_files(layout, args.subject_silhouette), PictureReader(), []
    for subject in layout.subjects:
        file = files.get(subject.name)
        mask = None if file is None else reader.silhouette(read_bytes(file), subject.name)
        subjects.append(replace(subject, silhouette=mask))
    return Layout(tuple(subjects))


def _steps(args: argparse.Namespace) -> int:
    if not 1 <= args.steps <= 1000:
        raise Refused("field_range", field="--steps", got=args.steps, low=1, high=1000)
    return int(args.steps)


def _seed(args: argparse.Namespace) -> int:
    if not 0 <= args.seed < 2**63:
        raise Refused("field_range", field="--seed", got=args.seed, low=0, high=2**63 - 1)
    return int(args.seed)


def _size(args: argparse.Namespace) -> tuple[int, int]:
    """(width, height) in pixels."""
    numbers = args.size.lower().split("x")
    if len(numbers) > 2 or not all(map(_is_side, numbers)):
        raise Refused("cli_size", got=args.size)
    return int(numbers[0]), int(numbers[-1])


def _is_side(number: str) -> bool:
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        return False
    return int(number) % 8 == 0 and 64 <= int(number) <= 4096


def _result(
    args: argparse.Namespace, kind: str, request: Request, generated: Generated, prompt: str, seconds: float
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
        "size": list(generated.picture.size),
        "device": generated.device,
        "layers": generated.layers,
        "unet_calls": generated.calls,
        "request": request.to_json(),
    }

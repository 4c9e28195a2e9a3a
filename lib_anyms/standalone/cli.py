"""The command line: choose the command and its Python. Standard library only until the environment exists."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from lib_anyms import __version__
from lib_anyms.errors import AnyMSError, Refused, SteppedAside
from lib_anyms.standalone.environment import Environment, find_home, missing
from lib_anyms.standalone.processes import INSIDE, enter

PROGRAM = "python -m lib_anyms"
REFUSED, INTERRUPTED = 2, 130  # exit codes

_ABOUT = f"""\
AnyMS without a WebUI: make a picture from reference pictures and boxes, and test this checkout.
`{PROGRAM} COMMAND --help` lists a command's options.

The first run sets up a separate Python environment, some GB in the user's cache:
  ANYMS_HOME            its folder (now: {{home}})
  PIP_EXTRA_INDEX_URL   like all of pip's variables: for example an index of torch's CPU wheels (smaller) or CUDA wheels
  --here                after the command: use the running Python and install nothing
"""


@dataclass(frozen=True)
class Command:
    """A command: a module with `add_arguments(parser)` and `run(args)`, and the package set that it needs, if any."""

    help: str
    module: str
    packages: str = ""
    passes_on: bool = False  # put unknown arguments into args.rest


COMMANDS = {
    "demo": Command("make a picture and write it to a folder", "lib_anyms.standalone.demo", "demo"),
    "card": Command("save a subject as one small file, or show one", "lib_anyms.standalone.commands.card", "demo"),
    "cut": Command("cut a subject out of a picture", "lib_anyms.standalone.commands.cut", "demo"),
    "train": Command("train the small world that measures layouts", "lib_anyms.lab.commands.train", "lab"),
    "evaluate": Command("measure how well layouts hold", "lib_anyms.lab.commands.evaluate", "lab"),
    "bench": Command("measure time and memory of AnyMS", "lib_anyms.lab.commands.bench", "lab"),
    "sprites": Command("write the trained small world's files to a folder", "lib_anyms.standalone.commands.sprites"),
    "test": Command("check and test this checkout", "lib_anyms.standalone.commands.test", "test", passes_on=True),
    "stamp": Command("stamp the page's JavaScript after a change", "lib_anyms.standalone.commands.stamp"),
    "clean": Command("remove the environment of the other commands", "lib_anyms.standalone.commands.clean"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command (default: the arguments of this process) -> exit code. A refusal is one sentence on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in COMMANDS:
            return _run(words[0], words[1:])
        parser = _parser()
        parser.parse_args(words)
        parser.print_help()
        return 0
    except SteppedAside as reason:  # a WebUI makes the image without AnyMS; a command makes none
        print(str(reason).replace("the image was made without AnyMS", "no image was made"), file=sys.stderr)
        return REFUSED
    except AnyMSError as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("AnyMS: interrupted.", file=sys.stderr)
        return INTERRUPTED


def say(line: str) -> None:
    """Report progress of the set-up on stderr; stdout belongs to the command."""
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    about = _ABOUT.format(home=find_home())
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"AnyMS {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help)
    return parser


def _run(name: str, arguments: list[str]) -> int:
    command = COMMANDS[name]
    module = import_module(command.module)
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {name}", description=module.__doc__, allow_abbrev=False)
    if command.packages:
        parser.add_argument("--here", action="store_true", help="use the running Python and install nothing")
    module.add_arguments(parser)
    args = _parse(parser, arguments, command.passes_on)
    if not command.packages:
        return _call(module.run, args)
    if args.here or os.environ.get(INSIDE):
        if lacking := missing(command.packages):
            raise Refused("packages_missing", got=", ".join(lacking))
        return _call(module.run, args)
    python = Environment(find_home(), say).ensure(command.packages)
    return enter(python, [name, *arguments])


def _parse(parser: argparse.ArgumentParser, arguments: list[str], passes_on: bool) -> argparse.Namespace:
    if not passes_on:
        return parser.parse_args(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    args, rest = parser.parse_known_args(arguments[:end])
    args.rest = rest + arguments[end + 1 :]
    return args


def _call(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    os.environ["HF_HUB_OFFLINE"] = "1"
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # they read it at import
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    return run(args)

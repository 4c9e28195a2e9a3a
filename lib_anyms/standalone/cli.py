"""The command line: what to run, and in which Python. Standard library only until the environment exists."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from lib_anyms import __version__
from lib_anyms.errors import AnyMSError, Refused
from lib_anyms.standalone.environment import Environment, find_home, missing
from lib_anyms.standalone.processes import INSIDE, enter

PROGRAM = "python -m lib_anyms"
REFUSED, INTERRUPTED = 2, 130  # exit codes

_ABOUT = f"""\
Without a WebUI: a picture from reference pictures and boxes, and the tests of this checkout.
`{PROGRAM} COMMAND --help` tells each command's options.

The first run sets up a Python environment of its own, some GB in the user's cache:
  ANYMS_HOME            another place for it (now: {{home}})
  PIP_EXTRA_INDEX_URL   as all of pip's own variables: e.g. an index with torch's CPU wheels (smaller) or CUDA wheels
  --here                after the command: use the Python this runs in, install nothing
"""


@dataclass(frozen=True)
class Command:
    """A sub-command: the module with its `add_arguments(parser)` and `run(args)`, and the set of packages it needs, if
    any.
    """

    help: str
    module: str
    wanted: str = ""
    passes_on: bool = False  # what its parser does not know goes to args.rest


COMMANDS = {
    "demo": Command("make a picture and write it to a folder", "lib_anyms.standalone.demo", "demo"),
    "card": Command("save a subject as one small file, or look at one", "lib_anyms.standalone.commands.card", "demo"),
    "cut": Command("cut a subject out of a picture", "lib_anyms.standalone.commands.cut", "demo"),
    "train": Command("train the small world that measures layouts", "lib_anyms.lab.commands.train", "demo"),
    "evaluate": Command("measure how well layouts hold", "lib_anyms.lab.commands.evaluate", "demo"),
    "bench": Command("measure what AnyMS costs", "lib_anyms.lab.commands.bench", "demo"),
    "sprites": Command(
        "write the files of the trained small world to a folder", "lib_anyms.standalone.commands.sprites"
    ),
    "test": Command("check and test this checkout", "lib_anyms.standalone.commands.test", "test", passes_on=True),
    "clean": Command("remove the environment that the other commands set up", "lib_anyms.standalone.commands.clean"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's own) -> exit code; a refusal is one sentence on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in COMMANDS:
            return _run(given[0], given[1:])
        parser = _parser()
        parser.parse_args(given)
        parser.print_help()
        return 0
    except AnyMSError as refusal:
        print(refusal, file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("AnyMS: interrupted.", file=sys.stderr)
        return INTERRUPTED


def say(line: str) -> None:
    """Tell the user how the set-up goes, beside whatever the command writes to stdout."""
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


def _run(name: str, given: list[str]) -> int:
    command = COMMANDS[name]
    module = import_module(command.module)
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {name}", description=module.__doc__, allow_abbrev=False)
    if command.wanted:
        parser.add_argument("--here", action="store_true", help="use the Python this runs in, install nothing")
    module.add_arguments(parser)
    args = _parse(parser, given, command.passes_on)
    if not command.wanted:
        return _call(module.run, args)
    if args.here or os.environ.get(INSIDE):
        if lacking := missing(command.wanted):
            raise Refused("packages_missing", got=", ".join(lacking))
        return _call(module.run, args)
    python = Environment(find_home(), say).ensure(command.wanted)
    return enter(python, [name, *given])


def _parse(parser: argparse.ArgumentParser, given: list[str], passes_on: bool) -> argparse.Namespace:
    if not passes_on:
        return parser.parse_args(given)
    own = given.index("--") if "--" in given else len(given)
    args, rest = parser.parse_known_args(given[:own])
    args.rest = rest + given[own + 1 :]
    return args


def _call(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    os.environ["HF_HUB_OFFLINE"] = "1"
    return run(args)

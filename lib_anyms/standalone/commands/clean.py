"""Remove the environment of `python -m lib_anyms`, and nothing else."""

from __future__ import annotations

import argparse

from lib_anyms.standalone.environment import Environment, find_home


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`clean` has no options."""


def run(args: argparse.Namespace) -> int:
    """Remove it and print its size -> exit code. Raises Refused if the folder is not ours."""
    home = find_home()
    freed = Environment(home, print).clean()
    print(f"AnyMS: {freed:.0f} MB freed in {home}.")
    return 0

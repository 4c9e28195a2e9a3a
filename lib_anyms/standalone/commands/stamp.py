"""`python -m lib_anyms stamp`: write the stamp of the page's JavaScript into its imports.

Run it after every change below javascript/. Importing this needs the standard library only.
"""

from __future__ import annotations

import argparse

from lib_anyms import stamp


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`stamp` has no options."""


def run(args: argparse.Namespace) -> int:
    """Rewrite every `?v=` in javascript/ -> exit code."""
    changed = stamp.write_marks(stamp.JAVASCRIPT)
    print(f"AnyMS: the page's stamp is {stamp.page_stamp(stamp.JAVASCRIPT)}. Changed files: {len(changed)}.")
    return 0

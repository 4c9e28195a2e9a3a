"""Small random SDXL files, written once per test run."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from lib_anyms.standalone.random_sdxl import RandomFiles, write_random_sdxl
from lib_anyms.standalone.structure import SMALL, Structure

_folder = tempfile.TemporaryDirectory(prefix="anyms-tests-")


@cache
def random_files(structure: Structure = SMALL) -> RandomFiles:
    return write_random_sdxl(Path(_folder.name) / f"structure-{abs(hash(structure.to_json()))}", structure)

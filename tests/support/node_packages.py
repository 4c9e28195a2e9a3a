"""The npm packages of the page's tests, at fixed versions. Downloaded below ANYMS_HOME, where `clean` removes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lib_anyms.standalone.environment import Environment, find_home
from tests.support.programs import find_program

PACKAGES = {"axe-core": "4.11.0", "typescript": "5.9.3"}
_INSTALL = ("install", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--ignore-scripts")


class Unavailable(Exception):
    """The download failed: tests that need the packages cannot run here."""


def packages() -> Path:
    """The folder with the packages; downloads them if needed. Raises Unavailable."""
    home = Environment(find_home(), print)
    home.models()  # marks the folder as made by AnyMS
    folder = home.venv / "pages" / "node"
    versions = " ".join(f"{name}@{version}" for name, version in PACKAGES.items())
    stamp = folder / "anyms.stamp"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == versions):
        npm = find_program("npm", "npm")
        if npm is None:
            raise Unavailable(f"no npm to download {versions} with")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, *_INSTALL, "--prefix", str(folder), *versions.split()]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if result.returncode:
            output = (result.stderr or result.stdout).strip()
            raise Unavailable(f"npm could not download {versions}: {output[-300:]}")
        stamp.write_text(versions, encoding="utf-8")
    return folder / "node_modules"

"""What the page's tests need of npm, one version each: fetched below ANYMS_HOME, where `clean` removes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lib_anyms.standalone.environment import Environment, find_home
from tests.support.programs import find_program

PACKAGES = {"axe-core": "4.11.0", "typescript": "5.9.3"}
_INSTALL = ("install", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--ignore-scripts")


class Unavailable(Exception):
    """They could not be fetched: the tests that need them cannot run here."""


def packages() -> Path:
    """The folder with the packages in it, fetched if need be."""
    home = Environment(find_home(), print)
    home.models()  # says that the folder is ours
    folder = home.venv / "pages" / "node"
    wanted = " ".join(f"{name}@{version}" for name, version in PACKAGES.items())
    stamp = folder / "anyms.stamp"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        npm = find_program("npm", "npm")
        if npm is None:
            raise Unavailable(f"no npm to fetch {wanted} with")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, *_INSTALL, "--prefix", str(folder), *wanted.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise Unavailable(f"npm could not fetch {wanted}: {(done.stderr or done.stdout).strip()[-300:]}")
        stamp.write_text(wanted, encoding="utf-8")
    return folder / "node_modules"

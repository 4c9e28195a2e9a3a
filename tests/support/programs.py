"""Find programs that the tests need beside Python; in CI, apt installs missing ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

_MINUTES = 10
_SHELL, _CHROMIUM = "chromium-headless-shell", "chromium"
_UPDATE, _INSTALL = ("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends")


def find_program(name: str, package: str) -> str | None:
    """Path of the program; None if it is missing and could not be installed."""
    if shutil.which(name) is None and os.environ.get("CI") == "true" and shutil.which("apt-get"):
        _update_lists()
        subprocess.run((*_INSTALL, package), check=False, capture_output=True, timeout=60 * _MINUTES)
    return shutil.which(name)


@cache
def _update_lists() -> None:
    """Download apt's lists of packages: once, whatever is installed then."""
    subprocess.run(_UPDATE, check=False, capture_output=True, timeout=60 * _MINUTES)


def find_browser() -> str | None:
    """Path of ANYMS_CHROMIUM, else of the shell without windows, which opens pages faster, else of Chromium."""
    chosen = os.environ.get("ANYMS_CHROMIUM") or shutil.which(_SHELL)
    if chosen or (os.environ.get("CI") != "true" and shutil.which(_CHROMIUM)):
        return chosen or shutil.which(_CHROMIUM)
    return find_program(_SHELL, _SHELL) or find_program(_CHROMIUM, _CHROMIUM)

"""Find programs that the tests need beside Python; in CI, apt installs missing ones."""

from __future__ import annotations

import os
import shutil
import subprocess

_MINUTES = 10
_APT = (("apt-get", "update"), ("apt-get", "install", "-y", "--no-install-recommends"))


def find_program(name: str, package: str) -> str | None:
    """Path of the program; None if it is missing and could not be installed."""
    if shutil.which(name) is None and os.environ.get("CI") == "true" and shutil.which("apt-get"):
        update, install = _APT
        for command in (update, (*install, package)):
            subprocess.run(command, check=False, capture_output=True, timeout=60 * _MINUTES)
    return shutil.which(name)

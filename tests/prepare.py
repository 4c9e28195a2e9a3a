"""Install what the tests need besides Python packages: `python -m tests.prepare [PART ...]`.

Node and npm packages for the page's scripts; for the part `ui` also Chromium and the gradio environments. The fixtures
only look these up, so that no worker of pytest waits for an installer. Programs are installed in CI only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.support import node_packages
from tests.support.programs import find_browser, find_program
from tests.ui import gradios


def main(parts: Sequence[str]) -> int:
    """Install everything; an absent thing is reported, and its tests are skipped -> 0."""
    with ThreadPoolExecutor() as pool:  # the environments are created while apt and npm download
        environments = [pool.submit(prepare_environment, gradio) for gradio in gradios.CHOSEN if "ui" in parts]
        absent = prepare_scripts()
        if "ui" in parts and not find_browser():
            absent.append("no chromium")
        for environment in environments:
            absent += environment.result()
    print("\n".join(absent) or "everything is there")
    return 0


def prepare_scripts() -> list[str]:
    """Node and the npm packages -> what is absent."""
    absent = [] if find_program("node", "nodejs") else ["no node"]
    try:
        node_packages.packages()
    except node_packages.Unavailable as error:
        absent.append(str(error))
    return absent


def prepare_environment(gradio: str) -> list[str]:
    """The environment of a gradio -> why it is absent."""
    try:
        gradios.python_of(gradio)
    except gradios.Unavailable as error:
        return [str(error)]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The other processes of the command line: a logged installer, a Python to start from, and ourselves once more
elsewhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lib_anyms.errors import Refused

CHECKOUT = Path(__file__).resolve().parents[2]
INSIDE = "ANYMS_INSIDE"  # set for the process we start in our environment: it must not set one up again

Say = Callable[[str], None]

_PREFERRED = (3, 11)  # torch's CPU build is not to be had for every Python everywhere
_EVERY = 15.0  # seconds between two lines of progress
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")  # they would make pip install elsewhere


def run_logged(command: Sequence[str], log: Path, progress: Say) -> int:
    """Run `command` into `log`; every quarter of a minute `progress` gets the log's last line. -> exit code"""
    environ = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | {"PIP_USER": "0"}
    # close_fds=False: the child shares our lock (see lock.py); no other file of ours is inheritable.
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=environ, close_fds=False) as process,
    ):
        while True:
            try:
                return process.wait(_EVERY)
            except subprocess.TimeoutExpired:
                progress(" ".join(last_lines(log, 1))[:100])
            except BaseException:
                process.terminate()
                raise


def last_lines(log: Path, count: int) -> list[str]:
    """The last `count` lines of a log that are not blank."""
    return [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-count:]


def find_base(running: str = sys.executable, version: tuple[int, ...] = sys.version_info[:2]) -> str:
    """The Python a venv is made of: the running one if it is 3.11, else a 3.11 that can make one, else the running one."""
    name = ".".join(map(str, _PREFERRED))
    asked = ["py", f"-{name}"] if os.name == "nt" else [f"python{name}"]
    base = (None if version == _PREFERRED else _path_of(asked)) or _path_of([running])
    if base is None:
        raise Refused("venv_absent", python=running)
    return base


def _path_of(command: list[str]) -> str | None:
    """The full path of the Python that `command` starts, or None if it lacks what a venv needs."""
    program = shutil.which(command[0])
    if program is None:
        return None
    asked = [program, *command[1:], "-I", "-c", "import ensurepip, sys, venv; print(sys.executable)"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def inside_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for ourselves in our environment: this checkout and nothing else on the path, no network for models."""
    kept = {name: value for name, value in environ.items() if name != "PYTHONHOME"}
    return {**kept, "PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1", INSIDE: "1"}


def enter(python: Path, arguments: Sequence[str]) -> int:
    """Run `python -m lib_anyms` with `arguments` by another Python in the same folder -> its exit code, as a shell
    counts.
    """
    children: list[subprocess.Popen[bytes]] = []
    asked: list[bool] = []

    def terminate(*_: object) -> None:
        asked.append(True)
        for child in children:
            child.terminate()

    # Ctrl-C goes to both: the other one ends in its own way, and we wait for it (SIG_IGN it would inherit, a handler
    # not).
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        children.append(subprocess.Popen([str(python), "-m", "lib_anyms", *arguments], env=inside_environ(os.environ)))
        if asked:  # between the start and here
            terminate()
        code = children[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code

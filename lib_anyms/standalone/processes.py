"""The command line's other processes: a logged installer, a base Python, and the command line in the environment."""

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
INSIDE = "ANYMS_INSIDE"  # set for the process in our environment, which must not set one up again

Say = Callable[[str], None]

_PREFERRED = (3, 11)  # not every index has torch's CPU build for every Python
_EVERY = 15.0  # seconds between two lines of progress
# With these pip would install elsewhere.
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")


def run_logged(command: Sequence[str], log: Path, progress: Say) -> int:
    """Run `command` with its output in `log` -> exit code. `progress` gets the log's last line every 15 seconds."""
    environ = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | {"PIP_USER": "0"}
    # close_fds=False: the child inherits our lock (see lock.py). No other file of ours is inheritable.
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
    """The last `count` lines of a log, without blank ones."""
    return [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-count:]


def find_base(running: str = sys.executable, version: tuple[int, ...] = sys.version_info[:2]) -> str:
    """The Python to create a venv with: a 3.11 that can do it, else the running one. Raises Refused."""
    name = ".".join(map(str, _PREFERRED))
    preferred = ["py", f"-{name}"] if os.name == "nt" else [f"python{name}"]
    base = (None if version == _PREFERRED else _path_of(preferred)) or _path_of([running])
    if base is None:
        raise Refused("venv_absent", python=running)
    return base


def _path_of(command: list[str]) -> str | None:
    """The full path of the Python that `command` starts, or None if it cannot create a venv."""
    program = shutil.which(command[0])
    if program is None:
        return None
    probe = [program, *command[1:], "-I", "-c", "import ensurepip, sys, venv; print(sys.executable)"]
    answer = subprocess.run(probe, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def inside_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a process in our environment: only this checkout on the path, and no model from the network."""
    inherited = {name: value for name, value in environ.items() if name != "PYTHONHOME"}
    return {**inherited, "PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1", INSIDE: "1"}


def enter(python: Path, arguments: Sequence[str]) -> int:
    """Run `python -m lib_anyms` by another Python in this folder -> exit code; after a signal 128 + its number."""
    children: list[subprocess.Popen[bytes]] = []
    terminating: list[bool] = []

    def terminate(*_: object) -> None:
        terminating.append(True)
        for child in children:
            child.terminate()

    # Ctrl-C reaches both processes: the child stops by itself and we wait for it. The child would inherit SIG_IGN, but
    # it does not inherit a handler.
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        children.append(subprocess.Popen([str(python), "-m", "lib_anyms", *arguments], env=inside_environ(os.environ)))
        if terminating:  # a signal came before the child was in the list
            terminate()
        code = children[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code

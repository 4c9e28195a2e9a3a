"""A real host as a server process: found by environment variables, with a separate data folder, offline, on the CPU.

ANYMS_A1111_DIR, ANYMS_FORGE_DIR, ANYMS_REFORGE_DIR, ANYMS_FORGE_CLASSIC_DIR and ANYMS_FORGE_NEO_DIR name the hosts'
folders. Their Python is venv/ in there, or the file in the same variable ending in _PYTHON. Models, extensions,
settings and pictures are in the data folder, so the host's own folder does not change.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_anyms.standalone.processes import CHECKOUT
from tests.hosts.kinds import KINDS, Kind

START_SECONDS, STOP_SECONDS, JOB_SECONDS = 300, 20, 300
STARTED = "Startup time:"  # Forge answers before it can make a picture; all hosts print this when they can
EXTENSION = "sd-webui-anyms"

# The default preview downloads a model and, offline, fails the job.
SETTINGS = {"show_progress_type": "Approx cheap"}
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "COMMANDLINE_ARGS", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Place:
    """Where a host is installed."""

    name: str
    folder: Path
    python: Path

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]


def find(name: str) -> Place | str:
    """Find a host -> its place, or the reason to skip."""
    variable = f"ANYMS_{name.upper()}_DIR"
    folder_name = os.environ.get(variable)
    if not folder_name:
        return f"host: {variable} is not set"
    folder = Path(folder_name).absolute()
    scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    python = Path(os.environ.get(f"ANYMS_{name.upper()}_PYTHON") or folder / "venv" / scripts)
    for path in (folder / "launch.py", python):
        assert path.exists(), f"{variable}: there is no {path}"
    return Place(name, folder, python)


@dataclass(frozen=True)
class Answer:
    """The API's answer; `body` is parsed JSON."""

    status: int
    body: Any

    @property
    def sentence(self) -> str:
        """The message of a failure; hosts put it into different fields."""
        return self.body.get("errors") or self.body.get("message") or str(self.body)


class HostServer:
    """The process. `data` is its data folder, with models and extensions already in it."""

    def __init__(self, place: Place, data: Path, *flags: str) -> None:
        self.place = place
        self.data = data
        self.flags = flags
        self.log = data / "server.log"
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Wait until the host can make pictures. Fails with the end of its log."""
        kind = self.place.kind
        for name, content in (("config.json", {**SETTINGS, **kind.settings}), ("ui-config.json", kind.page)):
            if content and not (self.data / name).exists():
                (self.data / name).write_text(json.dumps(content), encoding="utf-8")
        command = [str(self.place.python), "launch.py", *kind.flags, "--data-dir", str(self.data)]
        # with a separate data folder Forge does not serve its own scripts
        command += [
            "--api",
            "--port",
            self.url.rpartition(":")[2],
            "--gradio-allowed-path",
            str(self.place.folder),
            *self.flags,
        ]
        with self.log.open("wb") as out:
            streams = {
                "stdin": subprocess.DEVNULL,
                "stdout": out,
                "stderr": out,
            }  # Forge Neo may wait for an answer on the console
            self._process = subprocess.Popen(
                command, cwd=self.place.folder, env=self._environ(), start_new_session=True, **streams
            )
        self.wait_for_start(1)

    def wait_for_start(self, times: int) -> None:
        """Wait until the host has started `times` times; "Reload UI" counts as a start."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not (self._log().count(STARTED) >= times and self._alive()):
            assert self._process.poll() is None, f"{self.place.name} ended at its start\n{self.tail()}"
            assert time.monotonic() < deadline, f"{self.place.name} did not start in {START_SECONDS} s\n{self.tail()}"
            time.sleep(0.5)

    def wait_for_end(self) -> None:
        """Wait for the end of the process, which something else stops."""
        assert self._process is not None
        self._process.wait(START_SECONDS)

    def stop(self) -> None:
        """End the process and its children."""
        if self._process is None:
            return
        for name in ("SIGTERM", "SIGKILL"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, getattr(signal, name))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
                break

    def get(self, path: str) -> Answer:
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: Any) -> Answer:
        head = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, json.dumps(body).encode(), head))

    def cpu_seconds(self) -> float:
        """CPU seconds of the process; 0 where the system does not report them."""
        assert self._process is not None
        stat = Path(f"/proc/{self._process.pid}/stat")
        if not stat.is_file():
            return 0.0
        fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system time

    def tail(self, lines: int = 40) -> str:
        """The end of the log, for messages of failed tests."""
        return f"--- the end of {self.place.name}'s log\n" + "\n".join(self._log().splitlines()[-lines:])

    def _ask(self, request: urllib.request.Request) -> Answer:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=JOB_SECONDS) as answer:
                return Answer(answer.status, json.load(answer))
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.loads(error.read() or b"null"))

    def _alive(self) -> bool:
        try:
            return self.get("/internal/ping").status == 200
        except OSError:
            return False

    def _log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.upper() not in _FOREIGN}
        ours = {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HOME": str(self.data / "huggingface"),
            "GRADIO_TEMP_DIR": str(self.data / "gradio"),
            "XDG_CACHE_HOME": str(self.data / "cache"),
            "OMP_NUM_THREADS": "1",  # for a small model, threads that wait for a busy core cost ten times the work
        }
        return kept | ours


def install_extension(data: Path) -> Path:
    """Copy this checkout into the data folder's extensions."""
    return copy_checkout(data / "extensions" / EXTENSION)


def copy_checkout(target: Path) -> Path:
    """The files of this checkout, committed or not, without ignored ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name)
    return target


def listing(folder: Path) -> dict[str, int]:
    """Every file of the host's folder with its time of change, without its Python and byte code."""
    times = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".git", "venv")]
        kept = [os.path.join(place, name) for name in names if not name.startswith("cache.db")]  # Forge classic's own
        times.update({path: os.lstat(path).st_mtime_ns for path in kept})
    return times


def free_port() -> int:
    """A free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

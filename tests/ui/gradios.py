"""The two gradios of the hosts, each in its own environment below ANYMS_HOME, and a server of tests/ui/page.py."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lib_anyms.standalone.environment import Environment, find_home

HERE = Path(__file__).parent
GRADIOS = ("gradio3", "gradio4")
# ANYMS_TEST_GRADIO limits the tests to one of them.
CHOSEN = tuple(name for name in GRADIOS if name == os.environ.get("ANYMS_TEST_GRADIO", name))
STARTS_WITHIN = 240  # seconds
_PIP = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")


class Unavailable(Exception):
    """The environment of a gradio could not be created: its tests cannot run here."""


def python_of(gradio: str) -> Path:
    """The Python of `gradio`'s environment, created if needed inside the folder that `clean` removes.

    Raises Unavailable.
    """
    requirements = HERE / f"{gradio}.txt"
    home = Environment(find_home(), print)
    home.models()  # marks the folder as made by AnyMS
    folder = home.venv / "pages" / gradio
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "anyms.stamp"
    expected = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == expected):
        for command in ([sys.executable, "-m", "venv", str(folder)], [str(python), *_PIP, "-r", str(requirements)]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unavailable(f"{gradio}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        stamp.write_text(expected, encoding="utf-8")
    return python


@dataclass
class Served:
    """A running page. It writes to `folder`, with its models below "models"."""

    gradio: str
    url: str
    process: subprocess.Popen[bytes]
    folder: Path

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def serve(gradio: str, log: Path, *options: str) -> Served:
    """Start the page in the log's folder and wait until it answers.

    Packages that the gradio's environment lacks come from this Python. Raises Unavailable, or RuntimeError if the page
    does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    quiet = {"GRADIO_ANALYTICS_ENABLED": "False", "OMP_NUM_THREADS": "1", "ANYMS_TEST_PATH": os.pathsep.join(folders)}
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | quiet
    command = [str(python_of(gradio)), str(HERE / "page.py"), str(port), *options]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environ, cwd=log.parent)
    served = Served(gradio, f"http://127.0.0.1:{port}/", process, log.parent)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.monotonic()
    while time.monotonic() - began < STARTS_WITHIN and process.poll() is None:
        try:
            with opener.open(served.url, timeout=10):
                return served
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    served.stop()
    raise RuntimeError(f"the page of {gradio} did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")

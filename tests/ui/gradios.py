"""The two gradios of the hosts, each in an environment of its own below ANYMS_HOME, and a server of tests/ui/page.py in
it.
"""

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
STARTS_WITHIN = 240  # seconds
_PIP = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")


class Unavailable(Exception):
    """An environment could not be made: the tests of that gradio cannot run here."""


def python_of(gradio: str) -> Path:
    """The Python of `gradio`'s environment, made if need be. It lies within the environment that `clean` removes."""
    requirements = HERE / f"{gradio}.txt"
    home = Environment(find_home(), print)
    home.models()  # says that the folder is ours
    folder = home.venv / "pages" / gradio
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = folder / "anyms.stamp", hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        for command in ([sys.executable, "-m", "venv", str(folder)], [str(python), *_PIP, "-r", str(requirements)]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Unavailable(f"{gradio}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        stamp.write_text(wanted, encoding="utf-8")
    return python


@dataclass
class Served:
    """A running page; `folder` is where it keeps what it writes, its models below "models"."""

    gradio: str
    url: str
    process: subprocess.Popen[bytes]
    folder: Path

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def serve(gradio: str, log: Path, *options: str) -> Served:
    """Start the page in the log's folder, wait until it answers.

    What that gradio's environment lacks this Python's has.
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

"""This checkout as a git remote on loopback, for a host's "Install from URL" and updates."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lib_anyms.standalone.processes import CHECKOUT
from tests.hosts.server import EXTENSION, copy_checkout, free_port

SECONDS = 20
_AUTHOR = ("-c", "user.name=AnyMS", "-c", "user.email=anyms@example.invalid")
_VERSION = re.compile(r'(?<=__version__ = ")[^"]+')


@dataclass(frozen=True)
class Remote:
    """A served bare repository. Commits of the clone `work` go to it."""

    url: str
    work: Path

    def publish(self, version: str) -> None:
        """Publish a commit that changes only the version."""
        source = self.work / "lib_anyms" / "__init__.py"
        source.write_text(_VERSION.sub(version, source.read_text(encoding="utf-8")), encoding="utf-8")
        _commit(self.work, version)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Remote]:
    """Serve this checkout at git://127.0.0.1, with its history and uncommitted changes as one more commit."""
    bare, work, port = folder / "served" / f"{EXTENSION}.git", folder / "work", free_port()
    git("clone", "--quiet", "--bare", "--no-hardlinks", str(CHECKOUT), str(bare))
    git("config", "uploadpack.allowFilter", "true", at=bare)  # hosts ask for blobs of one commit only, as GitHub allows
    git("clone", "--quiet", str(bare), str(work))
    copy_checkout(work)
    _commit(work, "what is not committed yet")
    command = ["git", "daemon", "--export-all", f"--base-path={bare.parent}", "--listen=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen([*command, str(bare.parent)], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for(port)
        yield Remote(f"git://127.0.0.1:{port}/{bare.name}", work)
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(SECONDS)


def git(*arguments: str, at: Path | None = None) -> str:
    """Run git -> its output. Fails with git's message."""
    done = subprocess.run(["git", *arguments], cwd=at, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {arguments[0]}: {done.stderr}"
    return done.stdout


def _commit(work: Path, message: str) -> None:
    git("add", "--all", at=work)
    git(*_AUTHOR, "commit", "--quiet", "--allow-empty", "--no-verify", "-m", message, at=work)
    git("push", "--quiet", "origin", "HEAD", at=work)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "git's daemon did not start"
            time.sleep(0.1)

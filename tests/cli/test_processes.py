"""The command line's other processes: the lock, the Python of a venv, and the environment variables of pip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib_anyms.errors import Refused
from lib_anyms.standalone.lock import only_one
from lib_anyms.standalone.processes import CHECKOUT, find_base, inside_environ, run_logged

posix = pytest.mark.skipif(os.name == "nt", reason="shell scripts")


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path; from lib_anyms.standalone.lock import only_one\n"
    hold += "with only_one(Path(sys.argv[1]), print): print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", hold, str(tmp_path / "lock")]
    waited: list[bool] = []
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with only_one(tmp_path / "lock", lambda: (waited.append(True), holder.kill()), poll=0.05):
            assert waited == [True]


@posix
def test_a_pip_left_behind_keeps_the_lock(tmp_path: Path) -> None:
    """Otherwise a second pip would install beside it."""
    begin = "import subprocess, sys, time; from pathlib import Path; from lib_anyms.standalone.lock import only_one\n"
    begin += "from lib_anyms.standalone.processes import run_logged\n"
    begin += "install = ['sh', '-c', 'echo $$ > pid; exec sleep 60']\n"
    begin += "with only_one(Path('lock'), print): run_logged(install, Path('log'), print)"
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen([sys.executable, "-c", begin], cwd=tmp_path, env=environ) as parent:
        pid = tmp_path / "pid"
        while not (pid.exists() and pid.read_text(encoding="utf-8").strip()):
            assert parent.poll() is None
        parent.kill()
    waited: list[bool] = []

    def end_pip() -> None:
        waited.append(True)
        os.kill(int(pid.read_text(encoding="utf-8")), 9)

    with only_one(tmp_path / "lock", end_pip, poll=0.05):
        assert waited == [True]


@posix
@pytest.mark.parametrize(
    ("works", "version", "expected"), [(1, (3, 12), "new"), (0, (3, 12), "own"), (1, (3, 11), "own")]
)
def test_python_3_11_is_preferred_if_it_can_make_a_venv(
    works: int, version: tuple[int, int], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"python3.11": f"echo new; exit {1 - works}", "own": "echo own"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_base(str(tmp_path / "own"), version) == expected


def test_a_python_that_cannot_make_a_venv_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused) as refusal:
        find_base(str(tmp_path / "absent"), (3, 12))
    assert refusal.value.cause == "venv_absent"


def test_pip_is_kept_from_installing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "the user's own")
    show = "import os; print({name: value for name, value in os.environ.items() if name.startswith('PIP_')})"
    assert run_logged([sys.executable, "-c", show], tmp_path / "log", print) == 0
    seen = (tmp_path / "log").read_text(encoding="utf-8")
    assert "PIP_TARGET" not in seen
    assert "'PIP_USER': '0'" in seen
    assert "the user's own" in seen


def test_the_environment_has_only_this_checkout_and_no_network_for_models() -> None:
    environ = inside_environ({"PYTHONPATH": "/foreign", "PYTHONHOME": "/foreign", "KEPT": "yes"})
    assert environ == {"PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1", "ANYMS_INSIDE": "1", "KEPT": "yes"}

"""`python -m lib_anyms` as a user meets it: other processes, exit codes, one sentence instead of a traceback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from lib_anyms import __version__
from lib_anyms.standalone import bundle
from lib_anyms.standalone.cli import COMMANDS, REFUSED, main
from lib_anyms.standalone.commands.test import CHECKS, CI_CHECKS, run_checks
from lib_anyms.standalone.processes import CHECKOUT, INSIDE, enter

posix = pytest.mark.skipif(os.name == "nt", reason="shell scripts and process groups")


def call(home: Path, *arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != INSIDE}
    environ |= {"ANYMS_HOME": str(home), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, *python, "-m", "lib_anyms", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_only_the_standard_library_is_imported_before_the_environment_exists(command: str) -> None:
    code = f"""
import sys
before = set(sys.modules)
sys.path.insert(0, {str(CHECKOUT)!r})
import lib_anyms.standalone.cli, {COMMANDS[command].module}
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(new - sys.stdlib_module_names - {{"lib_anyms"}}))
"""
    told = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []


def test_help_without_a_command(tmp_path: Path) -> None:
    told = call(tmp_path / "home")
    assert told.returncode == 0
    for word in (*COMMANDS, "ANYMS_HOME", "PIP_EXTRA_INDEX_URL", "--here", str(tmp_path / "home")):
        assert word in told.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"AnyMS {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["demo", "--no-such-option"], ["clean", "--here"], ["demo", "--her"]]
)
def test_what_is_not_understood_fails_before_anything_is_made(arguments: list[str], tmp_path: Path) -> None:
    told = call(tmp_path / "home", *arguments)
    assert told.returncode == 2
    assert arguments[-1] in told.stderr
    assert "Traceback" not in told.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["demo", "test"])
def test_here_names_what_is_missing(command: str, tmp_path: Path) -> None:
    told = call(tmp_path / "home", command, "--here", python=("-S",))
    assert told.returncode == REFUSED
    assert told.stdout == ""
    assert told.stderr.startswith("AnyMS: this Python lacks torch, ")
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_clean_of_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    told = call(tmp_path, "clean")
    assert told.returncode == REFUSED
    assert "AnyMS did not make" in told.stderr
    assert (tmp_path / "mine").exists()


def test_clean_of_nothing(tmp_path: Path) -> None:
    told = call(tmp_path / "home", "clean")
    assert (told.returncode, told.stdout) == (0, f"AnyMS: 0 MB freed in {tmp_path / 'home'}.\n")


def test_sprites_writes_the_files_and_says_what_they_are_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no environment, as it needs the standard library only."""
    names = [bundle.CHECKPOINT, bundle.ADAPTERS["base"], bundle.ENCODER, bundle.CARD]
    for name in names:
        (tmp_path / name).write_text(f"{name} " * 99, encoding="utf-8")
    bundle.split_files([tmp_path / name for name in names], tmp_path / "kept", size=1000)
    monkeypatch.setattr("lib_anyms.standalone.commands.sprites.FILES", tmp_path / "kept")
    monkeypatch.setenv("ANYMS_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    for _ in range(2):  # a second time changes nothing
        assert main(["sprites", "--out", str(out)]) == 0
        told = capsys.readouterr().out
        assert sorted(path.name for path in out.iterdir()) == sorted(names)
        assert all((out / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)
        assert all(str(out / name) in told for name in names)
        assert f"--adapter {out / bundle.ADAPTERS['base']} " in told
        assert all(
            word in told for word in ("models/ControlNet", "neither can load this checkpoint", "tests/hosts/tiny.py")
        )
    assert not (tmp_path / "home").exists()


def test_sprites_replaces_no_file_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / bundle.CARD).write_text("card", encoding="utf-8")
    bundle.split_files([tmp_path / bundle.CARD], tmp_path / "kept")
    monkeypatch.setattr("lib_anyms.standalone.commands.sprites.FILES", tmp_path / "kept")
    (tmp_path / bundle.CARD).write_text("mine", encoding="utf-8")
    assert main(["sprites", "--out", str(tmp_path)]) == REFUSED
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / bundle.CARD).read_text(encoding="utf-8") == "mine"
    assert main(["sprites", "--out", str(tmp_path / bundle.CARD)]) == REFUSED
    assert "cannot be written" in capsys.readouterr().err


def test_arguments_of_test_go_to_pytest(tmp_path: Path) -> None:
    for arguments in (["--here", "--co", "-q", "--no-such-option"], ["--here", "--", "--here"]):
        told = call(tmp_path / "home", "test", *arguments)
        assert told.returncode == pytest.ExitCode.USAGE_ERROR
        assert f"unrecognized arguments: {arguments[-1]}" in told.stderr


def test_entering_passes_arguments_and_exit_code_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANYMS_HOME", str(tmp_path / "home"))
    assert enter(Path(sys.executable), ["clean"]) == 0
    assert enter(Path(sys.executable), ["clean", "--no-such-option"]) == 2


def _script(folder: Path, text: str) -> Path:
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    script.chmod(0o755)
    return script


@posix
def test_entering_keeps_the_folder_and_tells_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert enter(_script(tmp_path, 'pwd > where; echo "$@" > what; kill -9 $$'), ["demo", "--seed", "1"]) == 128 + 9
    assert Path("where").read_text(encoding="utf-8").strip() == str(tmp_path.resolve())
    assert Path("what").read_text(encoding="utf-8") == "-m lib_anyms demo --seed 1\n"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_processes_without_a_traceback(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C reaches both, as a terminal sends it; SIGTERM only the first, which passes it on."""
    script = _script(tmp_path, "trap 'exit 7' INT TERM; echo up; while :; do sleep 0.05; done")
    code = "import sys; from pathlib import Path; from lib_anyms.standalone.processes import enter\n"
    code += "sys.exit(enter(Path(sys.argv[1]), []))"
    with subprocess.Popen(
        [sys.executable, "-c", code, script],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "up\n"
        try:
            if number == signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            assert process.wait(20) == 7
            assert process.stderr.read() == ""
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_every_check_runs_and_pytests_own_line_is_last(capfd: pytest.CaptureFixture[str]) -> None:
    checks = {
        "ruff": ("-c", "raise SystemExit(3)"),
        "pytest": ("-c", "print('1 passed'); print('== 3 passed, 2 deselected in 0.12s ==')"),
        "faults": ("-c", "print('4 faults of 4 caught in 1.0s'); print('the faults ran')"),
    }
    assert run_checks(checks) == 1
    lines = capfd.readouterr().out.splitlines()
    assert "the faults ran" in lines
    assert lines[-2].startswith("AnyMS: ruff FAILED (3) in ")
    assert "pytest passed in" in lines[-2]
    assert lines[-1] == "== 3 passed, 2 deselected in 0.12s =="
    assert run_checks({"pytest": checks["pytest"]}) == 0


def test_in_ci_the_planted_faults_are_checked_too() -> None:
    assert list(CHECKS) == ["ruff", "format", "mypy", "pytest"]
    assert list(CI_CHECKS) == [*CHECKS, "faults", "quality"]


@pytest.mark.parametrize(
    ("ci", "reason", "code"),
    [
        ("true", "no data", 1),
        ("true", "host: ANYMS_FORGE_DIR is unset", 0),
        ("true", "no host: gone", 1),
        ("", "no data", 0),
    ],
)
@pytest.mark.parametrize(
    "how", ["@pytest.mark.skip({!r})\ndef test_b(): ...", "pytest.skip({!r}, allow_module_level=True)"]
)
def test_ci_fails_on_skips_except_for_absent_hosts(ci: str, reason: str, code: int, how: str, tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_a.py").write_text("def test_a(): pass\n", encoding="utf-8")
    (tmp_path / "test_b.py").write_text(f"import pytest\n{how.format(reason)}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "--rootdir",
        tmp_path,
        "-p",
        "no:cacheprovider",
        tmp_path,
    ]
    told = subprocess.run(command, env=os.environ | {"CI": ci}, capture_output=True, text=True, check=False)
    assert told.returncode == code, told.stdout
    assert ("skipped, which CI does not allow" in told.stdout) == bool(code)
    assert (f": {reason}" in told.stdout) == bool(code)


def test_gpu_and_big_tests_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\ndef test_a(): pass\n@pytest.mark.gpu\ndef test_b(): assert 0\n@pytest.mark.big\ndef test_c(): assert 0\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-c", CHECKOUT / "pyproject.toml", "-p", "no:cacheprovider", tmp_path]
    told = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert "1 passed, 2 deselected" in told.stdout
    told = subprocess.run([*command, "-m", "gpu"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert "1 failed, 2 deselected" in told.stdout


def test_ci_runs_the_same_command_from_an_empty_home() -> None:
    script = CHECKOUT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "home=$(mktemp -d) || exit 1" in lines
    assert lines[-1] == 'CI=true ANYMS_HOME="$home/anyms" python3 -m lib_anyms test'
    assert os.name == "nt" or os.access(script, os.X_OK)

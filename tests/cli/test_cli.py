"""`python -m lib_anyms` as users run it: processes, exit codes, one sentence instead of a traceback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from lib_anyms import __version__
from lib_anyms.standalone import bundle
from lib_anyms.standalone.cli import COMMANDS, REFUSED, main
from lib_anyms.standalone.commands import test as test_command
from lib_anyms.standalone.commands.test import CORE, HOST_PARTS, OTHERS, PARTS, gradio_in_turn, plan, run_checks
from lib_anyms.standalone.processes import CHECKOUT, INSIDE, enter
from tests.ui.gradios import GRADIOS

pytest_plugins = ["pytester"]
posix = pytest.mark.skipif(os.name == "nt", reason="shell scripts and process groups")


def call(home: Path, *arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != INSIDE}
    environ |= {"ANYMS_HOME": str(home), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, *python, "-m", "lib_anyms", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet, for a command that runs in this process."""
    monkeypatch.delenv(INSIDE, raising=False)
    monkeypatch.setenv("ANYMS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_only_the_standard_library_is_imported_before_the_environment_exists() -> None:
    code = """
import sys
from importlib import import_module
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
for name in ("lib_anyms.standalone.cli", *sys.argv[2:]):
    import_module(name)
    new = {loaded.partition(".")[0] for loaded in set(sys.modules) - before}
    foreign = new - sys.stdlib_module_names - {"lib_anyms"}
    if foreign:
        sys.exit(f"{name} imports {foreign}")
"""
    modules = [command.module for command in COMMANDS.values()]
    command = [sys.executable, "-I", "-c", code, str(CHECKOUT), *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_without_a_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    for word in (*COMMANDS, "ANYMS_HOME", "PIP_EXTRA_INDEX_URL", "--here", str(home)):
        assert word in text


def test_a_process_prints_help(tmp_path: Path) -> None:
    done = call(tmp_path / "home", "--help")
    assert done.returncode == 0
    assert "ANYMS_HOME" in done.stdout
    assert not (tmp_path / "home").exists()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"AnyMS {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["demo", "--no-such-option"], ["clean", "--here"], ["demo", "--her"]]
)
def test_unknown_arguments_fail_before_anything_is_created(
    arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert arguments[-1] in capsys.readouterr().err
    assert not home.exists()


@pytest.mark.parametrize("command", ["demo", "test"])
def test_here_names_what_is_missing(command: str, tmp_path: Path) -> None:
    done = call(tmp_path / "home", command, "--here", python=("-S",))
    assert done.returncode == REFUSED
    assert done.stdout == ""
    assert done.stderr.startswith("AnyMS: this Python lacks torch, ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_clean_of_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = call(tmp_path, "clean")
    assert done.returncode == REFUSED
    assert "AnyMS did not make" in done.stderr
    assert (tmp_path / "mine").exists()


def test_clean_of_an_absent_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == f"AnyMS: 0 MB freed in {home}.\n"


def test_sprites_writes_the_files_and_explains_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It needs the standard library only, so it sets up no environment."""
    names = [bundle.CHECKPOINT, bundle.ADAPTERS["base"], bundle.ENCODER, bundle.CARD]
    for name in names:
        (tmp_path / name).write_text(f"{name} " * 99, encoding="utf-8")
    bundle.split_files([tmp_path / name for name in names], tmp_path / "kept", size=1000)
    monkeypatch.setattr("lib_anyms.standalone.commands.sprites.FILES", tmp_path / "kept")
    monkeypatch.setenv("ANYMS_HOME", str(tmp_path / "home"))
    out = tmp_path / "out"
    for _ in range(2):  # a second time changes nothing
        assert main(["sprites", "--out", str(out)]) == 0
        text = capsys.readouterr().out
        assert sorted(path.name for path in out.iterdir()) == sorted(names)
        assert all((out / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)
        assert all(str(out / name) in text for name in names)
        assert f"--adapter {out / bundle.ADAPTERS['base']} " in text
        for words in ("models/ControlNet", "neither can load this checkpoint", "tests/hosts/tiny.py"):
            assert words in text
    assert not (tmp_path / "home").exists()


def test_sprites_keeps_a_different_file_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / bundle.CARD).write_text("card", encoding="utf-8")
    bundle.split_files([tmp_path / bundle.CARD], tmp_path / "kept")
    monkeypatch.setattr("lib_anyms.standalone.commands.sprites.FILES", tmp_path / "kept")
    (tmp_path / bundle.CARD).write_text("mine", encoding="utf-8")
    assert main(["sprites", "--out", str(tmp_path)]) == REFUSED
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / bundle.CARD).read_text(encoding="utf-8") == "mine"
    assert main(["sprites", "--out", str(tmp_path / bundle.CARD)]) == REFUSED
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--co", "-q", "--no-such-option"], ["--co", "-q", "--no-such-option"]),
        (["--", "--here", "--all"], ["--here", "--all"]),
    ],
)
def test_arguments_of_pytest_go_to_pytest(
    arguments: list[str], expected: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(command: list[str], **_: object) -> Namespace:
        commands.append(command)
        return Namespace(returncode=4)

    monkeypatch.setattr(test_command.subprocess, "run", run)
    assert main(["test", "--here", *arguments]) == 4
    assert commands == [[sys.executable, "-m", "pytest", *expected]]


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
def test_entering_keeps_the_folder_and_reports_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert enter(_script(tmp_path, 'pwd > where; echo "$@" > what; kill -9 $$'), ["demo", "--seed", "1"]) == 128 + 9
    assert Path("where").read_text(encoding="utf-8").strip() == str(tmp_path.resolve())
    assert Path("what").read_text(encoding="utf-8") == "-m lib_anyms demo --seed 1\n"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_processes_without_a_traceback(number: signal.Signals, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to both; SIGTERM reaches only the first process, which passes it on."""
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


def test_mypy_runs_beside_the_tests_and_pytest_waits_for_what_it_needs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wait = "import sys, time; from pathlib import Path\nwhile not Path(sys.argv[1]).exists(): time.sleep(0.02)\n"
    make = "import sys; from pathlib import Path; Path(sys.argv[1]).touch()\n"
    prepared, tested = str(tmp_path / "prepared"), str(tmp_path / "tested")
    checks = {
        "ruff": ("-c", "print('ruff is content')"),
        "prepare": ("-c", f"import time; time.sleep(0.5)\n{make}print('prepared')", prepared),
        "pytest": ("-c", f"{make}assert Path(sys.argv[2]).exists(); print('3 passed in 0.12s')", tested, prepared),
        "mypy": ("-c", f"{wait}print('typed'); raise SystemExit(1)", tested),
    }
    assert run_checks(checks) == 1
    lines = [line for line in capfd.readouterr().out.splitlines() if not line.startswith("AnyMS: ruff passed")]
    heads = [line for line in lines if line.startswith("AnyMS: ")]
    assert heads == ["AnyMS: ruff", "AnyMS: prepare", "AnyMS: pytest", "AnyMS: mypy"]
    for check, output in (("ruff", "ruff is content"), ("prepare", "prepared"), ("mypy", "typed")):
        assert lines[lines.index(f"AnyMS: {check}") + 1] == output
    assert lines[-1] == "3 passed in 0.12s"


def test_a_newcomer_checks_the_core_and_ci_everything() -> None:
    newcomer, ci, everything = plan((), False, False), plan((), True, False), plan((), False, True)
    assert list(newcomer) == ["ruff", "format", "prepare", "pytest", "mypy"]
    assert {argument for argument in newcomer["pytest"] if argument.startswith("tests/")} == {
        f"tests/{n}" for n in CORE
    }
    assert list(ci) == list(everything) == [*newcomer, *OTHERS]
    folders = {argument for argument in ci["pytest"] if argument.startswith("tests/")}
    tests = {path.relative_to(CHECKOUT / "tests").parts[0] for path in (CHECKOUT / "tests").rglob("test_*.py")}
    assert folders == set(everything["pytest"]) & folders == {f"tests/{name}" for name in tests}
    assert tests == {*CORE, *PARTS, *HOST_PARTS}
    assert ci["faults"] + ("--all",) == everything["faults"]
    assert ci["quality"] + ("--all",) == everything["quality"]


def test_an_option_adds_its_part() -> None:
    assert "tests/ui" in plan({"ui"}, False, False)["pytest"]
    assert plan({"ui"}, False, False)["prepare"][-1] == "ui"
    assert "faults" in plan({"faults"}, False, False)
    assert "tests/ui" not in plan({"faults"}, False, False)["pytest"]


def test_each_commit_has_one_gradio() -> None:
    assert gradio_in_turn() in GRADIOS


@pytest.fixture
def hypothesis_profile() -> Iterator[None]:
    """Restore the profile that a copy of conftest.py registers again."""
    before = settings.get_profile("anyms")
    yield
    settings.register_profile("anyms", before)
    settings.load_profile("anyms")


@pytest.mark.usefixtures("hypothesis_profile")
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
def test_ci_fails_on_skips_except_for_absent_hosts(
    ci: str, reason: str, code: int, how: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(CHECKOUT / "tests" / "conftest.py", pytester.path)
    pytester.makepyfile(test_a="def test_a(): pass", test_b=f"import pytest\n{how.format(reason)}")
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    text = done.stdout.str()
    assert done.ret == code, text
    assert ("skipped, which CI does not allow" in text) == bool(code)
    assert (f": {reason}" in text) == bool(code)


MARKED = """
import pytest
def test_a(): pass
@pytest.mark.gpu
def test_b(): assert 0
@pytest.mark.big
def test_c(): assert 0
"""


def test_gpu_and_big_tests_are_left_out_and_counted(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_marked=MARKED)
    options = ["-c", str(CHECKOUT / "pyproject.toml"), "-p", "no:cacheprovider", str(pytester.path)]
    assert pytester.runpytest_inprocess(*options).parseoutcomes() == {"passed": 1, "deselected": 2}
    assert pytester.runpytest_inprocess(*options, "-m", "gpu").parseoutcomes() == {"failed": 1, "deselected": 2}


def test_ci_runs_the_test_command_from_an_empty_home() -> None:
    script = CHECKOUT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "home=$(mktemp -d) || exit 1" in lines
    assert lines[-1] == 'CI=true ANYMS_HOME="$home/anyms" python3 -m lib_anyms test "$@"'
    assert os.name == "nt" or os.access(script, os.X_OK)

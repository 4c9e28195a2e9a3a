"""The command line's environment: created once, continued, updated, rebuilt, removed, and nowhere else. No network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lib_anyms.errors import Refused
from lib_anyms.standalone import environment as module
from lib_anyms.standalone.environment import (
    INSTALL_STEPS,
    MODULES,
    REQUIREMENTS,
    Environment,
    digest,
    find_home,
    missing,
)
from lib_anyms.standalone.processes import CHECKOUT, run_logged

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib


@dataclass
class Installer:
    """Stands in for venv and pip: creates their files, records the steps, fails at the step `broken`."""

    home: Path
    broken: str = ""
    steps: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    during: Callable[[str], None] = lambda step: None

    @property
    def environment(self) -> Environment:
        return Environment(self.home, self.lines.append, run=self, base=lambda: "base-python")

    def __call__(self, command: Sequence[str], log: Path, progress: Callable[[str], None]) -> int:
        python = self.environment.python
        if command[-1] == "":
            return 0 if python.exists() else 1
        assert command[0] == ("base-python" if "venv" in command else str(python)), (
            "only the environment's own pip may run"
        )
        step = log.stem
        self.steps.append(step)
        self.during(step)
        log.write_text(f"output of {step}\n", encoding="utf-8")
        if step == "python":
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text("", encoding="utf-8")
        return 9 if step == self.broken else 0


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return Installer(tmp_path / "home")


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the requirements, for a test to change."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    for file in REQUIREMENTS.iterdir():
        (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(module, "REQUIREMENTS", folder)
    return folder


def test_created_once_with_torch_first(installer: Installer) -> None:
    python = installer.environment.ensure("demo")
    assert python.exists()
    assert installer.steps == ["python", "torch", "demo", "compile", "check"]
    assert installer.environment.ready("demo")
    assert not installer.environment.ready("test")
    installer.environment.ensure("demo")
    assert len(installer.steps) == 5, "a complete environment is not changed again"


def test_folder_size_and_choices_are_printed_before_anything_is_created(installer: Installer) -> None:
    before: list[str] = []
    installer.during = lambda step: before.extend(installer.lines) if step == "python" else None
    installer.environment.ensure("demo")
    text = "\n".join(before)
    assert str(installer.home) in text
    assert re.search(r"about [\d.]+ GB", text)
    assert "ANYMS_HOME" in text
    assert "--here" in text


def test_the_larger_set_includes_the_smaller(installer: Installer) -> None:
    installer.environment.ensure("test")
    assert installer.environment.ready("demo")


@pytest.mark.parametrize("package_set", sorted(INSTALL_STEPS))
def test_each_file_includes_the_ones_before_it_so_the_last_is_enough(installer: Installer, package_set: str) -> None:
    names = [step.name for step in INSTALL_STEPS[package_set]]
    for name, before in zip(names[1:], names):
        assert f"-r {before}.txt" in (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    installer.environment.ensure(package_set)
    assert installer.steps == ["python", "torch", package_set, "compile", "check"]
    assert all(installer.environment.ready(smaller) for smaller in names if smaller in INSTALL_STEPS)


@pytest.mark.parametrize("step", ["python", "torch", "test", "check"])
def test_a_failed_set_up_is_reported_and_continued(installer: Installer, step: str) -> None:
    installer.broken = step
    with pytest.raises(Refused) as refusal:
        installer.environment.ensure("test")
    assert refusal.value.cause == "setup_failed"
    assert f"at {step} (exit code 9" in str(refusal.value)
    assert f"  | output of {step}" in installer.lines, "the end of the log is shown"
    assert not installer.environment.ready("test")
    assert not installer.environment.ready("demo")
    installer.broken, installer.steps = "", []
    installer.environment.ensure("test")
    assert ("python" in installer.steps) == (step == "python"), "a venv that starts stays"
    assert installer.environment.ready("test")


def test_files_that_do_not_compile_are_no_failure(installer: Installer) -> None:
    installer.broken = "compile"
    installer.environment.ensure("demo")
    assert installer.environment.ready("demo")


def test_packages_are_compiled_on_all_cores_and_not_by_pip(tmp_path: Path) -> None:
    commands: dict[str, list[str]] = {}

    def run(command: Sequence[str], log: Path, progress: Callable[[str], None]) -> int:
        commands[log.stem] = list(command)
        if log.stem == "python":
            packages.mkdir(parents=True)
            (packages / "good.py").write_text("ONE = 1\n", encoding="utf-8")
            (packages / "older.py").write_text("print 1\n", encoding="utf-8")
        return run_logged([sys.executable, *command[1:]], log, progress) if log.stem == "compile" else 0

    ours = Environment(tmp_path / "home", lambda line: None, run=run, base=lambda: sys.executable)
    packages = ours.venv / "lib" / "package"
    ours.ensure("demo")
    assert "--no-compile" in commands["torch"]
    assert "--no-compile" in commands["demo"]
    compiled = [path.name.partition(".")[0] for path in packages.rglob("*.pyc")]
    assert compiled == ["good"]


def test_a_process_killed_while_installing_leaves_no_stamp(installer: Installer) -> None:
    class Killed(BaseException):
        pass

    def kill(step: str) -> None:
        if step == "demo":
            raise Killed

    installer.during = kill
    with pytest.raises(Killed):
        installer.environment.ensure("demo")
    assert not installer.environment.ready("demo")


def test_changed_requirements_update_the_environment(installer: Installer, requirements: Path) -> None:
    installer.environment.ensure("test")
    (requirements / "demo.txt").write_text("-r torch.txt\nnumpy==0.0.1\n", encoding="utf-8")
    assert not installer.environment.ready("demo")
    installer.steps, installer.broken = [], "test"
    with pytest.raises(Refused):
        installer.environment.ensure("test")
    assert "python" not in installer.steps, "updated, not created again"
    assert not list(installer.environment.venv.glob("anyms-[dt]*.stamp")), (
        "half updated it is neither the old set nor the new one"
    )


def test_a_change_of_the_test_tools_leaves_the_demo_alone(installer: Installer, requirements: Path) -> None:
    installer.environment.ensure("test")
    (requirements / "test.txt").write_text("-r demo.txt\n", encoding="utf-8")
    assert installer.environment.ready("demo")
    assert not installer.environment.ready("test")


def test_line_ends_do_not_change_the_digest(requirements: Path) -> None:
    before = digest("test")
    for file in requirements.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert digest("test") == before


def test_a_missing_python_is_created_again(installer: Installer) -> None:
    installer.environment.ensure("demo")
    installer.environment.python.unlink()
    installer.steps.clear()
    installer.environment.ensure("demo")
    assert installer.steps[0] == "python"


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_real_venv_without_its_base_python_is_created_again(tmp_path: Path) -> None:
    steps: list[str] = []

    def run(command: Sequence[str], log: Path, progress: Callable[[str], None]) -> int:
        steps.append(log.stem)
        venv = "venv" in command
        real = [*command, "--without-pip"] if venv else command
        return run_logged(real, log, progress) if venv or command[-1] == "" else 0

    ours = Environment(tmp_path / "home", steps.append, run=run, base=lambda: sys.executable)
    python = ours.ensure("demo")
    assert (
        subprocess.run([python, "-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)"], check=False).returncode
        == 0
    )
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert not ours.ready("demo")
    ours.ensure("demo")
    assert ours.ready("demo")
    assert steps.count("python") == 2


def test_a_second_process_waits_and_reuses_it(tmp_path: Path) -> None:
    first, second = Installer(tmp_path / "home"), Installer(tmp_path / "home")
    waiting = threading.Thread(target=second.environment.ensure, args=["demo"])

    def begin_second(step: str) -> None:
        if step == "torch":
            waiting.start()
            waiting.join(0.7)
            assert waiting.is_alive(), "it must wait while the first one works"

    first.during = begin_second
    first.environment.ensure("demo")
    waiting.join(20)
    assert not waiting.is_alive()
    assert second.steps == []
    assert any("waiting for another process" in line for line in second.lines)


def test_clean_removes_everything_and_returns_its_size(installer: Installer) -> None:
    installer.environment.ensure("demo")
    (installer.environment.venv / "large").write_bytes(bytes(3_000_000))
    assert installer.environment.clean() == pytest.approx(3.0, abs=0.1)
    assert not installer.home.exists()
    assert installer.environment.clean() == 0.0


def test_models_do_not_make_the_folder_foreign(installer: Installer) -> None:
    (installer.environment.models() / "random").mkdir()
    assert installer.environment.ensure("demo").exists()
    installer.environment.clean()
    assert not installer.home.exists()


def test_models_never_go_into_a_foreign_folder(installer: Installer) -> None:
    installer.home.mkdir()
    (installer.home / "thesis.txt").touch()
    with pytest.raises(Refused) as refusal:
        installer.environment.models()
    assert refusal.value.cause == "home_foreign"
    assert [path.name for path in installer.home.iterdir()] == ["thesis.txt"]


def test_clean_keeps_other_files(installer: Installer) -> None:
    installer.environment.ensure("demo")
    (installer.home / "mine.txt").write_text("mine", encoding="utf-8")
    installer.environment.clean()
    assert [file.name for file in installer.home.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("entry", ["environment", "logs", "mine.txt"])
def test_a_foreign_folder_is_neither_filled_nor_cleaned(installer: Installer, entry: str) -> None:
    (installer.home / entry).mkdir(parents=True)
    for action in (installer.environment.clean, lambda: installer.environment.ensure("demo")):
        with pytest.raises(Refused) as refusal:
            action()
        assert refusal.value.cause == "home_foreign"
    assert [file.name for file in installer.home.iterdir()] == [entry]
    assert installer.steps == []


def test_an_empty_folder_may_be_used(installer: Installer) -> None:
    installer.home.mkdir()
    installer.environment.ensure("demo")
    assert installer.environment.ready("demo")


@pytest.mark.parametrize("home", [".", "home", "deeper/home"])
def test_never_in_the_extensions_folder(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    inside = Installer(tmp_path / home)
    with pytest.raises(Refused) as refusal:
        inside.environment.ensure("demo")
    assert refusal.value.cause == "home_inside"
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Refused) as refusal:
        Installer(tmp_path / "file" / "home").environment.ensure("demo")
    assert refusal.value.cause == "home_unusable"


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {}, "/u/.cache/anyms"),
        ("linux", {"XDG_CACHE_HOME": "/c"}, "/c/anyms"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/u/.cache/anyms"),
        ("darwin", {"XDG_CACHE_HOME": "/c"}, "/u/Library/Caches/anyms"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/anyms/cache"),
        ("win32", {}, "/u/AppData/Local/anyms/cache"),
        ("linux", {"ANYMS_HOME": "/own", "XDG_CACHE_HOME": "/c"}, "/own"),
        ("win32", {"ANYMS_HOME": "/own", "LOCALAPPDATA": "/l"}, "/own"),
        ("darwin", {"ANYMS_HOME": ""}, "/u/Library/Caches/anyms"),
    ],
)
def test_the_home_of_each_platform(platform: str, environ: dict[str, str], expected: str) -> None:
    assert find_home(environ, platform, Path("/u")) == Path(expected)


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_home({"ANYMS_HOME": "here"}) == tmp_path / "here"


def _pins(name: str) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for line in (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            pins |= _pins(line[3:].removesuffix(".txt"))
        elif not line.startswith("#"):
            package, version = re.fullmatch(r'([a-z-]+)==([\d.]+)(?:; python_version (?:<|>=) "3\.11")?', line).groups()  # type: ignore[union-attr]
            pins.setdefault(package, set()).add(version)
    return pins


@pytest.mark.parametrize("package_set", sorted(INSTALL_STEPS))
def test_every_requirement_is_pinned_and_checked(package_set: str) -> None:
    assert set(_pins(package_set)) == set(MODULES[package_set].values())


def _requirements(name: str) -> list[str]:
    lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


def test_the_extras_are_the_same_requirements() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"] == {
        "demo": [*_requirements("torch"), *_requirements("demo")],
        "lab": ["anyms-webui[demo]", *_requirements("lab")],
        "test": ["anyms-webui[lab]", *_requirements("test")],
    }


def test_missing_modules_are_named_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing("test") == []
    monkeypatch.setitem(MODULES, "demo", {"numpy": "numpy", "no_such_module": "its-package"})
    assert missing("demo") == ["its-package"]

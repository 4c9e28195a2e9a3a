"""The command line's own environment: made once, continued, updated, rebuilt, removed; and never anywhere else.

No network.
"""

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
from lib_anyms.standalone.environment import MODULES, REQUIREMENTS, STAGES, Environment, digest, find_home, missing
from lib_anyms.standalone.processes import run_logged


@dataclass
class Installer:
    """Stands for venv and pip: does what they do to the folder, notes the stages, fails where it is told to."""

    home: Path
    broken: str = ""
    stages: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    during: Callable[[str], None] = lambda stage: None

    @property
    def environment(self) -> Environment:
        return Environment(self.home, self.said.append, run=self, base=lambda: "base-python")

    def __call__(self, command: Sequence[str], log: Path, progress: Callable[[str], None]) -> int:
        python = self.environment.python
        if command[-1] == "":
            return 0 if python.exists() else 1
        assert command[0] == ("base-python" if "venv" in command else str(python)), (
            "only the environment's own pip may run"
        )
        stage = log.stem
        self.stages.append(stage)
        self.during(stage)
        log.write_text(f"output of {stage}\n", encoding="utf-8")
        if stage == "python":
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text("", encoding="utf-8")
        return 9 if stage == self.broken else 0


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return Installer(tmp_path / "home")


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the requirements that a test may change."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    for file in REQUIREMENTS.iterdir():
        (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(module, "REQUIREMENTS", folder)
    return folder


def test_made_once_with_torch_first(installer: Installer) -> None:
    python = installer.environment.ensure("demo")
    assert python.exists()
    assert installer.stages == ["python", "torch", "demo", "vocabulary", "check"]
    assert installer.environment.ready("demo")
    assert not installer.environment.ready("test")
    installer.environment.ensure("demo")
    assert len(installer.stages) == 5, "a complete environment is not touched again"


def test_place_size_and_choice_are_said_before_anything_is_made(installer: Installer) -> None:
    before: list[str] = []
    installer.during = lambda stage: before.extend(installer.said) if stage == "python" else None
    installer.environment.ensure("demo")
    text = "\n".join(before)
    assert str(installer.home) in text
    assert re.search(r"about [\d.]+ GB", text)
    assert "ANYMS_HOME" in text
    assert "--here" in text


def test_the_larger_set_stands_for_the_smaller(installer: Installer) -> None:
    installer.environment.ensure("test")
    assert installer.environment.ready("demo")


@pytest.mark.parametrize("stage", ["python", "torch", "vocabulary", "test", "check"])
def test_a_failed_set_up_is_told_and_continued(installer: Installer, stage: str) -> None:
    installer.broken = stage
    with pytest.raises(Refused) as refusal:
        installer.environment.ensure("test")
    assert refusal.value.cause == "setup_failed"
    assert f"at {stage} (exit code 9" in str(refusal.value)
    assert f"  | output of {stage}" in installer.said, "the end of the log is shown"
    assert not installer.environment.ready("test")
    assert not installer.environment.ready("demo")
    installer.broken, installer.stages = "", []
    installer.environment.ensure("test")
    assert ("python" in installer.stages) == (stage == "python"), "a venv that starts is kept"
    assert installer.environment.ready("test")


def test_a_process_killed_while_installing_leaves_no_stamp(installer: Installer) -> None:
    class Killed(BaseException):
        pass

    def kill(stage: str) -> None:
        if stage == "vocabulary":
            raise Killed

    installer.during = kill
    with pytest.raises(Killed):
        installer.environment.ensure("demo")
    assert not installer.environment.ready("demo")


def test_changed_requirements_update_the_environment(installer: Installer, requirements: Path) -> None:
    installer.environment.ensure("test")
    (requirements / "demo.txt").write_text("-r torch.txt\nnumpy==0.0.1\n", encoding="utf-8")
    assert not installer.environment.ready("demo")
    installer.stages, installer.broken = [], "demo"
    with pytest.raises(Refused):
        installer.environment.ensure("test")
    assert "python" not in installer.stages, "updated, not made anew"
    assert not list(installer.environment.venv.glob("anyms-[dt]*.stamp")), (
        "half updated it is neither the old set nor the new"
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


def test_a_missing_python_is_made_anew(installer: Installer) -> None:
    installer.environment.ensure("demo")
    installer.environment.python.unlink()
    installer.stages.clear()
    installer.environment.ensure("demo")
    assert installer.stages[0] == "python"


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_real_venv_whose_base_python_has_gone_is_made_anew(tmp_path: Path) -> None:
    made: list[str] = []

    def run(command: Sequence[str], log: Path, progress: Callable[[str], None]) -> int:
        made.append(log.stem)
        venv = "venv" in command
        real = [*command, "--without-pip"] if venv else command
        return run_logged(real, log, progress) if venv or command[-1] == "" else 0

    ours = Environment(tmp_path / "home", made.append, run=run, base=lambda: sys.executable)
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
    assert made.count("python") == 2


def test_a_second_process_waits_and_finds_it_made(tmp_path: Path) -> None:
    first, second = Installer(tmp_path / "home"), Installer(tmp_path / "home")
    waiting = threading.Thread(target=second.environment.ensure, args=["demo"])

    def begin_second(stage: str) -> None:
        if stage == "torch":
            waiting.start()
            waiting.join(0.7)
            assert waiting.is_alive(), "it must wait while the first is at work"

    first.during = begin_second
    first.environment.ensure("demo")
    waiting.join(20)
    assert not waiting.is_alive()
    assert second.stages == []
    assert any("waiting for another process" in line for line in second.said)


def test_clean_removes_what_was_made_and_says_how_much(installer: Installer) -> None:
    installer.environment.ensure("demo")
    (installer.environment.venv / "large").write_bytes(bytes(3_000_000))
    assert installer.environment.clean() == pytest.approx(3.0, abs=0.1)
    assert not installer.home.exists()
    assert installer.environment.clean() == 0.0


def test_models_made_first_do_not_make_the_folder_foreign(installer: Installer) -> None:
    (installer.environment.models() / "random").mkdir()
    assert installer.environment.ensure("demo").exists()
    installer.environment.clean()
    assert not installer.home.exists()


def test_models_are_never_put_into_a_foreign_folder(installer: Installer) -> None:
    installer.home.mkdir()
    (installer.home / "thesis.txt").touch()
    with pytest.raises(Refused) as refusal:
        installer.environment.models()
    assert refusal.value.cause == "home_foreign"
    assert [path.name for path in installer.home.iterdir()] == ["thesis.txt"]


def test_clean_keeps_what_others_put_there(installer: Installer) -> None:
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
    assert installer.stages == []


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


def test_a_place_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
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
def test_places(platform: str, environ: dict[str, str], expected: str) -> None:
    assert find_home(environ, platform, Path("/u")) == Path(expected)


def test_a_relative_place_is_fixed_to_the_folder_it_was_said_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.parametrize("wanted", sorted(STAGES))
def test_every_requirement_is_pinned_and_looked_for(wanted: str) -> None:
    assert set(_pins(wanted)) == set(MODULES[wanted].values())


def test_what_is_missing_is_named_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing("test") == []
    monkeypatch.setitem(MODULES, "demo", {"numpy": "numpy", "no_such_module": "its-package"})
    assert missing("demo") == ["its-package"]

"""The environment of `python -m lib_anyms`: created once in the user's cache. Standard library only.

    <home>/anyms-home.txt    marks the folder as ours; without it nothing is created or removed there
    <home>/anyms.lock        lets one process in at a time
    <home>/environment/      the venv, and a stamp for each complete package set
    <home>/logs/             the output of venv and pip, one file for each step
    <home>/models/           model files written or joined here

A stamp is written last and holds the digest of its requirements. So the next run continues an interrupted set-up
(pip skips installed packages), updates an outdated one, and creates the venv again if its Python no longer starts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.standalone.lock import discard, only_one
from lib_anyms.standalone.processes import CHECKOUT, Say, find_base, last_lines, run_logged

REQUIREMENTS = Path(__file__).parent / "requirements"
Runner = Callable[[Sequence[str], Path, Say], int]  # (command, log file, progress) -> exit code


@dataclass(frozen=True)
class InstallStep:
    """One run of pip with one file of requirements/."""

    name: str

    @property
    def file(self) -> Path:
        return REQUIREMENTS / f"{self.name}.txt"


# The files of a set; each includes the ones before it. torch is installed first and alone: it is most of the download,
# and a set-up that fails later need not repeat it. Then the last file installs the rest in one run of pip.
_DEMO = (InstallStep("torch"), InstallStep("demo"))
_LAB = (*_DEMO, InstallStep("lab"))
INSTALL_STEPS = {"demo": _DEMO, "lab": _LAB, "test": (*_LAB, InstallStep("test"))}

# The modules of each package set, and the package of each module.
_DEMO_MODULES = {name: name for name in ("torch", "diffusers", "transformers", "safetensors", "numpy")}
_DEMO_MODULES["PIL"] = "pillow"
_LAB_MODULES = {**_DEMO_MODULES, **{name: name for name in ("accelerate", "matplotlib", "scipy")}}
_TEST_MODULES = {name: name for name in ("pytest", "hypothesis", "mypy", "playwright", "ruff")}
_TEST_MODULES["xdist"] = "pytest-xdist"
MODULES = {"demo": _DEMO_MODULES, "lab": _LAB_MODULES, "test": {**_LAB_MODULES, **_TEST_MODULES}}

# pip compiles 10,000 files on one core, so it compiles none, and _COMPILE does it on all of them.
_PIP = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--no-compile")
_COMPILE = ("-m", "compileall", "-qq", "-j", "0", "-x", r"site-packages[/\\].*[/\\]tests[/\\]")
_FIND = "import importlib.util as u, sys; sys.exit(', '.join(n for n in sys.argv[1:] if not u.find_spec(n)) or 0)"
_SIZE = "about 1.4 GB"
_SIZES = {"linux": f"{_SIZE} with torch's CPU build, about 7 GB if pip finds only its CUDA build"}
_TAIL = 15  # lines shown of a failed step's log


def missing(package_set: str) -> list[str]:
    """The packages of the set that the running Python lacks; imports nothing."""
    return [package for module, package in MODULES[package_set].items() if importlib.util.find_spec(module) is None]


def digest(package_set: str) -> str:
    """The SHA-256 of the set's requirements, the same for every kind of line end."""
    texts = [f"{step} {step.file.read_text(encoding='utf-8')}" for step in INSTALL_STEPS[package_set]]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def megabytes(folder: Path) -> float:
    """The size of all files below `folder` in MB; 0 if it does not exist."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_symlink() or not file.is_dir()) / 1e6


def find_home(environ: Mapping[str, str] = os.environ, platform: str = sys.platform, user: Path | None = None) -> Path:
    """ANYMS_HOME, else `anyms` in the platform's cache folder; always absolute."""
    if home := environ.get("ANYMS_HOME"):
        return Path(home).expanduser().absolute()
    user = user or Path.home()
    if platform == "darwin":
        return user / "Library" / "Caches" / "anyms"
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or user / "AppData" / "Local", "anyms", "cache")
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else user / ".cache") / "anyms"


@dataclass(frozen=True)
class Environment:
    """The environment in `home`.

    `say` prints a line to the user, `run` runs a command and logs its output, `base` finds a Python.
    """

    home: Path
    say: Say
    run: Runner = run_logged
    base: Callable[[], str] = find_base

    @property
    def venv(self) -> Path:
        return self.home / "environment"

    @property
    def python(self) -> Path:
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def ready(self, package_set: str) -> bool:
        """Whether the set ("demo", "lab" or "test") is complete for this checkout and the Python starts."""
        return self._stamped(package_set) and self._starts()

    def ensure(self, package_set: str) -> Path:
        """Create, continue or update the environment as needed -> its Python. Raises Refused."""
        with self._stored():
            if not self.ready(package_set):
                self._refuse_foreign()
                with self._alone():
                    if not self.ready(package_set):  # another process may have built it while we waited
                        self._build(package_set)
        return self.python

    def models(self) -> Path:
        """Create the folder for model files written here, and mark `home` as ours -> the folder. Raises Refused."""
        with self._stored():
            self._refuse_foreign()
            self.home.mkdir(parents=True, exist_ok=True)
            self._mark()
            self._models.mkdir(exist_ok=True)
        return self._models

    def clean(self) -> float:
        """Remove everything created in `home`, and `home` if it is empty then -> MB freed. Raises Refused."""
        if not self.home.exists():
            return 0.0
        with self._stored():
            self._refuse_foreign()
            with self._alone():
                folders = (self.venv, self._logs, self._models)
                freed = sum(megabytes(folder) for folder in folders)
                for folder in folders:
                    if folder.exists():
                        shutil.rmtree(folder)
                self._marker.unlink(missing_ok=True)
                discard(self._lock)
            if self.home.exists() and not any(self.home.iterdir()):
                self.home.rmdir()
        return freed

    @property
    def _marker(self) -> Path:
        return self.home / "anyms-home.txt"

    @property
    def _lock(self) -> Path:
        return self.home / "anyms.lock"

    @property
    def _logs(self) -> Path:
        return self.home / "logs"

    @property
    def _models(self) -> Path:
        return self.home / "models"

    def _mark(self) -> None:
        self._marker.write_text(
            "Created by AnyMS; `python -m lib_anyms clean` removes its files here.\n", encoding="utf-8"
        )

    def _refuse_foreign(self) -> None:
        if CHECKOUT in (self.home.resolve(), *self.home.resolve().parents):
            raise Refused("home_inside", home=self.home)
        if self.home.exists() and not self._marker.exists() and set(self.home.iterdir()) - {self._lock}:
            raise Refused("home_foreign", home=self.home)

    def _alone(self) -> AbstractContextManager[None]:
        return only_one(self._lock, lambda: self.say(f"AnyMS: waiting for another process that works in {self.home}"))

    @contextmanager
    def _stored(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Refused("home_unusable", home=self.home, got=error) from error

    def _stamp(self, name: str) -> Path:
        return self.venv / f"anyms-{name}.stamp"

    def _stamped(self, name: str) -> bool:
        return self._stamp(name).exists() and self._stamp(name).read_text(encoding="utf-8") == digest(name)

    def _starts(self) -> bool:
        try:
            return self.run([str(self.python), "-I", "-S", "-c", ""], Path(os.devnull), self.say) == 0
        except OSError:
            return False

    def _build(self, package_set: str) -> None:
        began = time.monotonic()
        self._claim()
        if not (self._stamp("venv").exists() and self._starts()):
            self._step("python", [self.base(), "-m", "venv", "--clear", str(self.venv)])
            self._stamp("venv").touch()
        for name in INSTALL_STEPS:
            if not self._stamped(name):  # from here on the packages are neither the old set nor the new one
                self._stamp(name).unlink(missing_ok=True)
        first, *_, last = INSTALL_STEPS[package_set]
        for step in (first, last):
            self._step(step.name, [str(self.python), *_PIP, "-r", str(step.file)])
        # Some packages have files for another Python, which do not compile.
        self._step("compile", [str(self.python), *_COMPILE, str(self.venv)], needed=False)
        self._step("check", [str(self.python), "-I", "-c", _FIND, *MODULES[package_set]])
        for name, steps in INSTALL_STEPS.items():
            if set(steps) <= set(INSTALL_STEPS[package_set]):
                self._stamp(name).write_text(digest(name), encoding="utf-8")
        self.say(f"AnyMS: ready in {time.monotonic() - began:.0f} s, {megabytes(self.venv):.0f} MB.")

    def _claim(self) -> None:
        self._logs.mkdir(exist_ok=True)
        self._mark()
        free = shutil.disk_usage(self.home).free / 1e9
        self.say(f"AnyMS: setting up a separate Python environment in {self.home}")
        self.say(f"  size: {_SIZES.get(sys.platform, _SIZE)} ({free:.0f} GB free there)")
        self.say("  to use another folder set ANYMS_HOME; to use this Python add --here; pip's output: the folder logs")

    def _step(self, name: str, command: list[str], needed: bool = True) -> None:
        """Run a command with its output in a log. Raises Refused if it fails and is `needed`."""
        log = self._logs / f"{name}.log"
        began = time.monotonic()
        code = self.run(command, log, lambda line: self.say(f"  {name}: {time.monotonic() - began:.0f} s ... {line}"))
        if code and needed:
            for line in last_lines(log, _TAIL):
                self.say(f"  | {line}")
            raise Refused("setup_failed", stage=name, code=code, log=log)
        self.say(f"  {name}: done in {time.monotonic() - began:.0f} s")

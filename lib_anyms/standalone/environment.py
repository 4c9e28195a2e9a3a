"""The environment of `python -m lib_anyms`: made once in the user's cache, with nothing but the standard library.

    <home>/anyms-home.txt    says that the folder is ours: without it nothing is made or removed there
    <home>/anyms.lock        one process at a time
    <home>/environment/      the venv, and the stamps of what is complete in it
    <home>/logs/             what venv and pip said, a file a stage
    <home>/models/           model files made or joined here

A stamp is written last and holds the digest of the requirements it stands for. So an interrupted set-up is continued
(pip skips what is there), an outdated one is updated, and a venv whose Python no longer starts is made anew.
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
class Stage:
    """One run of pip over one file of requirements/."""

    name: str
    options: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        return REQUIREMENTS / f"{self.name}.txt"


# torch comes first and alone: it is most of the download, and a set-up that breaks off later need not fetch it again.
_DEMO = (Stage("torch"), Stage("demo"), Stage("vocabulary", ("--no-deps",)))
STAGES = {"demo": _DEMO, "test": (*_DEMO, Stage("test"))}

# What each set lets Python import, and the package it comes from.
_FOR_DEMO = {name: name for name in ("torch", "diffusers", "transformers", "safetensors", "numpy", "matplotlib")}
_FOR_DEMO["PIL"] = "pillow"
MODULES = {
    "demo": _FOR_DEMO,
    "test": _FOR_DEMO | {name: name for name in ("pytest", "hypothesis", "mypy", "playwright", "ruff")},
}

_PIP = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
_FIND = "import importlib.util as u, sys; sys.exit(', '.join(n for n in sys.argv[1:] if not u.find_spec(n)) or 0)"
_SIZE = "about 1.4 GB"
_SIZES = {"linux": f"{_SIZE} with torch's CPU build, about 7 GB if pip finds only its CUDA build"}
_TAIL = 15  # lines of a failed stage's log that are shown


def missing(wanted: str) -> list[str]:
    """The packages of the set `wanted` that the running Python lacks; nothing is imported."""
    return [package for module, package in MODULES[wanted].items() if importlib.util.find_spec(module) is None]


def digest(wanted: str) -> str:
    """What the stamp of the set `wanted` holds: its requirements, whatever the line ends of the checkout."""
    texts = [f"{stage} {stage.file.read_text(encoding='utf-8')}" for stage in STAGES[wanted]]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def megabytes(folder: Path) -> float:
    """The size of all files below `folder`, which need not exist."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_symlink() or not file.is_dir()) / 1e6


def find_home(environ: Mapping[str, str] = os.environ, platform: str = sys.platform, user: Path | None = None) -> Path:
    """ANYMS_HOME, else `anyms` in the platform's cache folder; always absolute."""
    if chosen := environ.get("ANYMS_HOME"):
        return Path(chosen).expanduser().absolute()
    user = user or Path.home()
    if platform == "darwin":
        return user / "Library" / "Caches" / "anyms"
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or user / "AppData" / "Local", "anyms", "cache")
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else user / ".cache") / "anyms"


@dataclass(frozen=True)
class Environment:
    """The one environment under `home`.

    `say` tells the user, `run` runs a command into a log, `base` finds a Python.
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

    def ready(self, wanted: str) -> bool:
        """Whether the set `wanted` ("demo" or "test") is complete, as this checkout requires it, and its Python starts."""
        return self._stamped(wanted) and self._starts()

    def ensure(self, wanted: str) -> Path:
        """The environment's Python with the set `wanted` in it: made, continued or updated first where needed."""
        with self._stored():
            if not self.ready(wanted):
                self._refuse_foreign()
                with self._alone():
                    if not self.ready(wanted):  # another process may have made it meanwhile
                        self._build(wanted)
        return self.python

    def models(self) -> Path:
        """The folder for model files that are made rather than downloaded by the user; it exists and `home` is marked
        as ours.
        """
        with self._stored():
            self._refuse_foreign()
            self.home.mkdir(parents=True, exist_ok=True)
            self._mark()
            self._models.mkdir(exist_ok=True)
        return self._models

    def clean(self) -> float:
        """Remove all that was made in `home`, and `home` itself if nothing else is in it -> MB freed."""
        if not self.home.exists():
            return 0.0
        with self._stored():
            self._refuse_foreign()
            with self._alone():
                made = (self.venv, self._logs, self._models)
                freed = sum(megabytes(folder) for folder in made)
                for folder in made:
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
            "Made by AnyMS; `python -m lib_anyms clean` removes what it made here.\n", encoding="utf-8"
        )

    def _refuse_foreign(self) -> None:
        if CHECKOUT in (self.home.resolve(), *self.home.resolve().parents):
            raise Refused("home_inside", home=self.home)
        if self.home.exists() and not self._marker.exists() and set(self.home.iterdir()) - {self._lock}:
            raise Refused("home_foreign", home=self.home)

    def _alone(self) -> AbstractContextManager[None]:
        return only_one(
            self._lock, lambda: self.say(f"AnyMS: waiting for another process that is at work in {self.home}")
        )

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

    def _build(self, wanted: str) -> None:
        began = time.monotonic()
        self._claim()
        if not (self._stamp("venv").exists() and self._starts()):
            self._stage("python", [self.base(), "-m", "venv", "--clear", str(self.venv)])
            self._stamp("venv").touch()
        for name in STAGES:
            if not self._stamped(name):
                self._stamp(name).unlink(
                    missing_ok=True
                )  # from here on the packages are neither the old set nor the new
        for stage in STAGES[wanted]:
            self._stage(stage.name, [str(self.python), *_PIP, *stage.options, "-r", str(stage.file)])
        self._stage("check", [str(self.python), "-I", "-c", _FIND, *MODULES[wanted]])
        for name, stages in STAGES.items():
            if set(stages) <= set(STAGES[wanted]):
                self._stamp(name).write_text(digest(name), encoding="utf-8")
        self.say(f"AnyMS: ready in {time.monotonic() - began:.0f} s, {megabytes(self.venv):.0f} MB.")

    def _claim(self) -> None:
        self._logs.mkdir(exist_ok=True)
        self._mark()
        self.say(f"AnyMS: setting up a Python environment of its own in {self.home}")
        self.say(
            f"  size: {_SIZES.get(sys.platform, _SIZE)} ({shutil.disk_usage(self.home).free / 1e9:.0f} GB are free there)"
        )
        self.say("  another place: set ANYMS_HOME; this Python as it is: --here; pip's output: the folder logs there")

    def _stage(self, name: str, command: list[str]) -> None:
        log = self._logs / f"{name}.log"
        began = time.monotonic()
        code = self.run(command, log, lambda line: self.say(f"  {name}: {time.monotonic() - began:.0f} s ... {line}"))
        if code:
            for line in last_lines(log, _TAIL):
                self.say(f"  | {line}")
            raise Refused("setup_failed", stage=name, code=code, log=log)
        self.say(f"  {name}: done in {time.monotonic() - began:.0f} s")

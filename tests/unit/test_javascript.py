"""The page's JavaScript: its own tests in node, its types, its rooms, and rules for its files."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.node_packages import Unavailable, packages
from tests.support.programs import find_program

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "javascript"
SOURCES = sorted(FOLDER.rglob("*.mjs"))
TESTS = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))
OLDEST = 18  # the first node with --test
STRICT = "--noEmit --allowJs --checkJs --strict --target es2022 --module es2022 --moduleResolution bundler"
STRICT += " --lib es2023,dom,dom.iterable"
# The rooms in order: a module imports from its own room and from rooms before it. The last one is the entry.
ROOMS = ("anyms/model", "anyms/host", "anyms/view", "")
_IMPORT = re.compile(r'^import .*?from "([^"]+)";', re.MULTILINE | re.DOTALL)
_PAGE = re.compile(r"\b(?:document|window|localStorage)\b")
_MARK = re.compile(r"(?<=\.mjs)\?v=[^\"]*")


def find_node() -> str | None:
    """A node that is new enough; in CI one is installed if there is none."""
    node = find_program("node", "nodejs")
    if node is None:
        return None
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    return node if int(version.strip().lstrip("v").partition(".")[0]) >= OLDEST else None


@pytest.fixture(scope="module")
def node() -> str:
    path = find_node()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no node of version {OLDEST} or later, and none could be installed")
        pytest.skip(f"no node of version {OLDEST} or later")
    return path


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_javascript_tests_pass(node: str, file: Path) -> None:
    done = subprocess.run([node, "--test", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert int(re.search(r"^. pass (\d+)$", done.stdout, re.MULTILINE)[1]) > 0


def test_every_module_loads(node: str) -> None:
    """Without a browser; only tests/ui loads them in one."""
    script = "globalThis.HTMLElement = class {}; globalThis.window = {}; globalThis.customElements = { get: () => 1 };"
    script += "await import('./javascript/anyms.mjs');"
    script += "if (!window.anyms.changed) throw new Error('gradio has nothing to call');"
    command = [node, "--input-type=module", "-e", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


# -- imports ----------------------------------------------------------------------------------------------------------


def imports(file: Path) -> list[str]:
    """The addresses that a module imports."""
    return _IMPORT.findall(file.read_text(encoding="utf-8"))


def name_of(file: Path) -> str:
    return file.relative_to(FOLDER).as_posix()


def modules_of(file: Path) -> list[str]:
    """The imported modules by their names below javascript/."""
    folder = posixpath.dirname(name_of(file))
    return [posixpath.normpath(posixpath.join(folder, address.partition("?")[0])) for address in imports(file)]


def test_imports_are_versioned() -> None:
    """A browser caches a module by its address: after an update, a new module must not load an old one."""
    marks = set()
    for file in SOURCES:
        for address in imports(file):
            name, _, mark = address.partition("?v=")
            assert (file.parent / name).is_file(), address
            marks.add(mark)
    assert len(marks) == 1
    assert "" not in marks


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_nothing_is_loaded_from_elsewhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("\nimport ") == len(imports(file))
    assert "import(" not in re.sub(r"/\*\*.*?\*/", "", text, flags=re.DOTALL)
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_imports_go_one_way(file: Path) -> None:
    """model <- host <- view <- anyms.mjs."""
    room = posixpath.dirname(name_of(file))
    reachable = ROOMS[: ROOMS.index(room) + 1]
    for module in modules_of(file):
        assert posixpath.dirname(module) in reachable, f"{name_of(file)} must not import {module}"


def test_imports_form_no_circle() -> None:
    waiting = {name_of(file): set(modules_of(file)) for file in SOURCES}
    while waiting:
        ready = {name for name, needed in waiting.items() if not needed & waiting.keys()}
        assert ready, f"these modules import each other: {sorted(waiting)}"
        for name in ready:
            del waiting[name]


@pytest.mark.parametrize("file", sorted((FOLDER / "anyms" / "model").iterdir()), ids=lambda file: file.name)
def test_the_model_does_not_use_the_page(file: Path) -> None:
    assert _PAGE.findall(file.read_text(encoding="utf-8")) == []


# -- types ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tsc(node: str) -> list[str]:
    try:
        return [node, str(packages() / "typescript" / "bin" / "tsc")]
    except Unavailable as error:
        pytest.skip(str(error))


def copy_modules(folder: Path) -> None:
    """Copy the modules without the versions in their imports."""
    for file in SOURCES:
        copy = folder / file.relative_to(FOLDER)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(_MARK.sub("", file.read_text(encoding="utf-8")), encoding="utf-8")


def test_types_hold_and_a_wrong_type_is_found(tsc: list[str], tmp_path: Path) -> None:
    """One run for both, since it takes seconds: the only error is the one planted beside the modules."""
    copy_modules(tmp_path)
    wrong = tmp_path / "anyms" / "model" / "wrong.mjs"
    code = 'import { tokenGrid } from "./boxes.mjs";\ntokenGrid({ width: "64", height: 64 }, 1);\n'
    wrong.write_text(code, encoding="utf-8")
    command = [*tsc, *STRICT.split(), str(tmp_path / "anyms.mjs"), str(wrong)]
    report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300).stdout
    errors = [line for line in report.splitlines() if "error TS" in line]
    assert len(errors) == 1, report
    assert errors[0].startswith("anyms/model/wrong.mjs")
    assert "TS2322" in errors[0]


# -- labels and size --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_labels_are_translated_whole(file: Path) -> None:
    """t() gets whole labels: a label that is put together first has no translation."""
    calls = re.findall(r"\bt\((?:`|\"[^\"]*\" \+)", file.read_text(encoding="utf-8"))
    assert calls == []


def test_one_entry_and_small_modules() -> None:
    assert [file.name for file in FOLDER.iterdir() if file.is_file()] == ["anyms.mjs"]
    for file in SOURCES:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 420, file.name
        if not file.name.endswith("styles.mjs"):
            assert max(map(len, lines)) <= 120, file.name

"""The page's JavaScript: its own tests by node, and what holds for its files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from lib_anyms import __version__
from tests.support.node_packages import Unavailable, packages
from tests.support.programs import find_program

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "javascript").rglob("*.mjs"))
TESTS = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))
OLDEST = 18  # the first node with --test and what our tests use of it
STRICT = "--noEmit --allowJs --checkJs --strict --target es2022 --module es2022 --moduleResolution bundler"
STRICT += " --lib es2023,dom,dom.iterable"
_IMPORT = re.compile(r'^(?:import|export) .*?from "([^"]+)";', re.MULTILINE)


def find_node() -> str | None:
    """A node that is new enough; in CI one is installed if there is none."""
    found = find_program("node", "nodejs")
    if found is None:
        return None
    told = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    return found if int(told.strip().lstrip("v").partition(".")[0]) >= OLDEST else None


@pytest.fixture(scope="module")
def node() -> str:
    found = find_node()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no node of version {OLDEST} or later, and none could be installed")
        pytest.skip(f"no node of version {OLDEST} or later")
    return found


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_its_own_tests_pass(node: str, file: Path) -> None:
    done = subprocess.run([node, "--test", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert int(re.search(r"^. pass (\d+)$", done.stdout, re.MULTILINE)[1]) > 0


def test_every_part_has_been_read(node: str) -> None:
    """By a browser it is only in tests/ui, which needs one."""
    script = "globalThis.HTMLElement = class {}; globalThis.window = {}; globalThis.customElements = { get: () => 1 };"
    script += "await import('./javascript/anyms.mjs'); if (!window.anyms.changed) throw new Error('nothing for gradio to call');"
    done = subprocess.run(
        [node, "--input-type=module", "-e", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_parts_are_asked_for_by_this_version_and_nothing_comes_from_elsewhere(file: Path) -> None:
    """A browser keeps what it has under an address: a new version's entry must not meet an old version's parts."""
    text = file.read_text(encoding="utf-8")
    asked = _IMPORT.findall(text)
    assert text.count("\nimport ") == len(asked)
    for address in asked:
        name, _, version = address.partition("?v=")
        assert version == __version__
        assert (file.parent / name).is_file()
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.fixture(scope="module")
def tsc(node: str) -> list[str]:
    try:
        return [node, str(packages() / "typescript" / "bin" / "tsc")]
    except Unavailable as error:
        pytest.skip(str(error))


def checked(tsc: list[str], folder: Path) -> str:
    """What the type checker says of the page's JavaScript, copied into `folder` without the versions in its imports."""
    for file in SOURCES:
        copy = folder / file.relative_to(ROOT / "javascript")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(file.read_text(encoding="utf-8").replace(f"?v={__version__}", ""), encoding="utf-8")
    command = [*tsc, *STRICT.split(), str(folder / "anyms.mjs")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300).stdout


def test_types_hold(tsc: list[str], tmp_path: Path) -> None:
    assert checked(tsc, tmp_path) == ""


def test_a_wrong_type_is_seen(tsc: list[str], tmp_path: Path) -> None:
    checked(tsc, tmp_path)
    wrong = tmp_path / "anyms" / "model" / "wrong.mjs"
    wrong.write_text(
        'import { tokenGrid } from "./boxes.mjs";\ntokenGrid({ width: "64", height: 64 }, 1);\n', encoding="utf-8"
    )
    told = subprocess.run([*tsc, *STRICT.split(), str(wrong)], capture_output=True, text=True, timeout=300).stdout
    assert "TS2322" in told


def test_one_entry_and_small_parts() -> None:
    assert [file.name for file in (ROOT / "javascript").iterdir() if file.is_file()] == ["anyms.mjs"]
    for file in SOURCES:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 420, file.name
        if not file.name.endswith("styles.mjs"):
            assert max(map(len, lines)) <= 200, file.name

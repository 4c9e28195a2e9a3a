"""Imports go one way, and each outside world is touched in one place only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Lowest first; a room imports from lower rooms and from itself only.
ORDER = (
    {"errors", "runtime", "stamp"},
    {"layout", "tensor_files"},
    {"engine"},
    {"ip_adapter"},
    {"cards", "models"},
    {"hosts"},
    {"job"},
    {"standalone", "webui"},
    {"lab"},
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
# What only some may import: outside package -> the parts that may.
PLACES = {
    "modules": {"hosts", "webui", "scripts"},
    "backend": {"hosts"},
    "gradio": {"webui", "scripts"},
    "fastapi": {"webui"},
    "diffusers": {"standalone", "lab"},
    "transformers": {"ip_adapter", "standalone", "lab"},
    "matplotlib": {"standalone", "lab"},
}
NO_TORCH = {"errors", "layout", "runtime", "stamp"}
SOURCES = sorted([*ROOT.glob("lib_anyms/**/*.py"), *ROOT.glob("scripts/*.py")])


def part(path: Path) -> str:
    """The room of lib_anyms a file belongs to, or "scripts"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "lib_anyms" else "scripts"


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the direction"
            yield node.module or ""
            if node.module == "lib_anyms":
                yield from (f"lib_anyms.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    here = part(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top in PLACES:
            assert here in PLACES[top], f"{here} imports {name}"
        if top == "torch":
            assert here not in NO_TORCH, f"{here} imports torch"
        target = rest.split(".")[0]
        if top == "lib_anyms" and target in RANK and here in RANK and target != here:
            assert RANK[target] < RANK[here], f"{here} imports {target}"


def test_nothing_imports_the_laboratory() -> None:
    """The command line loads its commands by name."""
    importing = {part(path) for path in SOURCES for name in imports(path) if f"{name}.".startswith("lib_anyms.lab.")}
    assert importing == {"lab"}


def test_every_part_has_its_place() -> None:
    assert {part(path) for path in SOURCES} - {"scripts", "__init__", "__main__"} == set(RANK)
    assert len(SOURCES) > 30

"""The hosts' own quoting and parser of infotexts, without starting a host: the line comes back from each of them."""

from __future__ import annotations

import ast
import json
import os
import re
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given

from lib_anyms.job import infotext, subject_line
from tests.hosts import server
from tests.hosts.kinds import KINDS
from tests.support import host_parser
from tests.unit.test_subject_line import REQUESTS

# Forge Neo replaces these of Civitai in the whole line, also within our text.
_REPLACED = (", width:", ", height:", "Sampler: Undefined,")


@pytest.fixture(scope="module", params=[*KINDS])
def host(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The functions of the host's modules/infotext_utils.py; its imports are stand-ins."""
    place = server.find(request.param)
    if isinstance(place, str):
        pytest.skip(place)
    tree = ast.parse((place.folder / "modules" / "infotext_utils.py").read_text(encoding="utf-8"))
    kept: list[ast.stmt] = []
    for node in tree.body:
        expression = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("re_")
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if expression or future or isinstance(node, ast.FunctionDef):
            kept.append(node)
    names = {**dict.fromkeys(imported(tree), MagicMock()), **stand_ins()}
    exec(compile(ast.Module(kept, []), "infotext_utils", "exec"), names)
    return names


def imported(tree: ast.Module) -> list[str]:
    """The names that a module imports."""
    names = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return names


def stand_ins() -> dict[str, Any]:
    """What the parser uses of its imports."""
    options = {"infotext_skip_pasting": [], "infotext_styles": "Ignore", "use_old_hires_fix_width_height": False}
    options |= {"sd_model_checkpoint": "model.safetensors", "forge_additional_modules": []}
    shared = SimpleNamespace(opts=SimpleNamespace(**options))
    parser = SimpleNamespace(parse_prompt_attention=lambda prompt: [])
    return {"json": json, "re": re, "os": os, "Any": Any, "shared": shared, "prompt_parser": parser}


def parsed_by(host: dict[str, Any], entries: dict[str, str]) -> dict[str, Any]:
    """The entries after the host's quoting and its parser."""
    line = ", ".join(f"{name}: {host['quote'](value)}" for name, value in entries.items())  # as create_infotext
    text = f"a cat\n{line}"
    assert text == host_parser.written(entries)
    return host["parse_generation_parameters"](text)


@given(REQUESTS)
def test_the_host_s_own_parser_returns_any_line(host: dict[str, Any], data: dict[str, Any]) -> None:
    original = infotext.read(json.dumps(data))
    line = subject_line.write(original.to_json())
    if not any(text in line for text in _REPLACED):
        entries = {"Steps": "20", "Size": "512x512", "AnyMS": line, "Version": "v1"}
        answer = parsed_by(host, entries)
        assert answer["AnyMS"] == line == host_parser.parsed(host_parser.written(entries))["AnyMS"]
        assert (answer["Prompt"], answer["Steps"], answer["Size-1"]) == ("a cat", "20", "512")
        assert infotext.read(answer["AnyMS"]) == original


def test_a_line_by_hand_is_read_after_the_host_s_parser(host: dict[str, Any]) -> None:
    text = (
        'a cat\nSteps: 20, Sampler: Euler, Seed: 1, AnyMS: "cat: 5,25 43x55; it\'s: 5 25 43x55 weight 1.5", Version: v1'
    )
    recalled = infotext.read(host["parse_generation_parameters"](text)["AnyMS"])
    assert [(subject.name, subject.weight) for subject in recalled.subjects] == [("cat", 1), ("it's", 1.5)]

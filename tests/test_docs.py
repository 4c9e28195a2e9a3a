"""The documents: links and anchors exist, commands and their options exist, pictures are used, README stays short."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from lib_anyms.layout.fields import REQUEST_FIELDS
from lib_anyms.layout.layout import SUBJECT_FIELDS
from lib_anyms.standalone import cli

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tests/compat/**/*.md")])
MOST_LINES = 90  # of README
MOST_BYTES = 2 * 10**6  # of a picture
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_COMMAND = re.compile(r"python3? -m lib_anyms ([a-z]+)([^\n`]*)")
_SHORT = re.compile(r"`(test|card [a-z]+)((?: --[a-z][a-z0-9-]*)+)")  # a command in a sentence
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
COMMON = ("--here", "--help")  # options of every command
every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def prose(path: Path) -> str:
    """A document without its code."""
    return _CODE.sub("", _FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub forms them."""
    headings = _HEADING.findall(_FENCE.sub("", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[tuple[str, str]]:
    """(file or "", anchor or "") of each link to the checkout."""
    for link in _LINK.findall(prose(path)):
        if not link.startswith(("http://", "https://", "mailto:")):
            file, _, anchor = link.partition("#")
            yield file, anchor


def options_of(command: str) -> set[str]:
    """The options of a command, and of its actions."""
    parser = argparse.ArgumentParser()
    import_module(cli.COMMANDS[command].module).add_arguments(parser)
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    return {*COMMON, *(option for each in parsers for action in each._actions for option in action.option_strings)}


@every_document
def test_links_and_anchors_exist(path: Path) -> None:
    for file, anchor in links(path):
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name} links to {file}"
        assert target.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(target), f"{path.name} links to {file}#{anchor}"


@every_document
def test_commands_and_options_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for words, rest in [*_COMMAND.findall(text), *_SHORT.findall(text)]:
        command = words.partition(" ")[0]
        assert command in cli.COMMANDS, f"{path.name}: {command}"
        named = set(_OPTION.findall(rest.partition("#")[0]))
        assert named <= options_of(command), f"{path.name}: {command} has no {named - options_of(command)}"


def test_every_picture_is_used_and_small() -> None:
    used = {(path.parent / file).resolve() for path in DOCUMENTS for file, _ in links(path) if file}
    for picture in PICTURES.iterdir():
        assert picture in used, f"{picture.name} is in no document"
        assert picture.stat().st_size <= MOST_BYTES


def test_every_document_is_in_the_index() -> None:
    index = {(ROOT / "docs" / file).resolve() for file, _ in links(ROOT / "docs" / "README.md")}
    assert {path for path in ROOT.glob("docs/*.md") if path.name != "README.md"} <= index


def test_the_api_document_names_every_field_and_value() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for field in (*REQUEST_FIELDS, *SUBJECT_FIELDS):
        assert f"`{field.name}`" in text
        for choice in field.choices:
            assert choice in text, f"{field.name}: {choice}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES

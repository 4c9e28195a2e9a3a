"""Subjects on the command line: "NAME=FILE[,FILE]@x0,y0,x1,y1[:weight]", or without the box and with a layout file.

FILE is a picture, or one subject card. Importing this module needs the standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject

FORM = "NAME=FILE[,FILE]@x0,y0,x1,y1[:weight]"
CARD_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class SubjectArgument:
    """One --subject; `box` is None where a layout file has it."""

    name: str
    files: tuple[Path, ...]
    box: Box | None
    weight: float

    @property
    def card(self) -> Path | None:
        """The subject card, if the file's suffix says that it is one."""
        return self.files[0] if self.files[0].suffix.lower() == CARD_SUFFIX else None


def parse_subject(text: str) -> SubjectArgument:
    """Split at the first "=" and the last "@": file names may contain both. Raises Refused."""
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise Refused("cli_subject", got=text, expected=FORM)
    files, at, box_text = rest.rpartition("@")
    if not at or not _has_numbers(box_text):
        files, box_text = rest, ""  # this @ is part of a file name
    if not files or not all(files.split(",")):
        raise Refused("cli_subject", got=text, expected=FORM)
    if files.count(",") and any(file.lower().endswith(CARD_SUFFIX) for file in files.split(",")):
        raise Refused("card_and_pictures", name=name)
    edges, _, weight = box_text.partition(":")
    box = Box.read([float(number) for number in edges.split(",")]) if box_text else None
    return SubjectArgument(name, tuple(Path(file) for file in files.split(",")), box, float(weight or 1))


def _has_numbers(box_text: str) -> bool:
    edges, colon, weight = box_text.partition(":")
    try:
        for number in edges.split(","):
            float(number)
        return not colon or float(weight) >= 0
    except ValueError:
        return False


def place_subjects(arguments: Sequence[SubjectArgument], layout: Path | None) -> Layout:
    """The layout, back to front in the order of --subject: boxes from there or from the file. Raises Refused."""
    boxed = [argument for argument in arguments if argument.box is not None]
    if layout is None:
        if len(boxed) < len(arguments):
            unboxed = next(argument for argument in arguments if argument.box is None)
            raise Refused("cli_box_missing", name=unboxed.name, expected=FORM)
        return Layout(tuple(Subject(a.name, a.box, weight=a.weight) for a in arguments if a.box is not None))
    if boxed:
        raise Refused("cli_box_twice", name=boxed[0].name)
    placed = Layout.from_json(_read_json(layout))
    if len(placed.subjects) != len(arguments):
        raise Refused("cli_layout_count", path=layout.name, expected=len(placed.subjects), got=len(arguments))
    return placed


def with_prompts(layout: Layout, field: str, arguments: Sequence[str]) -> Layout:
    """`layout` with a field ("prompt" or "avoid") of the subjects that "NAME=TEXT" arguments name. Raises Refused."""
    texts = _by_name(layout, f"--subject-{field}", arguments, "TEXT")
    changed = []
    for subject in layout.subjects:
        text = texts.get(subject.name, getattr(subject, field))
        changed.append(replace(subject, prompt=text) if field == "prompt" else replace(subject, avoid=text))
    return Layout(tuple(changed))


def silhouette_files(layout: Layout, arguments: Sequence[str]) -> dict[str, Path]:
    """The mask of each subject that "NAME=FILE" arguments name. Raises Refused."""
    files = _by_name(layout, "--subject-silhouette", arguments, "FILE")
    return {name: Path(file) for name, file in files.items()}


def _by_name(layout: Layout, option: str, arguments: Sequence[str], value: str) -> dict[str, str]:
    """The values of "NAME=VALUE" arguments by the subject's name. Raises Refused."""
    names, values = [subject.name for subject in layout.subjects], {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or name not in names:
            raise Refused("cli_named", option=option, got=argument, value=value, expected=", ".join(names))
        values[name] = text
    return values


def read_bytes(file: Path) -> bytes:
    """The file's bytes. Raises Refused."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused("cli_file", path=file, got=error.strerror or error) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())  # finds UTF-8 and UTF-16, with or without a byte order mark
    except OSError as error:
        raise Refused("cli_file", path=path, got=error.strerror or error) from error
    except (ValueError, RecursionError) as error:
        raise Refused("cli_json", path=path, got=str(error)[:120]) from error

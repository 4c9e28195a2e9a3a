"""A request without its pixels as one line that a person can read and edit; the only module that knows its grammar.

    cat: 5,25 43x55 %, weight 0.8, pictures 464862c33d0d; dog: 50,20 30x70 %; settings: scale 0.8

A subject is its name, a colon and its parts; subjects are back to front, with ; between them. A part is the box (left,
top, width and height in percent of the image) or a field and its value. "settings" has the fields of the whole request.
A field that is left out has its default; a line of other defaults or another grammar begins with "version 2;".

Text is in single quotes where it holds signs of the grammar; '' in it is one quote. So the line needs double quotes and
backslashes, which hosts escape, only where the user's text has them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.job.request import VERSION
from lib_anyms.layout.fields import MAX_PROMPT, REQUEST_FIELDS, Field, is_version
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import CARD, HASHES, NOT_OF_LAYOUT, SUBJECT_FIELDS

SETTINGS = "settings"
_NAME, *_FIELDS = SUBJECT_FIELDS
_EXACT = Context(prec=60)  # the decimals of two floats near 1, and their sum
_LONGEST_NUMBER = 20  # characters; a box whose size is longer is written by its corners
_NUMBER = r"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?"
_GAP = r"\s{0,9}%?\s{0,9}"
_NEXT = rf"(?:{_GAP},|\s{{0,9}}%?\s)\s{{0,9}}"
_SIZE = rf"{_NEXT}(?P<width>{_NUMBER}){_GAP}[x×*]\s{{0,9}}(?P<height>{_NUMBER})"
_CORNER = rf"{_GAP}to\s{{0,9}}(?P<right>{_NUMBER}){_NEXT}(?P<bottom>{_NUMBER})"
_BOX = re.compile(rf"(?<![\w.])(?P<left>{_NUMBER}){_NEXT}(?P<top>{_NUMBER})(?:{_SIZE}|{_CORNER})\s{{0,9}}%?(?![\w.])")
_QUOTED = re.compile(r"'((?:[^']|''|'(?=\w))*)'(?!['\w])")  # it's: a quote within a word does not end the text
_VERSION = re.compile(r"\s*version\s+(\d{1,9})\s*;")
_WORD = re.compile(r"([^\W\d]\w*)[\s:=]*")
_HASH = re.compile(r"[0-9a-f]{12}\b\s*")


def write(data: dict[str, Any]) -> str:
    """The line of a request's JSON object with hashes in place of pictures; `read` is the inverse."""
    sections = []
    for subject in data["subjects"]:
        parts = [_box_text(subject["box"]), *_written(_FIELDS, subject)]
        for key in NOT_OF_LAYOUT:
            hashes = subject.get(key, "")
            parts += [f"{key} {' '.join(hashes) if key == HASHES else hashes}"] if hashes else []
        sections.append(f"{_name_text(subject['name'])}: {', '.join(parts)}")
    settings = _written(REQUEST_FIELDS, data)
    if settings:
        sections.append(f"{SETTINGS}: {', '.join(settings)}")
    return "; ".join(sections)


def read(line: str) -> dict[str, Any]:
    """The JSON object of a line, with the fields that the line has. Raises Refused, which names the subject."""
    version = _VERSION.match(line)
    if version and not is_version(int(version[1]), VERSION):
        raise Refused("infotext_version", got=int(version[1]), expected=VERSION)
    reader = _Reader(line, version.end() if version else 0)
    data: dict[str, Any] = {"version": VERSION, "subjects": []}
    while reader.more(r"[\s;]*"):
        name = reader.name()
        if name is None:
            reader.parts(REQUEST_FIELDS, data, "the infotext")
        else:
            data["subjects"].append(_subject(reader, name))
    if not data["subjects"] and len(data) == 2:
        raise Refused("infotext_damaged", got="it is empty")
    return data


def _subject(reader: _Reader, name: str) -> dict[str, Any]:
    subject: dict[str, Any] = {"name": _NAME.read(name, "a subject of the infotext")}
    reader.parts(_FIELDS, subject, f"subject {name!r} of the infotext", name)
    if "box" not in subject:
        raise Refused("infotext_box", name=name, got="missing")
    if HASHES in subject and CARD in subject:
        raise Refused("card_and_pictures", name=name)
    return subject


@dataclass
class _Reader:
    """The line from left to right; `at` is the first character that is not read."""

    line: str
    at: int = 0

    def take(self, pattern: str | re.Pattern[str]) -> re.Match[str] | None:
        """Read what matches here; None, and nothing is read, if nothing does."""
        match = re.compile(pattern).match(self.line, self.at)
        self.at = match.end() if match else self.at
        return match

    def more(self, gap: str) -> bool:
        """Whether anything follows after `gap`."""
        self.take(gap)
        return self.at < len(self.line)

    def name(self) -> str | None:
        """The name before a subject's parts; None for the settings. The colon may be missing before a box."""
        quoted = self.quoted()
        if quoted is not None:
            self.take(r"\s*:")
            return quoted
        text = _until(";:", self.line, self.at)
        box = _BOX.search(text)
        end = self.at + (box.start() if box else len(text))
        if not box and self.line[end : end + 1] != ":":
            raise Refused("infotext_subject", got=text.strip())
        self.at = end if box else end + 1
        name = text[: box.start() if box else None].strip()
        return None if name.casefold() == SETTINGS else name

    def parts(self, table: Sequence[Field], values: dict[str, Any], where: str, subject: str | None = None) -> None:
        """Read the parts of one section into `values`."""
        while self.more(r"[\s,]*") and self.line[self.at] != ";":
            start = self.at
            box = self.box(subject, "box" in values) if subject is not None else None
            key, value = ("box", box) if box else self.field(table, where, subject is not None)
            if key in values:
                raise Refused("infotext_twice", where=where, field=key, got=self.line[start : self.at])
            values[key] = value

    def box(self, subject: str, is_second: bool) -> list[float] | None:
        """The edges of a box, with or without the word box; None for another part."""
        box_word, start = self.take(r"box[\s:=]*(?=\W|\d|$)"), self.at
        match = self.take(_BOX)
        if match:
            return _edges(match, subject)
        if box_word or (not is_second and re.match(r"[-+.\d]", self.line[self.at :])):
            raise Refused("infotext_box", name=subject, got=repr(_until(";", self.line, start).strip()))
        return None

    def field(self, table: Sequence[Field], where: str, of_subject: bool) -> tuple[str, Any]:
        """A field's name and value."""
        start, word = self.at, self.take(_WORD)
        key = word[1].lower() if word else ""
        if of_subject and key in NOT_OF_LAYOUT:
            return key, self.hashes(key, where)
        for field in table:
            if field.name == key:
                return key, field.read(self.value(field), where)
        known = [*(["a box", *NOT_OF_LAYOUT] if of_subject else []), *(field.name for field in table)]
        raise Refused("infotext_part", where=where, got=self.part_at(start), expected=", ".join(known))

    def value(self, field: Field) -> Any:
        """A field's value as far as its kind tells; what does not fit stays text, which the field refuses."""
        quoted = self.quoted()
        if quoted is not None:
            return quoted
        if field.choices:
            longest_first = "|".join(sorted(field.choices, key=len, reverse=True)).replace(" ", r"\s+")
            choice = self.take(rf"(?i:{longest_first})(?![\w-])")
            return " ".join(choice[0].lower().split()) if choice else self.text(",;")
        if isinstance(field.default, str):
            return self.text(",;")
        word = self.text(r"\s,;")
        if isinstance(field.default, bool):
            return {"true": True, "false": False}.get(word.lower(), word)
        return float(word) if re.fullmatch(_NUMBER, word) else word

    def hashes(self, key: str, where: str) -> list[str] | str:
        """The hashes of pictures, or that of a card or a silhouette."""
        start, hashes = self.at, []
        while match := self.take(_HASH):
            hashes.append(match[0].strip())
        if not hashes or (key != HASHES and len(hashes) > 1):
            raise Refused("infotext_hash", field=f"{key} of {where}", got=self.part_at(start))
        return hashes if key == HASHES else hashes[0]

    def text(self, stops: str) -> str:
        """Read up to one of `stops`."""
        text = _until(stops, self.line, self.at)
        self.at += len(text)
        return text.strip()

    def part_at(self, start: int) -> str:
        """The part that begins at `start`, for a sentence."""
        return _until(",;", self.line, start).strip()

    def quoted(self) -> str | None:
        """Text in single quotes; None where none begins here. Raises Refused if it has no end, or for double quotes."""
        match = self.take(_QUOTED)
        if match:
            return match[1].replace("''", "'")
        if self.line[self.at : self.at + 1] in ("'", '"'):
            raise Refused("infotext_quotes", got=self.part_at(self.at))
        return None


def _until(stops: str, line: str, start: int) -> str:
    """The text from `start` to one of `stops`, as a regular expression has them in brackets."""
    match = re.compile(f"[^{stops}]*").match(line, start)
    return match[0] if match else ""


def _written(table: Sequence[Field], values: dict[str, Any]) -> list[str]:
    """The fields that differ from their defaults."""
    parts = []
    for field in table:
        value = values.get(field.name, field.default)
        if value != field.default:
            parts.append(f"{field.name} {_value_text(field, value)}")
    return parts


def _value_text(field: Field, value: Any) -> str:
    if isinstance(field.default, bool) or field.choices:
        return str(value).lower()
    if not isinstance(field.default, str):
        return repr(float(value)).removesuffix(".0")
    prompt = field.high == MAX_PROMPT and " " in value  # quoted, so that a comma may be added
    return value if not prompt and _is_plain(value, ",;") else _quote(value)


def _name_text(name: str) -> str:
    special = name.casefold() == SETTINGS or name.startswith(("{", "[")) or _BOX.search(name)
    return name if not special and _is_plain(name, ":;") else _quote(name)


def _is_plain(text: str, signs: str) -> bool:
    """Whether text reads the same without quotes."""
    clean = text.isprintable() and text.strip() == text != "" and text[0] not in "'\":="
    return clean and not any(sign in text for sign in signs)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _box_text(edges: list[float]) -> str:
    """Position and size; two corners where a size has many digits."""
    left, top, right, bottom = (_EXACT.multiply(Decimal(repr(float(edge))), Decimal(100)) for edge in edges)
    width, height = map(_decimal_text, (_EXACT.subtract(right, left), _EXACT.subtract(bottom, top)))
    corner = f"{_decimal_text(left)},{_decimal_text(top)}"
    if max(len(width), len(height)) <= _LONGEST_NUMBER:
        return f"{corner} {width}x{height} %"
    return f"{corner} to {_decimal_text(right)},{_decimal_text(bottom)} %"


def _decimal_text(number: Decimal) -> str:
    text = format(number.normalize(_EXACT), "f")
    return text if len(text) <= _LONGEST_NUMBER else format(number.normalize(_EXACT), "e")


def _edges(match: re.Match[str], subject: str) -> list[float]:
    """The edges of a box in fractions. Without a percent sign numbers up to 1 may be fractions, so they are refused."""
    edges = _numbers(match)
    small = all(abs(float(text)) <= 1 for text in match.groups() if text)
    try:
        if small and "%" not in match[0]:
            raise Refused("box_form", got=match[0])
        Box.read(edges)
    except Refused as refusal:  # which does not name the subject
        raise Refused("infotext_box", name=subject, got=repr(match[0])) from refusal
    return edges


def _numbers(match: re.Match[str]) -> list[float]:
    """The edges in fractions; decimal arithmetic, because floats would round."""
    texts = match.groupdict()
    left, top = Decimal(texts["left"]), Decimal(texts["top"])
    if texts["width"]:
        right, bottom = _EXACT.add(left, Decimal(texts["width"])), _EXACT.add(top, Decimal(texts["height"]))
    else:
        right, bottom = Decimal(texts["right"]), Decimal(texts["bottom"])
    return [float(_EXACT.divide(edge, Decimal(100))) for edge in (left, top, right, bottom)]

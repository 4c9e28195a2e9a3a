"""What a picture's infotext keeps of a request: everything but the pixels, as one line of JSON under one name.

The host puts the line into quotes and parses it back; JSON escapes line ends and quotes, so names may hold anything.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.job.request import MAX_PICTURES, VERSION, Request
from lib_anyms.layout.fields import REQUEST_FIELDS, read_fields
from lib_anyms.layout.layout import CARD, HASHES, MAX_SUBJECTS, Subject, read_subject

NAME = "AnyMS"
SKIPPED = "AnyMS skipped"  # why the picture was made without
_ENTRY = re.compile(rf'(?:^|[,\n] *){NAME}: ("(?:[^"\\]|\\.)*")')
_HASH = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Recalled:
    """A request without its pixels: the settings by name, the subjects back to front, and each one's pictures by hash.

    `cards` has a hash for each subject that was made from a card, "" for the others.
    """

    settings: dict[str, Any]
    subjects: tuple[Subject, ...]
    pictures: tuple[tuple[str, ...], ...]
    cards: tuple[str, ...] = ()


def write(request: Request) -> str:
    """The line of JSON; `read` is the inverse."""
    return json.dumps(request.to_json(), ensure_ascii=False, separators=(",", ":"))


def read(text: str) -> Recalled:
    """What `write` has written. Raises Refused: another version's, damaged, or a value out of its bounds."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("infotext_damaged", got="not JSON") from error
    if not isinstance(given, dict) or not isinstance(given.get("subjects"), list):
        raise Refused("infotext_damaged", got="no object with a list of subjects")
    if given.get("version") != VERSION:
        raise Refused("infotext_version", got=given.get("version"), expected=VERSION)
    subjects = given["subjects"]
    if len(subjects) > MAX_SUBJECTS:
        raise Refused("subject_count", got=len(subjects), low=1, high=MAX_SUBJECTS)
    settings = read_fields(REQUEST_FIELDS, given, "the infotext", ("version", "subjects"))
    placed = tuple(read_subject(subject, number, (HASHES, CARD)) for number, subject in enumerate(subjects, 1))
    pictures = tuple(_hashes(subject.get(HASHES, [])) for subject in subjects)
    return Recalled(settings, placed, pictures, tuple(_card(subject.get(CARD, "")) for subject in subjects))


def entries(parameters: Any) -> dict[str, str]:
    """What AnyMS wrote into a whole infotext, by its name as the hosts' parser has it; empty where it wrote nothing."""
    found = _ENTRY.findall(parameters) if isinstance(parameters, str) else []
    try:
        return {NAME: str(json.loads(found[-1]))} if found else {}  # the last: a prompt may tell of another
    except ValueError:
        return {}


def _hashes(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or len(given) > MAX_PICTURES:
        raise Refused("infotext_damaged", got=f"no list of at most {MAX_PICTURES} picture hashes")
    if not all(isinstance(told, str) and _HASH.fullmatch(told) for told in given):
        raise Refused("infotext_damaged", got="a picture hash that is none")
    return tuple(given)


def _card(given: Any) -> str:
    if not isinstance(given, str) or not (given == "" or _HASH.fullmatch(given)):
        raise Refused("infotext_damaged", got="a card's hash that is none")
    return given

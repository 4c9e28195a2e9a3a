"""The request in an image's infotext: everything but the pixels, as one line that a person can edit, under one name.

There is one form only, so an edit always acts; earlier versions wrote JSON, which is still read. The host puts the line
in quotes as JSON text and parses it back, so names may hold any text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.job import subject_line
from lib_anyms.job.pictures import MAX_PICTURES
from lib_anyms.job.request import VERSION, Request, request_json
from lib_anyms.layout.fields import REQUEST_FIELDS, is_version, read_fields
from lib_anyms.layout.layout import CARD, HASHES, MAX_SUBJECTS, NOT_OF_LAYOUT, SILHOUETTE, Subject, read_subject

NAME = "AnyMS"
SKIPPED = "AnyMS skipped"  # why the image was made without AnyMS
NOTE = "AnyMS note"  # what is unusual about a pass of this image
_ENTRY = re.compile(rf'(?:^|[,\n] *){NAME}: ("(?:[^"\\]|\\.)*")')
_HASH = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Recalled:
    """A request without its pixels: settings by name, subjects back to front, each subject's pictures by hash.

    cards: a hash for each subject that was made from a card, "" for the others; silhouettes: likewise.
    """

    settings: dict[str, Any]
    subjects: tuple[Subject, ...]
    pictures: tuple[tuple[str, ...], ...]
    cards: tuple[str, ...] = ()
    silhouettes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `Request.to_json` was; with images added it is a request again."""
        return request_json(self.settings, self.subjects, self.pictures, self.cards, self.silhouettes)


def write(request: Request) -> str:
    """The line of a request; `read` is the inverse."""
    return subject_line.write(request.to_json())


def read(text: str) -> Recalled:
    """The request of a line, or of the JSON that earlier versions wrote.

    Raises Refused for another version, damage, or a value out of its bounds.
    """
    data = _load(text) if text.lstrip()[:1] in ("{", "[") else subject_line.read(text)
    if not isinstance(data, dict) or not isinstance(data.get("subjects"), list):
        raise Refused("infotext_damaged", got="no object with a list of subjects")
    if not is_version(data.get("version"), VERSION):
        raise Refused("infotext_version", got=data.get("version"), expected=VERSION)
    items = data["subjects"]
    if len(items) > MAX_SUBJECTS:
        raise Refused("subject_count", got=len(items), low=1, high=MAX_SUBJECTS)
    settings = read_fields(REQUEST_FIELDS, data, "the infotext", ("version", "subjects"))
    subjects = tuple(read_subject(item, number, NOT_OF_LAYOUT) for number, item in enumerate(items, 1))
    pictures = tuple(_hashes(item.get(HASHES, [])) for item in items)
    cards = tuple(_hash(item.get(CARD, ""), "card") for item in items)
    silhouettes = tuple(_hash(item.get(SILHOUETTE, ""), SILHOUETTE) for item in items)
    return Recalled(settings, subjects, pictures, cards, silhouettes)


def entries(parameters: Any) -> dict[str, str]:
    """The entry of AnyMS in a whole infotext, by its name, as the hosts' parser returns it; empty without one."""
    matches = _ENTRY.findall(parameters) if isinstance(parameters, str) else []
    if not matches:
        return {}
    try:
        return {NAME: str(json.loads(matches[-1]))}  # the last: a prompt may quote another entry
    except (ValueError, RecursionError):
        return {}


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("infotext_damaged", got="not JSON") from error


def _hashes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_PICTURES:
        raise Refused("infotext_damaged", got=f"no list of at most {MAX_PICTURES} picture hashes")
    if not all(isinstance(text, str) and _HASH.fullmatch(text) for text in value):
        raise Refused("infotext_damaged", got="an invalid picture hash")
    return tuple(value)


def _hash(value: Any, what: str) -> str:
    if not isinstance(value, str) or not (value == "" or _HASH.fullmatch(value)):
        raise Refused("infotext_damaged", got=f"an invalid {what} hash")
    return value

"""The page's plain form: which values it has, in which order, and how they become a request's JSON object.

No gradio here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from lib_anyms.cards.address import card_of
from lib_anyms.errors import Refused
from lib_anyms.layout.fields import AUTO, REQUEST_FIELDS, Field
from lib_anyms.layout.layout import (
    CARD,
    MAX_SUBJECTS,
    ROLES,
    SUBJECT_FIELDS,
    Subject,
    propose_order,
    propose_role,
    read_subject,
)

SETTINGS = tuple(row.name for row in REQUEST_FIELDS if row.name != "enabled")
PROPOSED, AS_NUMBERED = "by role and size", "as numbered"
ORDER, USE = "order", "use"
SLOTS = MAX_SUBJECTS
SHOWN_FIRST = 2  # the region editor shows the others as they are added
EDGES = {"x0": "left", "y0": "top", "x1": "right", "y1": "bottom"}
SLOT_FIELDS = tuple(row.name for row in SUBJECT_FIELDS)
PICTURES = "pictures"  # of a slot: a JSON list of base64 texts, as the page's script writes it
SLOT_VALUES = (PICTURES, "name", "role", *EDGES, *(name for name in SLOT_FIELDS if name not in ("name", "role")), USE)
SLOT_DEFAULTS = {**{row.name: row.default for row in SUBJECT_FIELDS}, "role": AUTO, USE: True}
ROWS: dict[str, Field] = {
    **{row.name: row for row in (*REQUEST_FIELDS, *SUBJECT_FIELDS)},
    ORDER: Field(ORDER, PROPOSED, f"{PROPOSED}, {AS_NUMBERED}, or the numbers from back to front, as 2 1 3", high=80),
    "role": Field("role", AUTO, "proposes the order; auto: by the name", choices=(AUTO, *ROLES)),
    USE: Field(USE, True, "whether the subject takes part"),
}
_SIDE_BY_SIDE = ((0.05, 0.15, 0.48, 0.95), (0.52, 0.15, 0.95, 0.95))
# Without the editor the others start as a cascade; the editor proposes places of its own.
SLOT_BOXES = (
    *_SIDE_BY_SIDE,
    *(tuple(round(edge + 0.03 * number, 2) for edge in (0.1, 0.1, 0.5, 0.5)) for number in range(SLOTS - SHOWN_FIRST)),
)


def slot_name(number: int, name: str) -> str:
    """What a slot's component is called in element ids and infotext fields."""
    return f"slot{number}_{name}"


def read_order(text: Any) -> list[int] | None:
    """The slots' numbers from back to front; the others lie on top, as numbered. None: to be proposed.

    Raises Refused.
    """
    text = ROWS[ORDER].read(text, "the page").strip()
    if text in (PROPOSED, ""):
        return None
    words = [] if text == AS_NUMBERED else re.split(r"[\s,]+", text)
    named = [int(word) for word in words if word.isascii() and word.isdigit()]
    if len(named) < len(words) or len(set(named)) < len(named) or not set(named) <= set(range(1, SLOTS + 1)):
        raise Refused("order_form", got=text, high=SLOTS)
    return [*named, *(number for number in range(1, SLOTS + 1) if number not in named)]


def form_request(values: Sequence[Any]) -> dict[str, Any]:
    """Enabled, settings, order, slots -> the JSON object of docs/api.md."""
    enabled, *rest = values
    settings, rest = dict(zip(SETTINGS, rest)), rest[len(SETTINGS) :]
    order = read_order(rest[0]) if rest else None
    rows = range(1, len(rest), len(SLOT_VALUES))
    slots = [dict(zip(SLOT_VALUES, rest[start : start + len(SLOT_VALUES)])) for start in rows]
    taking_part = {number: _subject(number, slot) for number, slot in enumerate(slots, 1) if takes_part(slot)}
    subjects = [taking_part[number] for number in order or taking_part if number in taking_part]
    if order is None:
        subjects = [subjects[n] for n in propose_order([_placed(subject) for subject in subjects])]
    return {"enabled": bool(enabled), **settings, "subjects": subjects}


def takes_part(slot: dict[str, Any]) -> bool:
    """Whether a slot is a subject of the request: it is used, and has a picture or a name."""
    return bool(slot.get(USE, True)) and (bool(slot[PICTURES]) or bool((slot["name"] or "").strip()))


def _subject(number: int, slot: dict[str, Any]) -> dict[str, Any]:
    name = (slot["name"] or "").strip() or f"subject {number}"
    told = {field: slot[field] for field in SLOT_FIELDS if field in slot}
    role = propose_role(name) if slot["role"] == AUTO else slot["role"]
    images = read_pictures(slot[PICTURES], name)
    place = next((n for n, image in enumerate(images) if card_of(image)), None)
    card = "" if place is None else card_of(images.pop(place))
    given = {**({CARD: card} if card else {}), "images": images}
    return {**told, "name": name, "role": role, "box": [slot[edge] for edge in EDGES], **given}


def read_pictures(text: Any, name: str) -> list[Any]:
    """The base64 texts a slot holds; "" and None hold none. Raises Refused."""
    try:
        given = json.loads(text) if text else []
    except (ValueError, TypeError, RecursionError):
        given = None
    if not isinstance(given, list):
        raise Refused(
            "field_type", field=f"the pictures of subject {name!r}", got="not readable", expected="a JSON list"
        )
    return given


def _placed(given: dict[str, Any]) -> Subject:
    return read_subject(given, 0, ("images", CARD))

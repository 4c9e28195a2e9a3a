"""The page's form without gradio: its values, their order, and how they become the JSON object of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from lib_anyms.cards.address import card_of
from lib_anyms.errors import Refused
from lib_anyms.layout.fields import AUTO, REQUEST_FIELDS, Field
from lib_anyms.layout.layout import (
    CARD,
    MAX_SUBJECTS,
    PROMPTS,
    ROLES,
    SILHOUETTE,
    SUBJECT_FIELDS,
    Subject,
    propose_order,
    propose_role,
    read_subject,
)

SETTINGS = tuple(field.name for field in REQUEST_FIELDS if field.name != "enabled")
PROPOSED, AS_NUMBERED = "by role and size", "as numbered"
ORDER, USE = "order", "use"
SLOTS = MAX_SUBJECTS
SHOWN_FIRST = 2  # slots that the region editor shows at first
EDGES = {"x0": "left", "y0": "top", "x1": "right", "y1": "bottom"}
SLOT_FIELDS = tuple(field.name for field in SUBJECT_FIELDS)
PICTURES = "pictures"  # of a slot: a JSON list of base64 texts, written by the page's script
_MIDDLE = tuple(name for name in SLOT_FIELDS if name not in ("name", "role", *PROMPTS))
SLOT_VALUES = (
    PICTURES,
    "name",
    "role",
    *EDGES,
    *_MIDDLE,
    USE,
    *PROMPTS,
    SILHOUETTE,
)  # the order of earlier versions first
SLOT_DEFAULTS = {**{field.name: field.default for field in SUBJECT_FIELDS}, "role": AUTO, USE: True, SILHOUETTE: ""}
FIELDS: dict[str, Field] = {
    **{field.name: field for field in (*REQUEST_FIELDS, *SUBJECT_FIELDS)},
    ORDER: Field(
        ORDER,
        PROPOSED,
        f"{PROPOSED}, {AS_NUMBERED}, or the numbers from back to front, for example 2 1 3",
        high=80,
        label="Layer order",
    ),
    "role": Field("role", AUTO, "sets the proposed order; auto: by the name", choices=(AUTO, *ROLES)),
    USE: Field(USE, True, "whether the subject is used", label="Use subject"),
}
_SIDE_BY_SIDE = ((0.05, 0.15, 0.48, 0.95), (0.52, 0.15, 0.95, 0.95))


def _cascade(number: int) -> tuple[float, ...]:
    return tuple(round(edge + 0.03 * number, 2) for edge in (0.1, 0.1, 0.5, 0.5))


# First boxes without the editor, which proposes its own: two side by side, then a cascade.
SLOT_BOXES = (*_SIDE_BY_SIDE, *map(_cascade, range(SLOTS - SHOWN_FIRST)))


def slot_name(number: int, name: str) -> str:
    """The name of a slot's component in element ids and infotext fields."""
    return f"slot{number}_{name}"


def slot_names(values: Sequence[str]) -> list[str]:
    """The names of these values' components, slot by slot."""
    names = []
    for number in range(1, SLOTS + 1):
        names += [slot_name(number, value) for value in values]
    return names


def read_order(text: Any) -> list[int] | None:
    """The slots' numbers from back to front; slots that are not named come on top, as numbered.

    None if the order must be proposed. Raises Refused.
    """
    text = FIELDS[ORDER].read(text, "the page").strip()
    if text in (PROPOSED, ""):
        return None
    words = [] if text == AS_NUMBERED else re.split(r"[\s,]+", text)
    named = [int(word) for word in words if word.isascii() and word.isdigit()]
    if len(named) < len(words) or len(set(named)) < len(named) or not set(named) <= set(range(1, SLOTS + 1)):
        raise Refused("order_form", got=text, high=SLOTS)
    return [*named, *(number for number in range(1, SLOTS + 1) if number not in named)]


def form_request(values: Sequence[Any]) -> dict[str, Any]:
    """The values enabled, settings, order, slots -> the JSON object of docs/api.md. Raises Refused."""
    enabled, *rest = values
    settings = dict(zip(SETTINGS, rest))
    order = read_order(rest[len(SETTINGS)]) if rest[len(SETTINGS) :] else None
    used = {number: _subject(number, slot) for number, slot in _slots(rest) if is_used(slot)}
    subjects = [used[number] for number in order or used if number in used]
    if order is None:
        placed = [_placed(subject) for subject in subjects]
        subjects = [subjects[index] for index in propose_order(placed)]
    return {"enabled": bool(enabled), **settings, "subjects": subjects}


def _slots(values: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each slot's number and its values by name, of the values settings, order, slots."""
    for number, start in enumerate(range(len(SETTINGS) + 1, len(values), len(SLOT_VALUES)), 1):
        yield number, dict(zip(SLOT_VALUES, values[start : start + len(SLOT_VALUES)]))


def has_subject(values: Sequence[Any]) -> bool:
    """Whether any slot of the values settings, order, slots is a subject."""
    return any(is_used(slot) for _, slot in _slots(values))


def is_used(slot: dict[str, Any]) -> bool:
    """Whether a slot is a subject of the request: it is switched on, and has a picture or a name."""
    return bool(slot.get(USE, True)) and (bool(slot[PICTURES]) or bool((slot["name"] or "").strip()))


def _subject(number: int, slot: dict[str, Any]) -> dict[str, Any]:
    name = (slot["name"] or "").strip() or f"subject {number}"
    values = {field: slot[field] for field in SLOT_FIELDS if field in slot}
    role = propose_role(name) if slot["role"] == AUTO else slot["role"]
    images = read_pictures(slot[PICTURES], name)
    result = {**values, "name": name, "role": role, "box": [slot[edge] for edge in EDGES], "images": images}
    if slot.get(SILHOUETTE):
        result[SILHOUETTE] = slot[SILHOUETTE]
    for index, image in enumerate(images):
        card = card_of(image)
        if card:
            images.pop(index)
            result[CARD] = card
            break
    return result


def read_pictures(text: Any, name: str) -> list[Any]:
    """The base64 texts of a slot; "" and None give an empty list. Raises Refused."""
    try:
        pictures = json.loads(text) if text else []
    except (ValueError, TypeError, RecursionError):
        pictures = None
    if not isinstance(pictures, list):
        field = f"the pictures of subject {name!r}"
        raise Refused("field_type", field=field, got="not readable", expected="a JSON list")
    return pictures


def _placed(subject: dict[str, Any]) -> Subject:
    return read_subject(subject, 0, ("images", CARD, SILHOUETTE))

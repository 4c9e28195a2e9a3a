"""The page's plain form: which values it has, in which order, and how they become a request's JSON object. No gradio here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lib_anyms.fields import AUTO, REQUEST_FIELDS, Field
from lib_anyms.layout import ROLES, SUBJECT_FIELDS, Subject, propose_order, propose_role, read_subject

SETTINGS = tuple(row.name for row in REQUEST_FIELDS if row.name != "enabled")
PROPOSED, AS_NUMBERED = "by role and size", "as numbered"
ORDER = "order"
SLOT_BOXES = ((0.05, 0.15, 0.48, 0.95), (0.52, 0.15, 0.95, 0.95))  # side by side
EDGES = {"x0": "left", "y0": "top", "x1": "right", "y1": "bottom"}
SLOT_FIELDS = tuple(row.name for row in SUBJECT_FIELDS)
SLOT_VALUES = ("image", "name", "role", *EDGES, *(name for name in SLOT_FIELDS if name not in ("name", "role")))
SLOT_DEFAULTS = {**{row.name: row.default for row in SUBJECT_FIELDS}, "role": AUTO}
ROWS: dict[str, Field] = {
    **{row.name: row for row in (*REQUEST_FIELDS, *SUBJECT_FIELDS)},
    ORDER: Field(ORDER, PROPOSED, "which subject lies on top where boxes overlap", choices=(PROPOSED, AS_NUMBERED)),
    "role": Field("role", AUTO, "proposes the order; auto: by the name", choices=(AUTO, *ROLES)),
}


def slot_name(number: int, name: str) -> str:
    """What a slot's component is called in element ids and infotext fields."""
    return f"slot{number}_{name}"


def form_request(values: Sequence[Any]) -> dict[str, Any]:
    """Enabled, settings, order, slots -> the JSON object of docs/api.md. A slot counts that has a picture or a name."""
    enabled, *rest = values
    settings, rest = dict(zip(SETTINGS, rest)), rest[len(SETTINGS) :]
    order = ROWS[ORDER].read(rest[0], "the page") if rest else PROPOSED
    rows = range(1, len(rest), len(SLOT_VALUES))
    slots = [dict(zip(SLOT_VALUES, rest[start : start + len(SLOT_VALUES)])) for start in rows]
    subjects = [_subject(n, slot) for n, slot in enumerate(slots, 1) if slot["image"] is not None or (slot["name"] or "").strip()]
    if order == PROPOSED:
        placed = [_placed(subject) for subject in subjects]
        subjects = [subjects[n] for n in propose_order(placed)]
    return {"enabled": bool(enabled), **settings, "subjects": subjects}


def _subject(number: int, slot: dict[str, Any]) -> dict[str, Any]:
    name = (slot["name"] or "").strip() or f"subject {number}"
    told = {field: slot[field] for field in SLOT_FIELDS if field in slot}
    role = propose_role(name) if slot["role"] == AUTO else slot["role"]
    images = [] if slot["image"] is None else [slot["image"]]
    return {**told, "name": name, "role": role, "box": [slot[edge] for edge in EDGES], "images": images}


def _placed(given: dict[str, Any]) -> Subject:
    return read_subject(given, 0, ("images",))

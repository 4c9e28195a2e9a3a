"""A picture's infotext back into the page: settings and slots are filled, what it cannot hold is told.

The host asks for one component's value at a time, so each is a `Pasted`. They compare by name: the host's "Send to img2img"
copies those components whose targets are equal in both tabs, and so takes the reference pictures along.
"""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from lib_anyms import infotext
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import as_rgb
from lib_anyms.layout import Layout, Subject, propose_order, subject_json
from lib_anyms.request import picture_hash
from lib_anyms.ui.slots import (
    AS_NUMBERED,
    EDGES,
    ORDER,
    PROPOSED,
    SETTINGS,
    SLOT_BOXES,
    SLOT_DEFAULTS,
    SLOT_FIELDS,
    SLOT_VALUES,
    SLOTS,
    USE,
    slot_name,
)

ENABLED, ARRIVED = "enabled", "arrived"
LAYOUT_NAMES = (ORDER, *(slot_name(number, name) for number in range(1, SLOTS + 1) for name in SLOT_VALUES if name != "image"))
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Pasted:
    """What an infotext says of the component called `name`; None: leave it as it is."""

    name: str

    def __call__(self, params: dict[str, Any]) -> Any:
        if self.name == ARRIVED:
            return arrived(params)
        return page_values(params).get(self.name)


def page_values(params: dict[str, Any]) -> dict[str, Any]:
    """The components' values by name, pictures left out. A picture made without AnyMS only switches it off."""
    if infotext.NAME not in params:
        return {ENABLED: False}
    try:
        recalled = infotext.read(params[infotext.NAME])
    except Refused:  # told by `arrived`
        return {}
    settings = {ENABLED: recalled.settings["enabled"], **{name: recalled.settings[name] for name in SETTINGS}}
    return {**settings, **layout_values(recalled.subjects)}


def layout_values(subjects: Sequence[Subject]) -> dict[str, Any]:
    """The order's and the slots' values by name, pictures left out: subjects back to front are slots 1, 2, ..."""
    order = AS_NUMBERED if propose_order(list(subjects)) != list(range(len(subjects))) else PROPOSED
    values: dict[str, Any] = {ORDER: order}
    for number in range(1, SLOTS + 1):
        for name, value in _slot(subjects, number).items():
            values[slot_name(number, name)] = value
    return values


def _slot(subjects: Sequence[Subject], number: int) -> dict[str, Any]:
    """A slot's values; one without a subject is emptied."""
    if number > len(subjects):
        return {**SLOT_DEFAULTS, **dict(zip(EDGES, SLOT_BOXES[number - 1]))}
    subject = subject_json(subjects[number - 1])
    return {USE: True, **{name: subject[name] for name in SLOT_FIELDS}, **dict(zip(EDGES, subject["box"]))}


def arrived(params: dict[str, Any]) -> str:
    """For the hidden box whose change calls `compare`: the slots' picture hashes, and a sentence where there is one to tell."""
    told: dict[str, Any] = {"number": next(_numbers)}  # the same infotext once more must change the box, too
    if infotext.NAME in params:
        try:
            recalled = infotext.read(params[infotext.NAME])
            slots = zip((subject.name for subject in recalled.subjects), recalled.pictures)
            told["slots"] = [{"name": name, "hashes": list(hashes)} for name, hashes in slots]
        except Refused as refusal:
            told["problem"] = str(refusal)
    return json.dumps(told)


def compare(told: str, *pictures: Image.Image | None) -> list[Any]:
    """The note for the user, and for each slot: keep its picture if it is the infotext's own, else empty it."""
    given = json.loads(told) if told else {}
    if "slots" not in given:
        return [_note(given.get("problem", "")), *(gr.update() for _ in pictures)]
    slots = given["slots"]
    kept = [
        picture is not None and number < len(slots) and slots[number]["hashes"] == [picture_hash(as_rgb(picture))]
        for number, picture in enumerate(pictures)
    ]
    updates = [gr.update() if same or picture is None else gr.update(value=None) for same, picture in zip(kept, pictures)]
    return [_note(_missing(slots, kept)), *updates]


def opened(told: str) -> list[Any]:
    """What the editor has read from a layout file -> the note, then the values of LAYOUT_NAMES; pictures stay where they are."""
    try:
        subjects = Layout.from_json(json.loads(told)["layout"]).subjects
    except (Refused, ValueError, TypeError, KeyError) as error:
        problem = error if isinstance(error, Refused) else Refused("layout_form", got="text that is not JSON")
        return [_note(str(problem)), *(gr.update() for _ in LAYOUT_NAMES)]
    values = layout_values(subjects)
    beyond = range(len(subjects) + 1, SLOTS + 1)  # their pictures stay, too, and must not take part
    values.update({slot_name(number, USE): False for number in beyond})
    return [_note(""), *(values[name] for name in LAYOUT_NAMES)]


def _missing(slots: Sequence[dict[str, Any]], kept: Sequence[bool]) -> str:
    """What the page lacks of the pasted subjects."""
    lacking = [
        f"{slot['name']} ({len(slot['hashes'])} pictures)" if len(slot["hashes"]) > 1 else slot["name"]
        for slot, same in zip(slots, kept)
        if not same
    ]
    if not lacking:
        return ""
    return f"AnyMS: Pictures are not part of an infotext. Add again that of: {', '.join(lacking)}."


def _note(sentence: str) -> Any:
    return gr.update(value=html.escape(sentence), visible=bool(sentence))

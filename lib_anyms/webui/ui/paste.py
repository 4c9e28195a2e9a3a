"""A picture's infotext back into the page: settings and slots are filled, kept pictures come back, missing ones are
told.

The host asks for one component's value at a time, so each is a `Pasted`. They compare by name: the host's "Send to
img2img" copies those components whose targets are equal in both tabs, and so takes the reference pictures along.
"""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lib_anyms.cards.address import card_of
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import read_base64
from lib_anyms.job import infotext
from lib_anyms.job.request import picture_hash
from lib_anyms.layout.layout import Layout, Subject, propose_order, subject_json
from lib_anyms.webui.ui import cached_pictures, cards
from lib_anyms.webui.ui.slots import (
    AS_NUMBERED,
    EDGES,
    ORDER,
    PICTURES,
    PROPOSED,
    SETTINGS,
    SLOT_BOXES,
    SLOT_DEFAULTS,
    SLOT_FIELDS,
    SLOT_VALUES,
    SLOTS,
    USE,
    read_pictures,
    slot_name,
)

ENABLED, ARRIVED = "enabled", "arrived"
PICTURE_NAMES = tuple(slot_name(number, PICTURES) for number in range(1, SLOTS + 1))
LAYOUT_NAMES = (
    ORDER,
    *(slot_name(number, name) for number in range(1, SLOTS + 1) for name in SLOT_VALUES if name != PICTURES),
)
RESTORED = (ENABLED, *SETTINGS, *LAYOUT_NAMES, *PICTURE_NAMES)  # what a file given to the editor may fill
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
    """For the hidden box whose change calls `compare`: the slots' picture hashes, and a sentence where there is one to
    tell.
    """
    told: dict[str, Any] = {"number": next(_numbers)}  # the same infotext once more must change the box, too
    if infotext.NAME in params:
        try:
            recalled = infotext.read(params[infotext.NAME])
            told["slots"] = _slots(recalled)
        except Refused as refusal:
            told["problem"] = str(refusal)
    return json.dumps(told)


def compare(told: str, *texts: str) -> list[Any]:
    """The note for the user, and each slot's pictures: those the infotext names, from the page or kept ones, and no
    others.
    """
    given = json.loads(told) if told else {}
    if "slots" not in given:
        return [_note(given.get("problem", "")), *(gr.update() for _ in texts)]
    note, filled = _filled(given["slots"], texts)
    return [
        _note(note),
        *(gr.update() if text == (before or "") else gr.update(value=text) for text, before in zip(filled, texts)),
    ]


def opened(told: str, *texts: str) -> list[Any]:
    """What the editor has read from a file, a layout or a picture's infotext -> the note, then the values of RESTORED."""
    try:
        given = json.loads(told)
        note, values = (
            _recalled(given["parameters"], texts) if "parameters" in given else ("", _laid_out(given["layout"]))
        )
    except (Refused, ValueError, TypeError, KeyError) as error:
        note = str(error if isinstance(error, Refused) else Refused("layout_form", got="text that is not JSON"))
        values = {}
    return [_note(note), *(values.get(name, gr.update()) for name in RESTORED)]


def _laid_out(layout: Any) -> dict[str, Any]:
    """A layout file's values by name; pictures stay where they are."""
    subjects = Layout.from_json(layout).subjects
    beyond = range(len(subjects) + 1, SLOTS + 1)  # their pictures stay, too, and must not take part
    return {**layout_values(subjects), **{slot_name(number, USE): False for number in beyond}}


def _recalled(parameters: Any, texts: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The note, and an infotext's values by name. Raises Refused where AnyMS has not written into it."""
    params = infotext.entries(parameters)
    if infotext.NAME not in params:
        raise Refused("infotext_absent")
    recalled = infotext.read(params[infotext.NAME])
    note, filled = _filled(_slots(recalled), texts)
    return note, {**page_values(params), **dict(zip(PICTURE_NAMES, filled))}


def _slots(recalled: infotext.Recalled) -> list[dict[str, Any]]:
    """Each subject's name and the hashes of its pictures, or of its card."""
    found = zip(recalled.subjects, recalled.pictures, recalled.cards)
    return [{"name": subject.name, "hashes": [card] if card else list(hashes)} for subject, hashes, card in found]


def _filled(slots: Sequence[dict[str, Any]], texts: Sequence[str]) -> tuple[str, list[str]]:
    """A sentence about what is missing or "", and for each slot the text of the pictures that `slots` name by their
    hashes.
    """
    there = {name: given for text in texts for name, given in _by_hash(text).items()}
    filled, lacking = [""] * len(texts), []
    for number, slot in enumerate(slots):
        found = [
            given
            for name in slot["hashes"]
            if (given := there.get(name) or cached_pictures.address(name) or cards.address_of(name))
        ]
        filled[number] = json.dumps(found, separators=(",", ":")) if found else ""
        if len(found) < len(slot["hashes"]) or not found:
            lacking.append(_which(slot["name"], len(slot["hashes"]) - len(found), len(slot["hashes"])))
    sentence = f"AnyMS: Reference pictures that are not kept on this computer are missing. Add again that of: {', '.join(lacking)}."
    return (sentence if lacking else ""), filled


def _which(name: str, missing: int, all_: int) -> str:
    return name if all_ <= 1 else f"{name} ({missing} of {all_} pictures)"


def _by_hash(text: str) -> dict[str, str]:
    """A slot's pictures; one that cannot be read is none here, and is refused when it is to be used."""
    try:
        return {card_of(given) or picture_hash(read_base64(given, "")): given for given in read_pictures(text, "")}
    except (Refused, AttributeError):
        return {}


def _note(sentence: str) -> Any:
    return gr.update(value=html.escape(sentence), visible=bool(sentence))

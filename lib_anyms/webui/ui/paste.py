"""Paste an infotext into the page: fill settings and slots, bring cached pictures back, name the missing ones.

The host requests one component's value at a time, so each component has a `Pasted`. These compare by name: "Send to
img2img" copies the components whose targets are equal in both tabs, and thus the reference pictures too.
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
from lib_anyms.layout.fields import AUTO
from lib_anyms.layout.layout import SILHOUETTE, Layout, Subject, propose_order, propose_role, subject_json
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
    slot_names,
)

ENABLED, ARRIVED = "enabled", "arrived"
PICTURE_NAMES = tuple(slot_names((PICTURES,)))
LAYOUT_NAMES = (ORDER, *slot_names([name for name in SLOT_VALUES if name != PICTURES]))
RESTORED = (ENABLED, *SETTINGS, *LAYOUT_NAMES, *PICTURE_NAMES)  # components that a file opened in the editor may fill
MISSING = "AnyMS: Reference pictures that are not kept on this computer are missing. Add again that of: {names}."
SHAPELESS = (
    "AnyMS: Silhouettes that are not kept on this computer are missing, so each of these subjects has its whole box, "
    "unlike in the image. Choose again that of: {names}."
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Pasted:
    """The value of the component `name` in an infotext; None leaves the component unchanged."""

    name: str

    def __call__(self, params: dict[str, Any]) -> Any:
        if self.name == ARRIVED:
            return arrived(params)
        return page_values(params).get(self.name)


def page_values(params: dict[str, Any]) -> dict[str, Any]:
    """The components' values by name, without pictures. The infotext of an image without AnyMS only turns AnyMS off."""
    if infotext.NAME not in params:
        return {ENABLED: False}
    try:
        recalled = infotext.read(params[infotext.NAME])
    except Refused:  # `arrived` reports it
        return {}
    settings = {ENABLED: recalled.settings["enabled"], **{name: recalled.settings[name] for name in SETTINGS}}
    values = {**settings, **layout_values(recalled.subjects)}
    for number, mask in enumerate(recalled.silhouettes, 1):
        values[slot_name(number, SILHOUETTE)] = (mask and cached_pictures.address(mask)) or ""
    return values


def layout_values(subjects: Sequence[Subject]) -> dict[str, Any]:
    """The values of order and slots by name, without pictures; slots 1, 2, ... are the subjects from back to front."""
    order = AS_NUMBERED if propose_order(list(subjects)) != list(range(len(subjects))) else PROPOSED
    values: dict[str, Any] = {ORDER: order}
    for number in range(1, SLOTS + 1):
        for name, value in _slot(subjects, number).items():
            values[slot_name(number, name)] = value
    return values


def _slot(subjects: Sequence[Subject], number: int) -> dict[str, Any]:
    """The values of a slot; defaults if there is no subject for it."""
    if number > len(subjects):
        return {**SLOT_DEFAULTS, **dict(zip(EDGES, SLOT_BOXES[number - 1]))}
    subject = subjects[number - 1]
    box = subject_json(subject)["box"]
    return {
        USE: True,
        SILHOUETTE: "",
        **{name: getattr(subject, name) for name in SLOT_FIELDS},
        **dict(zip(EDGES, box)),
    }


def arrived(params: dict[str, Any]) -> str:
    """JSON for the hidden field whose change calls `compare`: the picture hashes of the slots, or the problem."""
    result: dict[str, Any] = {"number": next(_numbers)}  # the same infotext pasted twice must change the field, too
    if infotext.NAME in params:
        try:
            recalled = infotext.read(params[infotext.NAME])
            result["slots"] = _slots(recalled)
        except Refused as refusal:
            result["problem"] = str(refusal)
    return json.dumps(result)


def compare(arrived: str, *texts: str) -> list[Any]:
    """The note for the user, and the pictures of each slot: those the infotext names, from the page or the cache.

    `arrived`: JSON of the function of that name. `texts`: the slots' pictures on the page.
    """
    values = json.loads(arrived) if arrived else {}
    if "slots" not in values:
        return [_note(values.get("problem", "")), *(gr.update() for _ in texts)]
    note, filled = _filled(values["slots"], texts)
    updates = []
    for text, before in zip(filled, texts):
        updates.append(gr.update() if text == (before or "") else gr.update(value=text))
    return [_note(note), *updates]


def opened(content: str, *texts: str) -> list[Any]:
    """A layout file or an image's infotext, read by the editor (JSON) -> the note, then the values of RESTORED."""
    try:
        file = json.loads(content)
        if "parameters" in file:
            note, values = _recalled(file["parameters"], texts)
        else:
            note, values = "", _laid_out(file["layout"], texts)
    except (Refused, ValueError, TypeError, KeyError, RecursionError) as error:
        note = str(error if isinstance(error, Refused) else Refused("layout_form", got="text that is not JSON"))
        values = {}
    return [_note(note), *(values.get(name, gr.update()) for name in RESTORED)]


def _laid_out(layout: Any, texts: Sequence[str]) -> dict[str, Any]:
    """The values of a layout file by name; the slots keep their pictures, whose texts are `texts`.

    A subject without a name stays unnamed, if its slot has a picture: a slot with neither is not shown. A role that
    the name suggests stays "auto".
    """
    subjects = Layout.from_json(layout).subjects
    values = layout_values(subjects)
    for number, (subject, entry) in enumerate(zip(subjects, layout["subjects"]), 1):
        if not entry.get("name") and any(texts[number - 1 : number]):
            values[slot_name(number, "name")] = ""
        values[slot_name(number, SILHOUETTE)] = entry.get(SILHOUETTE) or ""
        if propose_role(subject.name) == subject.role:
            values[slot_name(number, "role")] = AUTO
    beyond = range(len(subjects) + 1, SLOTS + 1)  # they keep their pictures too, so turn them off
    return {**values, **{slot_name(number, USE): False for number in beyond}}


def _recalled(parameters: Any, texts: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The note, and the values of an infotext by name. Raises Refused if it has no AnyMS entry."""
    params = infotext.entries(parameters)
    if infotext.NAME not in params:
        raise Refused("infotext_absent")
    recalled = infotext.read(params[infotext.NAME])
    note, filled = _filled(_slots(recalled), texts)
    return note, {**page_values(params), **dict(zip(PICTURE_NAMES, filled))}


def _slots(recalled: infotext.Recalled) -> list[dict[str, Any]]:
    """Each subject's name, the hashes of its pictures, or of its card, and that of its silhouette."""
    slots = []
    subjects = zip(recalled.subjects, recalled.pictures, recalled.cards, recalled.silhouettes)
    for subject, hashes, card, silhouette in subjects:
        slots.append({"name": subject.name, "hashes": [card] if card else list(hashes), "silhouette": silhouette})
    return slots


def _filled(slots: Sequence[dict[str, Any]], texts: Sequence[str]) -> tuple[str, list[str]]:
    """Sentences about what is missing or "", and for each slot the text of the pictures that `slots` name by hash."""
    on_page: dict[str, str] = {}
    for text in texts:
        on_page.update(_by_hash(text))
    filled, lacking = [""] * len(texts), []
    for number, slot in enumerate(slots):
        hashes = slot["hashes"]
        sources = [on_page.get(name) or cached_pictures.address(name) or cards.address_of(name) for name in hashes]
        pictures = [source for source in sources if source]
        filled[number] = json.dumps(pictures, separators=(",", ":")) if pictures else ""
        if len(pictures) < len(hashes) or not pictures:
            lacking.append(_lacking(slot["name"], len(hashes) - len(pictures), len(hashes)))
    shapeless = []
    for slot in slots:
        if slot["silhouette"] and cached_pictures.address(slot["silhouette"]) is None:
            shapeless.append(slot["name"])
    sentences = [(MISSING, lacking), (SHAPELESS, shapeless)]
    return " ".join(sentence.format(names=", ".join(names)) for sentence, names in sentences if names), filled


def _lacking(name: str, missing: int, total: int) -> str:
    return name if total <= 1 else f"{name} ({missing} of {total} pictures)"


def _by_hash(text: str) -> dict[str, str]:
    """The pictures of a slot by hash. Unreadable ones are left out; a job that uses them is refused."""
    try:
        return {card_of(source) or picture_hash(read_base64(source, "")): source for source in read_pictures(text, "")}
    except (Refused, AttributeError):
        return {}


def _note(sentence: str) -> Any:
    return gr.update(value=html.escape(sentence), visible=bool(sentence))

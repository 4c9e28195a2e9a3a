"""The accordion: two plain subject slots. Its values, and the API's JSON object, become one Request."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from lib_anyms.errors import Refused
from lib_anyms.fields import AUTO, REQUEST_FIELDS, Field
from lib_anyms.layout import ROLES, SUBJECT_FIELDS, Subject, propose_order, propose_role, read_subject
from lib_anyms.model_files import adapters_in
from lib_anyms.request import Request

SETTINGS = ("scale", "mode", "adapter")
SLOT_BOXES = ((0.05, 0.15, 0.48, 0.95), (0.52, 0.15, 0.95, 0.95))  # side by side
EDGES = {"x0": "left", "y0": "top", "x1": "right", "y1": "bottom"}
SLOT_VALUES = ("image", "name", "role", "x0", "y0", "x1", "y1", "weight")
_ROWS = {row.name: row for row in (*REQUEST_FIELDS, *SUBJECT_FIELDS)}


def build(elem_id: Callable[[str], str]) -> list[Any]:
    """The components in the order `page_request` and the API read them: request JSON, enabled, settings, slots."""
    from modules.ui_components import InputAccordion

    with InputAccordion(False, label="AnyMS", elem_id=elem_id("enabled")) as enabled:
        # From the page always empty; the API puts its whole request here.
        request_json = gr.Textbox("", visible=False, label="request", elem_id=elem_id("request"))
        gr.Markdown(
            "Drop a picture of each subject and name it in the prompt. Its box is in fractions of the picture: 0 is left and "
            "top, 1 right and bottom. Where boxes overlap, attributes and smaller boxes lie on top."
        )
        slots = [component for number, box in enumerate(SLOT_BOXES, 1) for component in _slot(number, box, elem_id)]
        with gr.Row():
            settings = [_component(_ROWS[name], elem_id(name), name) for name in SETTINGS]
    for component in (request_json, *settings, *slots):
        component.do_not_save_to_config = True
    return [request_json, enabled, *settings, *slots]


def _slot(number: int, box: tuple[float, ...], elem_id: Callable[[str], str]) -> list[Any]:
    def label(name: str) -> str:
        return f"{name} {number}"  # labels must differ: the host keys defaults by them

    def id_of(name: str) -> str:
        return elem_id(f"slot{number}_{name}")

    with gr.Row():
        image = gr.Image(label=label("subject"), type="pil", image_mode="RGBA", elem_id=id_of("image"), height=220)
        with gr.Column():
            name = gr.Textbox("", label=label("name"), placeholder="what the prompt calls it", elem_id=id_of("name"))
            role = gr.Dropdown([AUTO, *ROLES], value=AUTO, label=label("role"), elem_id=id_of("role"))
            weight = _component(_ROWS["weight"], id_of("weight"), label("weight"))
    with gr.Row():
        edges = [
            gr.Number(value, label=label(word), min_width=80, elem_id=id_of(edge))  # by default four do not fit side by side
            for (edge, word), value in zip(EDGES.items(), box)
        ]
    return [image, name, role, *edges, weight]


def _component(row: Field, elem_id: str, label: str) -> Any:
    if row.name == "adapter":
        from lib_anyms.hosts.webui import model_folders

        names = [adapter.path.name for adapter in adapters_in(model_folders())]
        return gr.Dropdown([AUTO, *names], value=AUTO, label=label, allow_custom_value=True, elem_id=elem_id)
    if row.choices:
        return gr.Dropdown(list(row.choices), value=row.default, label=label, elem_id=elem_id)
    return gr.Slider(row.low, row.high, value=row.default, step=0.05, label=label, elem_id=elem_id)


def wanted(values: Sequence[Any]) -> bool:
    """Whether this job asks for AnyMS at all: by the page's switch or by an API request."""
    return bool(values) and (bool(values[0]) or (len(values) > 1 and bool(values[1])))


def page_request(values: Sequence[Any]) -> Request:
    """The values of `build`'s components as a Request; a non-empty first value is the whole request."""
    given = values[0]
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except ValueError as error:
            raise Refused("request_form", got=f"text that is not JSON: {error}") from error
    if given:
        return Request.from_json(given)
    settings = dict(zip(SETTINGS, values[2:]))
    rest = values[2 + len(SETTINGS) :]
    slots = [dict(zip(SLOT_VALUES, rest[start : start + len(SLOT_VALUES)])) for start in range(0, len(rest), len(SLOT_VALUES))]
    filled = [(number, slot) for number, slot in enumerate(slots, 1) if slot["image"] is not None]
    subjects = [_slot_subject(number, slot) for number, slot in filled]
    placed = [_as_subject(subject) for subject in subjects]
    return Request.from_json({"enabled": bool(values[1]), **settings, "subjects": [subjects[n] for n in propose_order(placed)]})


def _slot_subject(number: int, slot: dict[str, Any]) -> dict[str, Any]:
    name = (slot["name"] or "").strip() or f"subject {number}"
    role = propose_role(name) if slot["role"] == AUTO else slot["role"]
    box = [slot[edge] for edge in EDGES]
    return {"name": name, "role": role, "box": box, "weight": slot["weight"], "images": [slot["image"]]}


def _as_subject(given: dict[str, Any]) -> Subject:
    return read_subject(given, 0, ("images",))

"""The accordion: the region editor and the subjects' slots.

Its values, and the API's JSON object, become one Request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lib_anyms.errors import Refused
from lib_anyms.hosts.webui import card_library
from lib_anyms.job.request import Request
from lib_anyms.job.session import last_report
from lib_anyms.layout.fields import Field
from lib_anyms.webui import doctor, update_check
from lib_anyms.webui.ui import cards, cutting, editor, files, model_hint, settings
from lib_anyms.webui.ui.paste import ARRIVED, ENABLED, PICTURE_NAMES, RESTORED, Pasted, compare, opened
from lib_anyms.webui.ui.redacted import unshown
from lib_anyms.webui.ui.slots import (
    EDGES,
    ORDER,
    PICTURES,
    ROWS,
    SETTINGS,
    SLOT_BOXES,
    SLOT_VALUES,
    SLOTS,
    USE,
    form_request,
    slot_name,
)

ALWAYS_SHOWN = ("scale", "mode", "adapter")
IN_SLOT = ("name", "role", "weight")
WATCHED = (PICTURES, "name", "role", *EDGES, USE)  # what the region editor shows of a slot
NO_SCRIPT = "Pictures are added by the page's script, which has not started. Reload the page."
COMPARISON, MAPS = "comparison", "maps"  # what a button asks of one Generate beside its picture; see extras.py
_FORM = (
    1 + 1 + len(SETTINGS) + 1 + SLOTS * len(SLOT_VALUES)
)  # request JSON, enabled, settings, order, slots; then what is asked
HELP = "Drop a picture of each subject, name it in the prompt, and drag its box to where it shall be."


@dataclass(frozen=True)
class Panel:
    """What a tab's script hands to the host: the arguments' components, and who is filled by an infotext or "Send to"."""

    components: list[Any]
    infotext_fields: list[tuple[Any, Pasted]]
    paste_field_names: list[Pasted]


def build(elem_id: Callable[[str], str], tab: str = editor.TABS[0]) -> Panel:
    """The components in the order `page_request` and the API read them: request JSON, enabled, settings, order, slots,
    asked.
    """
    from modules.ui_components import InputAccordion

    note = gr.HTML("", visible=False, elem_id=elem_id("note"))  # outside the accordion, which may be closed
    arrived = gr.Textbox("", visible=False, label="pasted", elem_id=elem_id("pasted"))
    named: dict[str, Any] = {}
    with InputAccordion(False, label="AnyMS", elem_id=elem_id("enabled")) as enabled:
        # From the page always empty; the API puts its whole request here.
        request_json = gr.Textbox("", visible=False, label="request", elem_id=elem_id("request"))
        gr.Markdown("\n\n".join(filter(None, (update_check.restart_sentence(), HELP))))
        editor.element(elem_id, tab)
        with gr.Column(elem_classes=["anyms-hidden"]):  # `visible=False` would take it off the page in later gradios
            file = gr.Textbox("", label="opened", elem_id=elem_id("opened"))
            extra, check, told = (
                gr.Textbox("", label=name, elem_id=elem_id(name)) for name in ("asked", "check", "found")
            )
        with gr.Row(elem_id=elem_id("slots"), elem_classes=["anyms-slots"]):
            for number in range(1, SLOTS + 1):
                named.update(_slot(number, elem_id))
        with gr.Row():
            named.update({name: _component(ROWS[name], elem_id(name), name) for name in ALWAYS_SHOWN})
        with gr.Accordion("more", open=False):
            named.update(_more(elem_id))
        cards.element(elem_id, named)
        cut = cutting.element(elem_id, named)
        files.element(elem_id)
        _doctor(elem_id)
    pictures = [named[name] for name in PICTURE_NAMES]
    arrived.change(compare, inputs=[arrived, *pictures], outputs=[note, *pictures], show_progress=False)
    restored = [{ENABLED: enabled, **named}[name] for name in RESTORED]
    file.change(opened, inputs=[file, *pictures], outputs=[note, *restored], show_progress=False)
    for asking in (check, named["adapter"], named["encoder"]):  # the editor writes into `check` to be told
        inputs = [named["adapter"], named["encoder"], check]
        asking.change(model_hint.problem, inputs=inputs, outputs=[told], show_progress=False)
    editor.watch((told, cut, *(named[name] for name in (ORDER, "fit", *_slots_of(WATCHED)))), elem_id)
    ordered = {ENABLED: enabled, **{name: named[name] for name in (*SETTINGS, ORDER, *_slots_of(SLOT_VALUES))}}
    for component in (request_json, arrived, file, extra, check, told, note, *named.values()):
        component.do_not_save_to_config = True
    fields = [(component, Pasted(name)) for name, component in ordered.items()]
    components = [request_json, *ordered.values(), extra]
    return Panel(components, [*fields, (arrived, Pasted(ARRIVED))], [target for _, target in fields])


def _slots_of(values: Sequence[str]) -> list[str]:
    return [slot_name(number, value) for number in range(1, SLOTS + 1) for value in values]


def _slot(number: int, elem_id: Callable[[str], str]) -> dict[str, Any]:
    def label(name: str) -> str:
        return f"{name} {number}"  # labels must differ: the host keys defaults by them

    def id_of(name: str) -> str:
        return elem_id(slot_name(number, name))

    with gr.Column(elem_id=elem_id(f"slot{number}"), elem_classes=["anyms-slot"], min_width=200):
        gr.HTML(
            f'<div class="anyms-pictures">{NO_SCRIPT}</div>', elem_id=id_of("shown")
        )  # the page's script draws them here
        pictures = gr.Textbox(
            "", label=label(PICTURES), max_lines=1, elem_id=id_of(PICTURES), elem_classes=["anyms-hidden"]
        )
        unshown(pictures)
        told = {name: _component(ROWS[name], id_of(name), label(name)) for name in IN_SLOT}
        with gr.Row(elem_id=id_of("plain"), elem_classes=["anyms-plain"]):
            edges = {  # by default four do not fit side by side
                edge: gr.Number(value, label=label(word), min_width=80, elem_id=id_of(edge))
                for (edge, word), value in zip(EDGES.items(), SLOT_BOXES[number - 1])
            }
            use = _component(ROWS[USE], id_of(USE), label(USE))
    return {
        slot_name(number, name): component
        for name, component in {PICTURES: pictures, **told, **edges, USE: use}.items()
    }


def _more(elem_id: Callable[[str], str]) -> dict[str, Any]:
    """What few need."""
    named: dict[str, Any] = {}
    with gr.Row():
        for name in (ORDER, *(name for name in SETTINGS if name not in ALWAYS_SHOWN)):
            named[name] = _component(ROWS[name], elem_id(name), name)
    for number in range(1, SLOTS + 1):
        with gr.Row(elem_id=elem_id(slot_name(number, "more"))):
            for name in SLOT_VALUES:
                if name not in (*IN_SLOT, *WATCHED):
                    key = slot_name(number, name)
                    named[key] = _component(ROWS[name], elem_id(key), f"{name} {number}")
    return named


def _doctor(elem_id: Callable[[str], str]) -> None:
    with gr.Accordion("report", open=False):
        button = gr.Button("Write a report for an issue", elem_id=elem_id("doctor"))
        shown = gr.Textbox("", label="report", lines=8, show_copy_button=True, elem_id=elem_id("doctor_report"))
    shown.do_not_save_to_config = True
    button.click(diagnose, inputs=[], outputs=[shown], show_progress=False)


def diagnose() -> str:
    """The doctor's report."""
    from lib_anyms.hosts.facts import host_facts

    return doctor.report(host_facts(), last_report())


def _component(row: Field, elem_id: str, label: str) -> Any:
    if row.name == "adapter":
        names, chosen = settings.adapter_names(), settings.first_adapter()
        return gr.Dropdown(names, value=chosen, label=label, allow_custom_value=True, elem_id=elem_id)
    if row.choices:
        return gr.Dropdown(list(row.choices), value=row.default, label=label, elem_id=elem_id)
    if isinstance(row.default, bool):
        return gr.Checkbox(row.default, label=label, elem_id=elem_id)
    if isinstance(row.default, str):
        return gr.Textbox(row.default, label=label, placeholder=row.help, elem_id=elem_id)
    return gr.Slider(row.low, row.high, value=row.default, step=0.05, label=label, elem_id=elem_id)


def wanted(values: Sequence[Any]) -> bool:
    """Whether this job asks for AnyMS at all: by the page's switch or by an API request."""
    return bool(values) and (bool(values[0]) or (len(values) > 1 and bool(values[1])) or bool(asked(values)))


def asked(values: Sequence[Any]) -> str:
    """COMPARISON or MAPS, where a button of the editor asks for it; else ""."""
    told = values[_FORM] if len(values) > _FORM else ""
    return told if told in (COMPARISON, MAPS) else ""


def page_request(values: Sequence[Any]) -> Request:
    """The values of `build`'s components as a Request; a non-empty first value is the whole request, as JSON or ready."""
    given = values[0]
    if isinstance(given, Request):
        return given
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except ValueError as error:
            raise Refused("request_form", got=f"text that is not JSON: {error}") from error
    enabled = bool(values[1]) or bool(asked(values))
    return Request.from_json(given or form_request([enabled, *values[2:_FORM]]), card_library())

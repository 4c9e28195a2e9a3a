"""The accordion with the region editor and the slots; its values, or the API's JSON object, become one Request."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from lib_anyms.errors import Refused
from lib_anyms.hosts.webui import card_library
from lib_anyms.job.live_sessions import last_report
from lib_anyms.job.request import Request
from lib_anyms.layout.fields import AUTO, USUAL_REFINING, Field
from lib_anyms.layout.layout import PROMPTS, SILHOUETTE
from lib_anyms.webui import doctor, update_check
from lib_anyms.webui.ui import cards, cutting, editor, files, model_hint, settings
from lib_anyms.webui.ui.paste import ARRIVED, ENABLED, PICTURE_NAMES, RESTORED, Pasted, compare, opened
from lib_anyms.webui.ui.redacted import redact
from lib_anyms.webui.ui.slots import (
    EDGES,
    FIELDS,
    ORDER,
    PICTURES,
    SETTINGS,
    SLOT_BOXES,
    SLOT_VALUES,
    SLOTS,
    USE,
    form_request,
    has_subject,
    slot_name,
    slot_names,
)

IN_FOOT = ("scale", "elsewhere")
SCRIPTED = ("role", "blocks")  # of a slot: hidden texts that the region editor shows as buttons
IN_SLOT = ("name", "weight", *PROMPTS)
FOLDED = ("start", "end")
WATCHED = (
    PICTURES,
    SILHOUETTE,
    "name",
    *SCRIPTED,
    "weight",
    *FOLDED,
    *PROMPTS,
    *EDGES,
    USE,
)  # that the region editor shows
NO_SCRIPT = "Pictures are added by the page's script, which has not started. Reload the page."
COMPARISON, MAPS, WORDS = "comparison", "maps", "words"  # extra output of one Generate; see extras.py
REFINE = "refine"  # one Generate with each subject refined
OPENED, EXTRA, CHECK, HINT = "opened", "asked", "check", "found"  # hidden fields, by element id
READY, LACKING = "ready", "lacking"
_FORM_NAMES = (ENABLED, *SETTINGS, ORDER, *slot_names(SLOT_VALUES))
_FORM = 1 + len(_FORM_NAMES)  # number of values before the extra output; the first is the request JSON
FILES: dict[str, tuple[Callable[[], list[str]], Callable[[], str]]] = {  # lists of file names, and their first value
    "adapter": (settings.adapter_names, settings.first_adapter),
    "encoder": (settings.encoder_names, lambda: AUTO),
}


@dataclass(frozen=True)
class Panel:
    """What a tab gives the host: the script arguments, and the components that an infotext or "Send to" fills."""

    components: list[Any]
    infotext_fields: list[tuple[Any, Pasted]]
    paste_field_names: list[Pasted]


def build(elem_id: Callable[[str], str], tab: str = editor.TABS[0]) -> Panel:
    """Build the accordion of one tab.

    The components have the order in which `page_request` and the API read them: request JSON, enabled, settings, order,
    slots, extra output.
    """
    from modules.ui_components import InputAccordion

    # Outside the accordion, which may be closed.
    hidden = {"note": gr.HTML("", visible=False, elem_id=elem_id("note"))}
    hidden[ARRIVED] = gr.Textbox("", visible=False, label="pasted", elem_id=elem_id("pasted"))
    named: dict[str, Any] = {}
    with InputAccordion(False, label="AnyMS", elem_id=elem_id("enabled")) as enabled:
        # Empty on the page; the API puts its whole request here.
        hidden["request"] = gr.Textbox("", visible=False, label="request", elem_id=elem_id("request"))
        restart = update_check.restart_sentence()
        if restart:
            gr.Markdown(restart)
        with gr.Column(elem_classes=["anyms-panel"]):
            editor.element(elem_id, tab)
            # gradio 4 removes components with `visible=False` from the page.
            with gr.Column(elem_classes=["anyms-hidden"]):
                for name in (OPENED, EXTRA, CHECK, HINT, READY, LACKING):
                    hidden[name] = gr.Textbox("", label=name, elem_id=elem_id(name))
            with gr.Row(elem_id=elem_id("slots"), elem_classes=["anyms-slots"]):
                for number in range(1, SLOTS + 1):
                    named.update(_slot(number, elem_id))
            named.update(_foot(elem_id))
            connect_cards = cards.element(elem_id)
            with gr.Accordion(
                "Advanced: adapter, merging, model files, bug report", open=False, elem_id=elem_id("more")
            ):
                named.update(_advanced(elem_id))
                model_files = files.element(elem_id)
                _doctor(elem_id)
        connect_cards(named)
        cut = cutting.element(elem_id, named)
    for component in (*hidden.values(), *named.values()):
        component.do_not_save_to_config = True
    by_name = {**hidden, **named, ENABLED: enabled}
    _connect(by_name)
    states = [by_name[name] for name in (HINT, READY, LACKING)]
    files.connect(model_files, [by_name[name] for name in ("adapter", "encoder", CHECK)], states)
    watched = [ORDER, "fit", *slot_names(WATCHED)]
    editor.watch((*states, cut, *(named[name] for name in watched)), elem_id)
    form = [by_name[name] for name in _FORM_NAMES]
    fields = [(component, Pasted(name)) for name, component in zip(_FORM_NAMES, form)]
    targets = [target for _, target in fields]
    components = [hidden["request"], *form, hidden[EXTRA]]
    return Panel(components, [*fields, (hidden[ARRIVED], Pasted(ARRIVED))], targets)


def _connect(by_name: dict[str, Any]) -> None:
    """The events behind the hidden fields, into which the page's script writes."""
    note, arrived, file, check = (by_name[name] for name in ("note", ARRIVED, OPENED, CHECK))
    pictures = [by_name[name] for name in PICTURE_NAMES]
    arrived.change(compare, inputs=[arrived, *pictures], outputs=[note, *pictures], show_progress=False)
    restored = [by_name[name] for name in RESTORED]
    file.change(opened, inputs=[file, *pictures], outputs=[note, *restored], show_progress=False)
    inputs = [by_name["adapter"], by_name["encoder"], check]
    outputs = [by_name[name] for name in (HINT, READY, LACKING)]
    for trigger in inputs:
        trigger.change(model_hint.shown, inputs=inputs, outputs=outputs, show_progress=False)


def _slot(number: int, elem_id: Callable[[str], str]) -> dict[str, Any]:
    def label(name: str) -> str:
        title = FIELDS[name].label if name in FIELDS else ""
        return f"{title or name} {number}"  # labels must differ: the host stores defaults by label

    def id_of(name: str) -> str:
        return elem_id(slot_name(number, name))

    def hidden(name: str, value: str) -> Any:
        return gr.Textbox(value, label=label(name), max_lines=1, elem_id=id_of(name), elem_classes=["anyms-hidden"])

    with gr.Column(elem_id=elem_id(f"slot{number}"), elem_classes=["anyms-slot"], min_width=200):
        # The page's script draws the pictures here.
        gr.HTML(f'<div class="anyms-pictures">{NO_SCRIPT}</div>', elem_id=id_of("shown"))
        components = {PICTURES: hidden(PICTURES, "")}
        components[SILHOUETTE] = hidden(SILHOUETTE, "")
        for name in (PICTURES, SILHOUETTE):
            redact(components[name])
        for name in SCRIPTED:
            components[name] = hidden(name, FIELDS[name].default)
        for name in IN_SLOT:
            components[name] = _component(FIELDS[name], id_of(name), label(name))
        gr.HTML('<div class="anyms-inspect"></div>', elem_id=id_of("inspect"))  # role and numbers, by the script
        with gr.Row(elem_id=id_of("more"), elem_classes=["anyms-plain"]):
            for name in FOLDED:
                components[name] = _component(FIELDS[name], id_of(name), label(name))
        with gr.Row(elem_id=id_of("plain"), elem_classes=["anyms-plain"]):
            for (edge, word), value in zip(EDGES.items(), SLOT_BOXES[number - 1]):
                # With the default width four edges do not fit side by side.
                components[edge] = gr.Number(value, label=label(word), min_width=80, elem_id=id_of(edge))
            components[USE] = _component(FIELDS[USE], id_of(USE), label(USE))
    return {slot_name(number, name): component for name, component in components.items()}


def _foot(elem_id: Callable[[str], str]) -> dict[str, Any]:
    """The strength of all subjects, the scene around them, and a place for the script's buttons."""
    with gr.Row(elem_classes=["anyms-last"]):
        named = {name: _component(FIELDS[name], elem_id(name), FIELDS[name].label) for name in IN_FOOT}
        gr.HTML('<div class="anyms-foot"></div>', elem_id=elem_id("foot"))
    return named


def _advanced(elem_id: Callable[[str], str]) -> dict[str, Any]:
    """Settings that few people need."""
    named: dict[str, Any] = {}
    with gr.Row():
        for name in (*(name for name in SETTINGS if name not in IN_FOOT), ORDER):
            named[name] = _component(FIELDS[name], elem_id(name), FIELDS[name].label)
    return named


def _doctor(elem_id: Callable[[str], str]) -> None:
    with gr.Accordion("bug report", open=False):
        button = gr.Button("Write a report for an issue", elem_id=elem_id("doctor"))
        shown = gr.Textbox("", label="report", lines=8, show_copy_button=True, elem_id=elem_id("doctor_report"))
    shown.do_not_save_to_config = True
    button.click(diagnose, inputs=[], outputs=[shown], show_progress=False)


def diagnose() -> str:
    """The doctor's report."""
    from lib_anyms.hosts.facts import host_facts

    return doctor.report(host_facts(), last_report())


def _component(field: Field, elem_id: str, label: str) -> Any:
    """The gradio component for a field, by the type of its default."""
    if field.name in FILES:
        names, first = FILES[field.name]
        return gr.Dropdown(names(), value=first(), label=label, allow_custom_value=True, elem_id=elem_id)
    if field.choices:
        return gr.Dropdown(list(field.choices), value=field.default, label=label, elem_id=elem_id)
    if isinstance(field.default, bool):
        return gr.Checkbox(field.default, label=label, elem_id=elem_id)
    if isinstance(field.default, str):
        return gr.Textbox(field.default, label=label, max_lines=4, elem_id=elem_id)
    return gr.Slider(field.low, field.high, value=field.default, step=field.step, label=label, elem_id=elem_id)


def uses_anyms(values: Sequence[Any]) -> bool:
    """Whether this job uses AnyMS: by an API request, the page's switch, or a button of the editor."""
    return _has_request(values) or _is_on(values)


def lacks_subjects(values: Sequence[Any]) -> bool:
    """Whether the page is on without any subject, which makes the host's own image. Opening the accordion does that."""
    return not _has_request(values) and _is_on(values) and not has_subject(values[2:_FORM])


def extra_output(values: Sequence[Any]) -> str:
    """COMPARISON, MAPS, WORDS or REFINE if a button of the editor started this job, else ""."""
    value = values[_FORM] if len(values) > _FORM else ""
    return value if value in (COMPARISON, MAPS, WORDS, REFINE) else ""


def _has_request(values: Sequence[Any]) -> bool:
    """Whether the first value is a request; the page sends an empty text. An empty object is a request, too."""
    return bool(values) and values[0] is not None and values[0] != ""


def _is_on(values: Sequence[Any]) -> bool:
    return (len(values) > 1 and bool(values[1])) or bool(extra_output(values))


def page_request(values: Sequence[Any]) -> Request:
    """The values of `build`'s components as a Request. Raises Refused.

    A first value other than an empty text is the whole request, as JSON or as a Request. A page without any subject is
    a request that is not enabled.
    """
    request = values[0]
    if isinstance(request, Request):
        return request
    if not _has_request(values):
        enabled = _is_on(values) and not lacks_subjects(values)
        form = Request.from_json(form_request([enabled, *values[2:_FORM]]), card_library())
        if extra_output(values) == REFINE and not form.refine:
            return replace(form, refine=USUAL_REFINING)
        return form
    if isinstance(request, str):
        try:
            request = json.loads(request)
        except (ValueError, RecursionError) as error:
            raise Refused("request_form", got=f"text that is not JSON: {error}") from error
    return Request.from_json(request, card_library())

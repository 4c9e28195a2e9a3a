"""The region editor on the page: its HTML element, and the events that report changed components to it.

Generate still sends the components. javascript/ reads their values from the page and writes them after each gesture.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gradio as gr

from lib_anyms.hosts.facts import host_name
from lib_anyms.webui.ui import cached_pictures
from lib_anyms.webui.ui.slots import FIELDS, SHOWN_FIRST, SLOTS

TABS = ("txt2img", "img2img")
SIDES = ("width", "height")
CHECKPOINT = "setting_sd_model_checkpoint"  # the host's list of checkpoints, above the tabs
FORGE_LABEL, FORGE_CLASS = "Checkpoint", "model_selection"  # Forge's has no id
STRETCHES = frozenset({"Forge Neo"})  # hosts whose hires fix to another aspect ratio stretches instead of cropping
PLAIN_HELP = (
    "The region editor has not started, so these are its plain fields. "
    "Drop a picture of each subject and name it in the prompt. "
    "Its box is in fractions of the image: 0 is left and top, 1 is right and bottom. "
    "Where boxes overlap, the topmost wins."
)


def element(elem_id: Callable[[str], str], tab: str) -> Any:
    """The editor's element. Its text is visible until the script replaces it."""
    values = {"fields": elem_id(""), "tab": tab, "slots": SLOTS, "shown": SHOWN_FIRST}
    values["hires"] = "stretches" if host_name() in STRETCHES else "cuts"
    values["keeps"] = "no" if cached_pictures.store() is None else "yes"  # whether the browser may keep them, too
    values["help"] = html.escape(json.dumps({name: field.help for name, field in FIELDS.items()}), quote=True)
    attributes = " ".join(f'{name}="{value}"' for name, value in values.items())
    return gr.HTML(f"<anyms-editor {attributes}>{PLAIN_HELP}</anyms-editor>", elem_id=elem_id("editor"))


def watch(components: Iterable[Any], elem_id: Callable[[str], str]) -> None:
    """Report every change of `components` to the editor, in the browser only."""
    for component in components:
        _in_browser(component.change, f"window.anyms?.changed({json.dumps(elem_id(''))});")


def watch_size(component: Any, elem_id: str | None) -> None:
    """Script.after_component: report changes of the host's width and height, which set the canvas's shape."""
    tab, _, side = (elem_id or "").partition("_")
    if tab in TABS and side in SIDES:
        _in_browser(component.change, f"window.anyms?.resized({json.dumps(tab)});")


def watch_checkpoint(component: Any, **options: Any) -> None:
    """script_callbacks.on_after_component: report another checkpoint, which may be of another family.

    `options`: the arguments the component was created with.
    """
    in_forge = options.get("label") == FORGE_LABEL and FORGE_CLASS in (options.get("elem_classes") or ())
    # Forge Neo also creates its list outside a page, only to compute a value. An event cannot be attached there.
    on_page = gr.context.Context.root_block is not None
    if on_page and (options.get("elem_id") == CHECKPOINT or in_forge):
        _in_browser(component.change, "window.anyms?.checkpoint(value);", [component])


def _in_browser(event: Callable[..., Any], code: str, inputs: Sequence[Any] = ()) -> None:
    """Run `code` in the browser. gradio 3 calls the argument `_js`; the code must return a list of outputs."""
    parameter = "value" if inputs else ""
    argument = "js" if int(gr.__version__.partition(".")[0]) >= 4 else "_js"
    event(fn=None, inputs=list(inputs) or None, outputs=None, **{argument: f"({parameter}) => {{ {code} return []; }}"})

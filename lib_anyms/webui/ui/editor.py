"""The region editor's place on the page: its element, and what tells it that a component has changed.

The components remain what is sent on Generate; javascript/ reads them off the page and writes them at the end of a
gesture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gradio as gr

from lib_anyms.hosts.facts import host_name
from lib_anyms.webui.ui.slots import SHOWN_FIRST, SLOTS

TABS = ("txt2img", "img2img")
SIDES = ("width", "height")
CHECKPOINT = "setting_sd_model_checkpoint"  # the host's list of checkpoints, above the tabs
FORGE_LABEL, FORGE_CLASS = "Checkpoint", "model_selection"  # Forge's has no id
STRETCHES = frozenset({"Forge Neo"})  # hosts whose hires fix to another aspect cuts nothing
PLAIN_HELP = (
    "The region editor has not started, so these are its plain fields. Drop a picture of each subject and name it in the prompt. "
    "Its box is in fractions of the picture: 0 is left and top, 1 right and bottom. Where boxes overlap the topmost wins."
)


def element(elem_id: Callable[[str], str], tab: str) -> Any:
    """The editor's own element. What it encloses is shown for as long as the script has not taken its place."""
    told = {"fields": elem_id(""), "tab": tab, "slots": SLOTS, "shown": SHOWN_FIRST}
    told["hires"] = "stretches" if host_name() in STRETCHES else "cuts"
    attributes = " ".join(f'{name}="{value}"' for name, value in told.items())
    return gr.HTML(f"<anyms-editor {attributes}>{PLAIN_HELP}</anyms-editor>", elem_id=elem_id("editor"))


def watch(components: Iterable[Any], elem_id: Callable[[str], str]) -> None:
    """Tell the editor when any of `components` has changed, by whomever; nothing goes to the server."""
    for component in components:
        _in_browser(component.change, f"window.anyms?.changed({json.dumps(elem_id(''))});")


def watch_size(component: Any, elem_id: str | None) -> None:
    """Script.after_component: the host's width and height give the picture its shape."""
    if elem_id in {f"{tab}_{side}" for tab in TABS for side in SIDES}:
        _in_browser(component.change, f"window.anyms?.resized({json.dumps(str(elem_id).partition('_')[0])});")


def watch_checkpoint(component: Any, **told: Any) -> None:
    """script_callbacks.on_after_component, `told` what the component was made with: a checkpoint may be of another
    family.
    """
    in_forge = told.get("label") == FORGE_LABEL and FORGE_CLASS in (told.get("elem_classes") or ())
    on_page = (
        gr.context.Context.root_block is not None
    )  # Forge Neo makes its list anew for a value alone, where no event can be
    if on_page and (told.get("elem_id") == CHECKPOINT or in_forge):
        _in_browser(component.change, "window.anyms?.checkpoint(value);", [component])


def _in_browser(event: Callable[..., Any], code: str, inputs: Sequence[Any] = ()) -> None:
    """gradio 3 calls the argument `_js`. It wants a list of outputs back, of which there are none."""
    given = "value" if inputs else ""
    argument = "js" if int(gr.__version__.partition(".")[0]) >= 4 else "_js"
    event(fn=None, inputs=list(inputs) or None, outputs=None, **{argument: f"({given}) => {{ {code} return []; }}"})

"""Help for the crop dialog, which runs in the browser: find a picture's background, and set the list "fit".

The page's script writes a question into one hidden field and reads the answer from another.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.cutting import background_mask
from lib_anyms.ip_adapter.references import FITS, read_base64

PUT, ANSWER = "cut_put", "cut_told"  # element ids
_WHAT = "that is cut"  # the picture's name in a sentence


def element(elem_id: Callable[[str], str], named: Mapping[str, Any]) -> Any:
    """Add the two fields -> the one with the answer. `named`: the panel's components by name."""
    with gr.Column(elem_classes=["anyms-hidden"]):
        put, result = (gr.Textbox("", label=name, elem_id=elem_id(name)) for name in (PUT, ANSWER))
    for component in (put, result):
        component.do_not_save_to_config = True
    put.change(answer, inputs=[put], outputs=[result, named["fit"]], show_progress=False)
    return result


def answer(question: str) -> list[Any]:
    """JSON {"count", "fit"} sets the list "fit"; {"count", "picture"} gives a mask of the subject, or why not.

    Returns the values of the answer's field and of the list. `count` comes back in the answer, so that the script
    knows which question it belongs to.
    """
    unchanged = gr.update()
    try:
        values = json.loads(question)
        count, fit, picture = int(values["count"]), values.get("fit"), values.get("picture")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return [unchanged, unchanged]
    if fit in FITS:
        return [unchanged, gr.update(value=fit)]
    if not isinstance(picture, str):
        return [unchanged, unchanged]
    try:
        result = {"mask": _address(background_mask(read_base64(picture, _WHAT)))}
    except Refused as refusal:
        result = {"problem": str(refusal)}
    return [json.dumps({"count": count, **result}), unchanged]


def _address(mask: Any) -> str:
    data = io.BytesIO()
    mask.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"

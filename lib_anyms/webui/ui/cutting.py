"""What the page's script cannot do itself when a picture is cut: find the background, and set the list "fit".

The script writes what it asks into one hidden field and reads the answer from another; a picture is cut in the browser.
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

PUT, TOLD = "cut_put", "cut_told"
_WHAT = "that is cut"  # in a sentence about the picture


def element(elem_id: Callable[[str], str], named: Mapping[str, Any]) -> Any:
    """`named`: the panel's components by name -> the component with the answer, which the editor watches."""
    with gr.Column(elem_classes=["anyms-hidden"]):
        put, told = (gr.Textbox("", label=name, elem_id=elem_id(name)) for name in (PUT, TOLD))
    for component in (put, told):
        component.do_not_save_to_config = True
    put.change(answer, inputs=[put], outputs=[told, named["fit"]], show_progress=False)
    return told


def answer(asked: str) -> list[Any]:
    """{"count", "fit"}: that list's value.

    {"count", "picture"}: a mask of its subject, or the sentence why there is none.
    """
    unchanged = gr.update()
    try:
        given = json.loads(asked)
        count, fit, picture = int(given["count"]), given.get("fit"), given.get("picture")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return [unchanged, unchanged]
    if fit in FITS:
        return [unchanged, gr.update(value=fit)]
    if not isinstance(picture, str):
        return [unchanged, unchanged]
    try:
        told = {"mask": _address(background_mask(read_base64(picture, _WHAT)))}
    except Refused as refusal:
        told = {"problem": str(refusal)}
    return [json.dumps({"count": count, **told}), unchanged]


def _address(mask: Any) -> str:
    written = io.BytesIO()
    mask.save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"

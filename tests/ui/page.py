"""A page as the hosts make it, small: our panel in both tabs, the host's own ids beside it, and what Generate would be sent.

Run by a Python that has one of the hosts' gradios: `python page.py PORT [--without]`. An address with `?broken` leaves our script
out. What the tests' own Python has beyond that gradio comes by ANYMS_TEST_PATH.
"""

from __future__ import annotations

import json
import mimetypes
import os
import sys
import types
from pathlib import Path
from typing import Any

import gradio as gr

ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT), *os.environ.get("ANYMS_TEST_PATH", "").split(os.pathsep)]
mimetypes.add_type("application/javascript", ".mjs")


class InputAccordion:
    """As the hosts' one: a hidden checkbox with an accordion. No subclass of it: gradio would write a file beside this."""

    def __init__(self, value: bool, label: str, elem_id: str) -> None:
        self.checkbox = gr.Checkbox(value, label=label, visible=False, elem_id=f"{elem_id}-checkbox")
        self.accordion = gr.Accordion(label, open=True, elem_id=elem_id)

    def __enter__(self) -> Any:
        self.accordion.__enter__()
        return self.checkbox

    def __exit__(self, *error: Any) -> None:
        self.accordion.__exit__(*error)


def stand_in(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module


stand_in("modules")
stand_in("modules.ui_components", InputAccordion=InputAccordion)
stand_in("modules.shared", opts=types.SimpleNamespace())
stand_in("modules.paths", models_path=str(ROOT / "none"), data_path=str(ROOT / "none"))
for module in ("shared", "paths", "ui_components"):
    setattr(sys.modules["modules"], module, sys.modules[f"modules.{module}"])

from lib_anyms import infotext  # noqa: E402
from lib_anyms.ui import editor, panel  # noqa: E402


def sent(*values: Any) -> str:
    """What Generate would make of the page: the request, or why there is none."""
    try:
        return json.dumps(panel.page_request([values[0], True, *values[2:]]).to_json())
    except Exception as error:
        return str(error)


def tab(kind: str) -> Any:
    with gr.Row():
        sides = [gr.Slider(64, 2048, value=value, step=8, label=side, elem_id=f"{kind}_{side}") for side, value in SIDES.items()]
        swap = gr.Button("swap", elem_id=f"{kind}_res_switch_btn")
    for side in sides:
        editor.watch_size(side, side.elem_id)
    swap.click(lambda width, height: (height, width), inputs=sides, outputs=sides)
    built = panel.build(lambda name: f"script_{kind}_anyms_{name}", kind)
    generate = gr.Button("Generate", elem_id=f"{kind}_generate")
    request = gr.Textbox("", label="sent", elem_id=f"{kind}_sent", interactive=True)
    generate.click(sent, inputs=built.components, outputs=[request])
    told = gr.Textbox("", label="infotext", elem_id=f"{kind}_infotext")
    paste = gr.Button("Paste", elem_id=f"{kind}_paste")
    components = [component for component, _ in built.infotext_fields]

    def pasted(text: str) -> list[Any]:
        values = [target({infotext.NAME: text}) for _, target in built.infotext_fields]
        return [gr.update() if value is None else gr.update(value=value) for value in values]

    paste.click(pasted, inputs=[told], outputs=components)
    return built


SIDES = {"width": 768, "height": 512}


def head(broken: bool) -> str:
    entry, style = ROOT / "javascript" / "anyms.mjs", ROOT / "style.css"
    script = "" if broken else f'<script type="module" src="file={entry}?{entry.stat().st_mtime}"></script>'
    return f'{script}<link rel="stylesheet" href="file={style}?{style.stat().st_mtime}">'


def serve(port: int, without: bool) -> None:
    with gr.Blocks() as page:
        if not without:
            tab("txt2img")
    original = gr.routes.templates.TemplateResponse

    def template_response(name: str, context: dict[str, Any], **kwargs: Any) -> Any:
        """Scripts come into the page as the hosts put them there."""
        response = original(name, context, **kwargs)
        told = head("broken" in context["request"].query_params)
        response.body = response.body.replace(b"</head>", told.encode() + b"</head>")
        response.init_headers()
        return response

    gr.routes.templates.TemplateResponse = template_response
    page.launch(server_name="127.0.0.1", server_port=port, allowed_paths=[str(ROOT)], quiet=True, show_api=False)


if __name__ == "__main__":
    serve(int(sys.argv[1]), "--without" in sys.argv)

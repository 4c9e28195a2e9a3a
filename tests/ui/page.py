"""A small copy of a host's page: the AnyMS panel in both tabs, the host's own fields, and the request of Generate.

`python page.py PORT [--without] [--closed] [--one-tab]`: without the panel, with a closed panel as in the hosts, or
txt2img alone, which opens faster. Run it with a Python that has one of the hosts' gradios, in a folder that it may
write to. ANYMS_TEST_PATH lists folders with the other packages it needs. `?broken` in the address leaves out the
script.
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
sys.path += [
    str(ROOT),
    str(Path(__file__).parent / "stand_ins"),
    *os.environ.get("ANYMS_TEST_PATH", "").split(os.pathsep),
]
os.environ["U2NET_HOME"] = str(Path.cwd())  # folder of the models for the stand-in of rembg; empty at first
mimetypes.add_type("application/javascript", ".mjs")


class InputAccordion:
    """Stand-in of the hosts' class: a hidden checkbox with an accordion.

    Not a subclass: gradio would write a file beside this one.
    """

    opened = True

    def __init__(self, value: bool, label: str, elem_id: str) -> None:
        self.checkbox = gr.Checkbox(value, label=label, visible=False, elem_id=f"{elem_id}-checkbox")
        self.accordion = gr.Accordion(label, open=self.opened, elem_id=elem_id)

    def __enter__(self) -> Any:
        self.accordion.__enter__()
        return self.checkbox

    def __exit__(self, *error: Any) -> None:
        self.accordion.__exit__(*error)


def checkpoint(name: str) -> Any:
    """Find a checkpoint as the hosts do; the page never loads one."""
    file = Path.cwd() / "models" / name
    return types.SimpleNamespace(filename=str(file)) if file.is_file() else None


def stand_in(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module


stand_in("modules")
stand_in("modules.ui_components", InputAccordion=InputAccordion)
stand_in("modules.shared", opts=types.SimpleNamespace(), cmd_opts=types.SimpleNamespace())
stand_in("modules.paths", models_path=str(Path.cwd() / "models"), data_path=str(Path.cwd()))
stand_in("modules.sd_models", model_data=types.SimpleNamespace(sd_model=None), get_closet_checkpoint_match=checkpoint)
for module in ("shared", "paths", "ui_components", "sd_models"):
    setattr(sys.modules["modules"], module, sys.modules[f"modules.{module}"])

from lib_anyms.job import infotext  # noqa: E402
from lib_anyms.webui.ui import (  # noqa: E402
    cached_pictures,
    editor,
    panel,
)


def sent(*values: Any) -> str:
    """The request that Generate would send, as JSON; or why there is none."""
    try:
        request = panel.page_request([values[0], True, *values[2:]])
        content = cached_pictures.remember(request).to_json()
        extra = panel.extra_output(values)
        if extra:
            content["extra"] = extra
        return json.dumps(content)
    except Exception as error:
        return str(error)


def tab(kind: str, without: bool) -> None:
    with gr.Row():
        sides = [
            gr.Slider(64, 2048, value=value, step=8, label=side, elem_id=f"{kind}_{side}")
            for side, value in SIDES.items()
        ]
        swap = gr.Button("swap", elem_id=f"{kind}_res_switch_btn")
    swap.click(lambda width, height: (height, width), inputs=sides, outputs=sides)
    generate = gr.Button("Generate", elem_id=f"{kind}_generate")
    host_fields(kind)
    if without:
        return
    for side in sides:
        editor.watch_size(side, side.elem_id)
    built = panel.build(lambda name: f"script_{kind}_anyms_{name}", kind)
    request = gr.Textbox("", label="sent", elem_id=f"{kind}_sent", interactive=True)
    generate.click(sent, inputs=built.components, outputs=[request])
    text = gr.Textbox("", label="infotext", elem_id=f"{kind}_infotext")
    paste = gr.Button("Paste", elem_id=f"{kind}_paste")
    components = [component for component, _ in built.infotext_fields]

    def pasted(text: str) -> list[Any]:
        values = [target({infotext.NAME: text}) for _, target in built.infotext_fields]
        return [gr.update() if value is None else gr.update(value=value) for value in values]

    paste.click(pasted, inputs=[text], outputs=components)


def host_fields(kind: str) -> None:
    """The host's other fields that the editor reads: prompts, hires fix, result of "Resize by"."""
    gr.Textbox("", label="prompt", elem_id=f"{kind}_prompt", interactive=True)
    final = gr.Textbox("", label="final prompt", elem_id=f"{kind}_final", interactive=True)
    shown = gr.HTML("", elem_id=f"html_info_{kind}")
    final.change(lambda text: text, inputs=[final], outputs=[shown])
    gr.HTML("<div></div>", elem_id=f"{kind}_gallery")
    if kind == "txt2img":
        gr.Checkbox(False, label="hires", elem_id="txt2img_hr-checkbox", interactive=True)
        sides = [gr.Number(0, label=side, elem_id=f"txt2img_hr_resize_{side}", interactive=True) for side in "xy"]
        result = gr.HTML("", elem_id="txtimg_hr_finalres")
        for side in sides:
            side.change(lambda x, y: f"to {x:g}x{y:g}", inputs=sides, outputs=[result])
    else:
        by = gr.Number(1, label="by", elem_id="img2img_scale", interactive=True)
        result = gr.HTML("", elem_id="img2img_scale_resolution_preview")
        by.change(
            lambda by: f"resize: from <span>640x400</span> to <span>{640 * by:g}x{400 * by:g}</span>",
            inputs=[by],
            outputs=[result],
        )


SIDES = {"width": 768, "height": 512}
CHECKPOINTS = ["none", "one.safetensors", "two.safetensors"]


def head(broken: bool) -> str:
    entry, style = ROOT / "javascript" / "anyms.mjs", ROOT / "style.css"
    script = "" if broken else f'<script type="module" src="file={entry}?{entry.stat().st_mtime}"></script>'
    return f'{script}<link rel="stylesheet" href="file={style}?{style.stat().st_mtime}">'


def serve(port: int, without: bool, tabs: tuple[str, ...]) -> None:
    with gr.Blocks() as page:
        chosen = gr.Dropdown(CHECKPOINTS, value=CHECKPOINTS[0], label="checkpoint", elem_id=editor.CHECKPOINT)
        editor.watch_checkpoint(chosen, elem_id=editor.CHECKPOINT)
        for kind in tabs:
            with gr.Column(elem_id=f"tab_{kind}"):
                tab(kind, without)
    original = gr.routes.templates.TemplateResponse

    def template_response(name: str, context: dict[str, Any], **kwargs: Any) -> Any:
        """Add script and style sheet where the hosts add them."""
        response = original(name, context, **kwargs)
        tags = head("broken" in context["request"].query_params)
        response.body = response.body.replace(b"</head>", tags.encode() + b"</head>")
        response.init_headers()
        return response

    gr.routes.templates.TemplateResponse = template_response
    page.launch(server_name="127.0.0.1", server_port=port, allowed_paths=[str(ROOT)], quiet=True, show_api=False)


if __name__ == "__main__":
    InputAccordion.opened = "--closed" not in sys.argv
    tabs = editor.TABS[:1] if "--one-tab" in sys.argv else editor.TABS
    serve(int(sys.argv[1]), "--without" in sys.argv, tabs)

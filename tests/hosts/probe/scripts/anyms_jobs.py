"""Test only: jobs inside jobs, as other extensions and the host's batch page make them, and "Reload UI" by an address.

"AnyMS test nested" takes an object: `folder`, where it saves a picture made inside each picture's postprocess_image;
`like`: "bare", a new job without scripts, "copy", the same job with all its scripts, or "copy without AnyMS". "AnyMS
test batch" redraws every picture of a folder, as the img2img tab's "Batch" does. POST /anyms-probe/reload is the
settings page's button.
"""

from __future__ import annotations

import copy
from pathlib import Path

import gradio as gr
from modules import img2img, processing, script_callbacks, scripts, shared


class NestedScript(scripts.Script):
    busy = False

    def title(self) -> str:
        return "AnyMS test nested"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox("", visible=False, label="nested")]

    def postprocess_image(self, p, image, wishes="", *_) -> None:
        if NestedScript.busy or not isinstance(wishes, dict):
            return
        NestedScript.busy = True
        try:
            inner = MAKE[wishes["like"]](p)
            picture = processing.process_images(inner).images[0]
        finally:
            NestedScript.busy = False
        folder = Path(wishes["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{len(list(folder.iterdir()))}.png")


def bare(p):
    kind = processing.StableDiffusionProcessingTxt2Img
    words = {
        "prompt": p.prompt,
        "negative_prompt": p.negative_prompt,
        "sampler_name": "Euler",
        "scheduler": "Automatic",
    }
    words = {
        name: value for name, value in words.items() if name in kind.__dataclass_fields__
    }  # Forge classic has no schedulers
    sizes = {"steps": 3, "width": 192, "height": 128, "cfg_scale": 5.0, "seed": 7, "n_iter": 1, "batch_size": 1}
    inner = kind(sd_model=shared.sd_model, **words, **sizes)
    inner.do_not_save_samples = inner.do_not_save_grid = True
    return inner


def copied(p):
    inner = copy.copy(p)
    inner.n_iter, inner.do_not_save_samples, inner.do_not_save_grid = 1, True, True
    return inner


def copied_without(p):
    """Copy the job as extensions do that keep only the scripts they know."""
    inner = copied(p)
    ours = next(script for script in p.scripts.alwayson_scripts if script.title() == "AnyMS")
    values = list(p.script_args)
    values[ours.args_from] = {"enabled": False}
    inner.script_args = values
    return inner


MAKE = {"bare": bare, "copy": copied, "copy without AnyMS": copied_without}


class BatchScript(scripts.Script):
    def title(self) -> str:
        return "AnyMS test batch"

    def show(self, is_img2img):
        return is_img2img

    def ui(self, is_img2img):
        return [gr.Textbox("", visible=False, label="folder")]

    def run(self, p, folder):
        nothing_chosen = (0, *p.script_args[1:])
        return img2img.process_batch(p, folder, "", "", nothing_chosen)


def reload_ui() -> dict:
    shared.state.request_restart()
    return {}


script_callbacks.on_app_started(
    lambda _demo, app: app.add_api_route("/anyms-probe/reload", reload_ui, methods=["POST"])
)

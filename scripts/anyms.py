"""AnyMS in the WebUI: the one AlwaysOn script. It passes the host's callbacks to lib_anyms/webui/lifecycle.py.

The extension's folder is on sys.path only while this file loads, so everything is imported here.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

import gradio as gr
from modules import script_callbacks, scripts

log = logging.getLogger("anyms")
if log.getEffectiveLevel() > logging.WARNING:
    log.setLevel(logging.WARNING)  # Forge Neo's console shows errors only; AnyMS's messages are warnings

try:
    from lib_anyms.errors import Noted
    from lib_anyms.hosts import webui
    from lib_anyms.models.file_index import index
    from lib_anyms.webui import lifecycle, messages, second_look, update_check, web_api
    from lib_anyms.webui.ui import axes, cached_pictures, editor, extras, panel, refining, settings

    import_failure = update_check.restart_sentence()  # this file may be newer than the loaded lib_anyms
except Exception:  # shown in the accordion: hosts hide a script that fails to load
    import_failure = traceback.format_exc()
    log.error("AnyMS could not be loaded:\n%s", import_failure)


armed: list[Any] = []  # the hook of `refuse_without_lib`


class AnyMSScript(scripts.Script):  # type: ignore[misc]  # of the host
    """Several reference subjects in one image, each in its box."""

    def title(self) -> str:
        return "AnyMS"

    def show(self, is_img2img: bool) -> object:
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        if import_failure:
            return failure_panel()
        built = panel.build(self.elem_id, "img2img" if is_img2img else "txt2img")
        self.infotext_fields, self.paste_field_names = built.infotext_fields, built.paste_field_names
        return built.components

    def after_component(self, component: Any, **kwargs: Any) -> None:
        if not import_failure:
            editor.watch_size(component, kwargs.get("elem_id"))

    def before_process(self, p: Any, *values: Any) -> None:
        if import_failure:
            disarm()
        else:
            if lifecycle.job_begins(p, panel.uses_anyms(values)):
                return
            if panel.lacks_subjects(values):
                messages.show_note(p, Noted("no_subject"))
            extras.begin(p, values)

    def process_before_every_sampling(self, p: Any, *values: Any, **kwargs: Any) -> None:
        if import_failure:
            refuse_without_lib(p, values)
        elif panel.uses_anyms(values):
            write, record = settings.writes_infotext(), extras.wants_maps(values)
            lifecycle.pass_begins(p, lambda: cached_pictures.remember(panel.page_request(values)), write, record)

    def post_sample(self, p: Any, ps: Any, *values: Any) -> None:
        if not import_failure:
            lifecycle.pass_ends(p, (lambda: panel.page_request(values)) if panel.uses_anyms(values) else None)

    def postprocess_image(self, p: Any, pp: Any, *values: Any) -> None:
        if not import_failure:
            pp.image = refining.refined(p, pp.image)

    def postprocess(self, p: Any, processed: Any, *values: Any) -> None:
        if not import_failure:
            extras.end(p, processed)
            lifecycle.job_ends(p)


def failure_panel() -> list[Any]:
    """In place of the panel where lib_anyms does not import, or has another version than this file."""
    with gr.Accordion("AnyMS could not be loaded: restart the WebUI", open=False):
        request_json = gr.Textbox("", visible=False, label="request")
        gr.Markdown(f"Restart the WebUI. If that does not help, report this:\n```\n{import_failure}\n```")
    return [request_json]


def refuse_without_lib(p: Any, values: tuple[Any, ...]) -> None:
    """Make the UNet raise: the API must not answer a request for AnyMS with an image made without it."""
    disarm()
    if not values or values[0] is None or values[0] == "":  # an empty object is a request, too
        return
    model = p.sd_model.forge_objects.unet.model if hasattr(p.sd_model, "forge_objects") else p.sd_model.model

    def refuse(_unet: Any, _args: Any) -> None:
        disarm()
        raise RuntimeError(
            f"AnyMS: the extension could not be loaded ({import_failure.splitlines()[-1]}). Restart the WebUI."
        )

    armed.append(model.diffusion_model.register_forward_pre_hook(refuse))


def disarm() -> None:
    """Remove a refusal whose UNet never ran."""
    while armed:
        armed.pop().remove()


if not import_failure:
    script_callbacks.on_cfg_denoiser(lifecycle.step_begins)
    script_callbacks.on_cfg_after_cfg(lambda _parameters: second_look.step_ends())
    script_callbacks.on_ui_settings(lambda: settings.register(cached_pictures.settings_changed))
    script_callbacks.on_before_ui(axes.register)
    script_callbacks.on_after_component(editor.watch_checkpoint)
    script_callbacks.on_app_started(web_api.register)
    script_callbacks.on_app_started(cached_pictures.list_early)
    index.keep_in(webui.cache_folder() / "files.json")

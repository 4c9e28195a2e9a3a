"""The section "AnyMS" of the host's settings page."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import shared

from lib_anyms.fields import AUTO
from lib_anyms.hosts.webui import model_folders
from lib_anyms.model_files import adapters_in

SECTION = ("anyms", "AnyMS")
INFOTEXT, ADAPTER = "anyms_infotext", "anyms_adapter"


def register() -> None:
    """on_ui_settings."""
    told = shared.OptionInfo(True, "Write the subjects, without their pictures, into each picture's infotext", section=SECTION)
    preset = shared.OptionInfo(
        AUTO, "Adapter the page starts with", gr.Dropdown, lambda: {"choices": adapter_names()}, section=SECTION
    )
    shared.opts.add_option(INFOTEXT, told)
    shared.opts.add_option(ADAPTER, preset.info("auto: the first that fits the checkpoint").needs_reload_ui())


def writes_infotext() -> bool:
    return bool(_value(INFOTEXT, True))


def first_adapter() -> str:
    """The adapter the page starts with: "auto" when the chosen one is gone."""
    chosen = str(_value(ADAPTER, AUTO))
    return chosen if chosen in adapter_names() else AUTO


def adapter_names() -> list[str]:
    """What an adapter's dropdown offers."""
    return [AUTO, *(adapter.path.name for adapter in adapters_in(model_folders()))]


def _value(name: str, default: Any) -> Any:
    """A host without its page has not registered them."""
    return getattr(shared.opts, name, default)

"""The section "AnyMS" of the host's settings page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from modules import shared

from lib_anyms.hosts.fetching import MIRROR
from lib_anyms.hosts.webui import CARDS_FOLDER, EXTRA_FOLDERS, model_folders
from lib_anyms.layout.fields import AUTO
from lib_anyms.models.known_files import HOME
from lib_anyms.models.model_files import adapters_in, encoders_in

SECTION = ("anyms", "AnyMS")
INFOTEXT, ADAPTER = "anyms_infotext", "anyms_adapter"
KEEP, KEPT_MIB = "anyms_keep", "anyms_kept_mib"
ALWAYS, NEVER = "always", "never"
LINES = {"lines": 2}
SIZES = {"minimum": 16, "maximum": 4096, "step": 16}  # MiB
KEEP_HELP = "auto: keep them unless others can open the page without a login; never: also remove kept ones"


def register(kept_changed: Callable[[], None]) -> None:
    """on_ui_settings. `kept_changed` runs when the user changes whether pictures are kept."""
    infotext = shared.OptionInfo(
        True, "Write the subjects, without their pictures, into each image's infotext", section=SECTION
    )
    preset = shared.OptionInfo(
        AUTO, "Adapter the page starts with", gr.Dropdown, lambda: {"choices": adapter_names()}, section=SECTION
    )
    keep = shared.OptionInfo(
        AUTO,
        "Keep reference pictures on this computer; a pasted infotext then brings them back",
        gr.Dropdown,
        {"choices": [AUTO, ALWAYS, NEVER]},
        section=SECTION,
        onchange=kept_changed,
    )
    size = shared.OptionInfo(
        256, "MiB of reference pictures to keep; the least recently used go first", gr.Slider, SIZES, section=SECTION
    )
    folders = shared.OptionInfo(
        "", "More folders with adapters and image encoders, one per line", gr.Textbox, LINES, section=SECTION
    )
    cards = shared.OptionInfo(
        "", "Folder of subject cards (empty: anyms-cards beside the host's models)", section=SECTION
    )
    mirror = shared.OptionInfo(HOME, "Address for downloads of model files: the site or a mirror", section=SECTION)
    shared.opts.add_option(INFOTEXT, infotext)
    shared.opts.add_option(EXTRA_FOLDERS, folders.info("also the whole folder of a ComfyUI or another WebUI"))
    shared.opts.add_option(CARDS_FOLDER, cards)
    shared.opts.add_option(MIRROR, mirror.info("AnyMS checks the SHA-256 of each file"))
    shared.opts.add_option(ADAPTER, preset.info("auto: the first that fits the checkpoint").needs_reload_ui())
    shared.opts.add_option(KEEP, keep.info(KEEP_HELP))
    shared.opts.add_option(KEPT_MIB, size)


def writes_infotext() -> bool:
    return bool(_value(INFOTEXT, True))


def keeps() -> str:
    """Whether to keep reference pictures: AUTO, ALWAYS or NEVER."""
    return str(_value(KEEP, AUTO))


def kept_bytes() -> int:
    """How many bytes of reference pictures to keep."""
    return int(_value(KEPT_MIB, 256)) * 2**20


def first_adapter() -> str:
    """The adapter the page starts with: "auto" if the one of the setting does not exist."""
    name = str(_value(ADAPTER, AUTO))
    return name if name in adapter_names() else AUTO


def adapter_names() -> list[str]:
    """The choices of an adapter's list."""
    return [AUTO, *(adapter.path.name for adapter in adapters_in(model_folders()))]


def encoder_names() -> list[str]:
    """The choices of an image encoder's list."""
    return [AUTO, *(encoder.path.name for encoder in encoders_in(model_folders()))]


def _value(name: str, default: Any) -> Any:
    """A host without a page has not registered our settings."""
    return getattr(shared.opts, name, default)

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
from lib_anyms.models.model_files import adapters_in

SECTION = ("anyms", "AnyMS")
INFOTEXT, ADAPTER = "anyms_infotext", "anyms_adapter"
KEEP, KEPT_MIB = "anyms_keep", "anyms_kept_mib"
ALWAYS, NEVER = "always", "never"
KEEP_WORDS = "Keep reference pictures on this computer, so that a pasted infotext brings them back"
LINES = {"lines": 2}
FOLDERS_WORDS = "More folders with adapters and image encoders, one a line"
MIRROR_WORDS = "Where model files are fetched from when you ask for one: the site, or a mirror of it"
ROOM = {"minimum": 16, "maximum": 4096, "step": 16}
KEEP_HELP = "auto: unless others can open the page without a login; never: remove those that are kept, too"


def register(kept_changed: Callable[[], None]) -> None:
    """on_ui_settings. `kept_changed` is called when the user chooses anew whether pictures are kept."""
    told = shared.OptionInfo(
        True, "Write the subjects, without their pictures, into each picture's infotext", section=SECTION
    )
    preset = shared.OptionInfo(
        AUTO, "Adapter the page starts with", gr.Dropdown, lambda: {"choices": adapter_names()}, section=SECTION
    )
    keep = shared.OptionInfo(
        AUTO, KEEP_WORDS, gr.Dropdown, {"choices": [AUTO, ALWAYS, NEVER]}, section=SECTION, onchange=kept_changed
    )
    room = shared.OptionInfo(
        256, "MiB of reference pictures to keep; the longest unused go first", gr.Slider, ROOM, section=SECTION
    )
    folders = shared.OptionInfo(
        "", "More folders with adapters and image encoders, one a line", gr.Textbox, LINES, section=SECTION
    )
    cards = shared.OptionInfo(
        "", "Folder of subject cards (empty: anyms-cards beside the host's models)", section=SECTION
    )
    mirror = shared.OptionInfo(
        HOME, "Where model files are fetched from when you ask for one: the site, or a mirror of it", section=SECTION
    )
    shared.opts.add_option(INFOTEXT, told)
    shared.opts.add_option(EXTRA_FOLDERS, folders.info("a ComfyUI or another WebUI will do as a whole"))
    shared.opts.add_option(CARDS_FOLDER, cards)
    shared.opts.add_option(
        MIRROR, mirror.info("each file is checked against its known SHA-256, wherever it comes from")
    )
    shared.opts.add_option(ADAPTER, preset.info("auto: the first that fits the checkpoint").needs_reload_ui())
    shared.opts.add_option(KEEP, keep.info(KEEP_HELP))
    shared.opts.add_option(KEPT_MIB, room)


def writes_infotext() -> bool:
    return bool(_value(INFOTEXT, True))


def keeps() -> str:
    """Whether reference pictures are kept: AUTO, ALWAYS or NEVER."""
    return str(_value(KEEP, AUTO))


def kept_bytes() -> int:
    """How many bytes of them."""
    return int(_value(KEPT_MIB, 256)) * 2**20


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

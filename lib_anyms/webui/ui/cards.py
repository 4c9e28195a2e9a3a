"""The panel's part "subject cards": a subject's pictures saved as a card, and the library to fill a slot from.

A card in a slot is its thumbnail's address with the card's hash in it (cards/address.py): removed, moved to the other
tab and drawn as any picture is. Which card of the list was pressed the page's script writes into a hidden field.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import gradio as gr
from PIL import Image

from lib_anyms.cards.address import address, card_of, plain_addresses
from lib_anyms.cards.library import Entry
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.facts import loaded_unet
from lib_anyms.hosts.webui import card_library, model_folders
from lib_anyms.job.card_making import save_to_library
from lib_anyms.layout.fields import AUTO
from lib_anyms.layout.layout import propose_role
from lib_anyms.webui.ui.slots import PICTURES, SLOTS, read_pictures, slot_name

PUT, SEARCH = "cards_put", "cards_search"
SHOWN = 24  # of the library at once; the search finds the others
_THUMB = 96  # pixels
NONE = "There are no cards yet. Save a subject as a card here, or put cards of others into the folder {folder} beside the models."
MORE = "{count} more: search by name or role."
HELP = "A card keeps what the image encoder has read of a subject: small to share, and no encoder is needed for it any more."
FILLED = ("name", "role")


def element(elem_id: Callable[[str], str], named: Mapping[str, Any]) -> None:
    """`named`: the panel's components by name."""
    with gr.Accordion("subject cards", open=False, elem_id=elem_id("cards")):
        gr.Markdown(HELP)
        with gr.Row():
            number = gr.Dropdown(
                [str(slot) for slot in range(1, SLOTS + 1)],
                value="1",
                label="card of subject",
                elem_id=elem_id("cards_slot"),
            )
            save = gr.Button("Save subject as card", elem_id=elem_id("cards_save"))
            search = gr.Textbox("", label="find a card", placeholder="name or role", elem_id=elem_id(SEARCH))
        told = gr.HTML("", elem_id=elem_id("cards_told"))
        shown = gr.HTML(gallery(""), elem_id=elem_id("cards_shown"))
    with gr.Column(elem_classes=["anyms-hidden"]):
        put = gr.Textbox("", label="card", elem_id=elem_id(PUT))
    for component in (number, search, told, shown, put):
        component.do_not_save_to_config = True
    slots = [named[slot_name(slot, name)] for slot in range(1, SLOTS + 1) for name in (PICTURES, *FILLED)]
    settings = [named[name] for name in ("adapter", "encoder", "fit", "combine")]
    search.change(gallery, inputs=[search], outputs=[shown], show_progress=False)
    save.click(save_slot, inputs=[number, search, *settings, *slots], outputs=[told, shown])
    put.change(fill_slot, inputs=[put, number, *slots], outputs=[told, *slots], show_progress=False)


def gallery(wanted: str) -> str:
    """The cards that the search finds, each to be pressed."""
    library = card_library()
    entries = library.entries(str(wanted or ""))
    if not entries and not wanted:
        return _line(NONE.format(folder=library.folder.name))
    beyond = len(entries) - SHOWN
    cards = "".join(_shown(entry) for entry in entries[:SHOWN])
    return f'<div class="anyms-cards">{cards}</div>' + (_line(MORE.format(count=beyond)) if beyond > 0 else "")


def save_slot(number: str, wanted: str, *values: Any) -> tuple[str, str]:
    """For the button: the sentence, and the cards as they are then."""
    adapter, encoder, fit, combine, *rest = values
    slot = dict(zip((PICTURES, *FILLED), _of_slot(int(number), rest)))
    name = (slot["name"] or "").strip() or f"subject {number}"
    try:
        images = read_pictures(slot[PICTURES], name)
        if any(map(card_of, images)):
            raise Refused("card_already", name=name)
        role = propose_role(name) if slot["role"] == AUTO else slot["role"]
        subject = {"name": name, "role": role, "images": images}
        given = {"adapter": adapter, "encoder": encoder, "fit": fit, "combine": combine, "subjects": [subject]}
        file = save_to_library(given, card_library(), model_folders(), loaded_unet())
    except (Refused, SteppedAside) as reason:
        return _line(str(reason)), gallery(wanted)
    return _line(f"Saved as {file} in {card_library().folder.name}."), gallery(wanted)


def fill_slot(told: str, number: str, *values: Any) -> list[Any]:
    """What the page's script says was pressed -> the sentence, and the slots' values: those of the chosen slot change."""
    updates = [gr.update() for _ in values]
    try:
        given = json.loads(told)
        card = card_library().find(str(given["file"]))
        pictures = plain_addresses(card) if given.get("as") == "pictures" else [address(card)]
        if not pictures:
            raise Refused("card_pictures", name=card.name)
    except (ValueError, TypeError, KeyError):
        return [gr.update(), *updates]
    except Refused as refusal:
        return [_line(str(refusal)), *updates]
    first = (int(number) - 1) * (1 + len(FILLED))
    updates[first] = gr.update(value=json.dumps(pictures, separators=(",", ":")))
    if not (values[first + 1] or "").strip():
        updates[first + 1] = gr.update(value=card.name)
    updates[first + 2] = gr.update(value=card.role)
    return [_line(f"Subject {number} is {card.name} now."), *updates]


def address_of(name: str) -> str | None:
    """The slot's address of the library's card of the hash `name`; None: there is none."""
    try:
        library = card_library()
        return address(library.find(name)) if library.named(name) else None
    except Refused:
        return None


def _of_slot(number: int, values: list[Any]) -> list[Any]:
    size = 1 + len(FILLED)
    return values[(number - 1) * size : number * size]


def _shown(entry: Entry) -> str:
    name, file = html.escape(entry.name, quote=True), html.escape(entry.file, quote=True)
    return (
        f'<div class="anyms-card"><button type="button" data-card="{file}" data-as="card" title="{file}">'
        f'<img src="{_thumb(entry.hash)}" alt=""><span>{name}</span></button>'
        f'<button type="button" data-card="{file}" data-as="pictures" class="anyms-card-pictures">Use its pictures</button></div>'
    )


@lru_cache(maxsize=512)
def _thumb(digest: str) -> str:
    """Small enough for a page of them."""
    try:
        card = card_library().find(digest)
        picture = card.picture()
    except Refused:
        return ""
    picture.thumbnail((_THUMB, _THUMB), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"


def _line(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"

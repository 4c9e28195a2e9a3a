"""The panel's part "subject cards": save the pictures of a slot as a card, and fill a slot from the library.

In a slot a card is the address of its thumbnail plus the card's hash (cards/address.py), so it is drawn, moved and
removed like any picture. The page's script writes the card that was clicked into a hidden field.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
from PIL import Image

from lib_anyms.cards.address import address, card_of, plain_addresses
from lib_anyms.cards.library import Entry
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.facts import loaded_checkpoint, loaded_unet
from lib_anyms.hosts.webui import card_library, model_folders
from lib_anyms.job.card_making import save_to_library
from lib_anyms.layout.fields import AUTO
from lib_anyms.layout.layout import PROMPTS, propose_role
from lib_anyms.runtime import runtime
from lib_anyms.webui.ui.slots import PICTURES, SLOTS, read_pictures, slot_names

PUT, SEARCH = "cards_put", "cards_search"
SHOWN = 24  # cards at once; the search finds the others
_THUMB = 96  # pixels
_MOST_THUMBS = 512  # kept at once
NONE = "There are no cards yet. Save a subject as a card here, or put cards into the folder {folder} beside the models."
MORE = "{count} more: search by name or role."
HELP = "A card holds the tokens that the image encoder made of a subject. It is small to share and needs no encoder."
FILLED = ("name", "role", *PROMPTS)  # what a card fills beside the pictures


def element(elem_id: Callable[[str], str]) -> Callable[[Mapping[str, Any]], None]:
    """Build the accordion -> a function that connects it to the panel's components by name, once all are built."""
    with gr.Accordion("Subject library", open=False, elem_id=elem_id("cards")):
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
        message = gr.HTML("", elem_id=elem_id("cards_told"))
        shown = gr.HTML(gallery(""), elem_id=elem_id("cards_shown"))
    with gr.Column(elem_classes=["anyms-hidden"]):
        put = gr.Textbox("", label="card", elem_id=elem_id(PUT))
    for component in (number, search, message, shown, put):
        component.do_not_save_to_config = True

    def connect(named: Mapping[str, Any]) -> None:
        slots = [named[name] for name in slot_names((PICTURES, *FILLED))]
        settings = [named[name] for name in ("adapter", "encoder", "fit", "combine")]
        search.change(gallery, inputs=[search], outputs=[shown], show_progress=False)
        save.click(save_slot, inputs=[number, search, *settings, *slots], outputs=[message, shown])
        put.change(fill_slot, inputs=[put, number, *slots], outputs=[message, *slots], show_progress=False)

    return connect


def gallery(search: str) -> str:
    """The cards that match `search`, as HTML with buttons."""
    library = card_library()
    entries = library.entries(str(search or ""))
    if not entries and not search:
        return _line(NONE.format(folder=library.folder.name))
    beyond = len(entries) - SHOWN
    cards = "".join(_card(entry) for entry in entries[:SHOWN])
    more = _line(MORE.format(count=beyond)) if beyond > 0 else ""
    return f'<div class="anyms-cards">{cards}</div>{more}'


def save_slot(number: str, search: str, *values: Any) -> tuple[str, str]:
    """The button "Save subject as card" -> the message, and the new list of cards."""
    adapter, encoder, fit, combine, *rest = values
    slot = dict(zip((PICTURES, *FILLED), _of_slot(int(number), rest)))
    name = (slot["name"] or "").strip() or f"subject {number}"
    try:
        images = read_pictures(slot[PICTURES], name)
        if any(map(card_of, images)):
            raise Refused("card_already", name=name)
        role = propose_role(name) if slot["role"] == AUTO else slot["role"]
        prompts = {key: slot[key] or "" for key in PROMPTS}
        subject = {"name": name, "role": role, "images": images, **prompts}
        request = {"adapter": adapter, "encoder": encoder, "fit": fit, "combine": combine, "subjects": [subject]}
        file = save_to_library(request, card_library(), model_folders(), loaded_unet(), loaded_checkpoint())
    except (Refused, SteppedAside) as reason:
        sentence = str(reason).replace("the image was made without AnyMS", "no card was saved")
        return _line(sentence), gallery(search)
    return _line(f"Saved as {file} in {card_library().folder.name}."), gallery(search)


def fill_slot(click: str, number: str, *values: Any) -> list[Any]:
    """A click on a card (JSON from the page's script) -> the message and all slots' values; the chosen slot changes."""
    updates = [gr.update() for _ in values]
    try:
        clicked = json.loads(click)
        card = card_library().find(str(clicked["file"]))
        pictures = plain_addresses(card) if clicked.get("as") == "pictures" else [address(card)]
        if not pictures:
            raise Refused("card_pictures", name=card.name)
    except (ValueError, TypeError, KeyError, RecursionError):
        return [gr.update(), *updates]
    except Refused as refusal:
        return [_line(str(refusal)), *updates]
    first = (int(number) - 1) * (1 + len(FILLED))
    filled = {PICTURES: json.dumps(pictures, separators=(",", ":")), "role": card.role}
    message = f"Subject {number} is now {card.name}."
    slot = dict(zip((PICTURES, *FILLED), values[first:]))
    for name in ("name", *PROMPTS):
        text, present = getattr(card, name), (slot[name] or "").strip()
        if not present:
            filled[name] = text
        elif text not in ("", present) and name in PROMPTS:
            message += f" The slot keeps its {name}; the card's is: {text}"
    for place, name in enumerate((PICTURES, *FILLED), first):
        if name in filled:
            updates[place] = gr.update(value=filled[name])
    return [_line(message), *updates]


def address_of(name: str) -> str | None:
    """The library's card with the hash `name`, as an address for a slot; None if it is absent."""
    try:
        library = card_library()
        return address(library.find(name)) if library.named(name) else None
    except Refused:
        return None


def _of_slot(number: int, values: list[Any]) -> list[Any]:
    size = 1 + len(FILLED)
    return values[(number - 1) * size : number * size]


def _card(entry: Entry) -> str:
    """One card as HTML."""
    name, file = html.escape(entry.name, quote=True), html.escape(entry.file, quote=True)
    use = f'<button type="button" data-card="{file}" data-as="card" title="{file}">'
    pictures = f'<button type="button" data-card="{file}" data-as="pictures" class="anyms-card-pictures">'
    return (
        f'<div class="anyms-card">{use}<img src="{thumbnails.of(entry.hash)}" alt=""><span>{name}</span></button>'
        f"{pictures}Use its pictures</button></div>"
    )


class Thumbnails:
    """Small pictures of cards by hash, as data: addresses: the page shows many at once."""

    def __init__(self) -> None:
        self._by_hash: dict[str, str] = {}

    def clear(self) -> None:
        self._by_hash.clear()

    def of(self, digest: str) -> str:
        """The card's picture; "" if the card is gone or damaged."""
        if digest not in self._by_hash:
            if len(self._by_hash) >= _MOST_THUMBS:
                self._by_hash.clear()
            self._by_hash[digest] = _thumbnail(digest)
        return self._by_hash[digest]


thumbnails = runtime.of(Thumbnails)


def _thumbnail(digest: str) -> str:
    try:
        picture = card_library().find(digest).picture()
    except Refused:
        return ""
    picture.thumbnail((_THUMB, _THUMB), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def _line(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"

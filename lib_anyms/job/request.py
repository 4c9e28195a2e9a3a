"""The request of one generation as a frozen, validated value. API, command line, page and infotext all become one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from lib_anyms.cards.card import MAX_BYTES, Card, read_card
from lib_anyms.cards.library import Library
from lib_anyms.errors import Refused
from lib_anyms.job.pictures import MAX_PICTURES, PictureReader
from lib_anyms.layout.fade import Fade
from lib_anyms.layout.fields import AUTO, OFF, REQUEST_FIELDS, SECOND_LOOK, is_version, read_fields
from lib_anyms.layout.geometry import WHOLE
from lib_anyms.layout.layout import (
    CARD,
    HASHES,
    MAX_SUBJECTS,
    NOT_OF_LAYOUT,
    SILHOUETTE,
    Layout,
    Subject,
    read_subject,
    subject_json,
)
from lib_anyms.layout.pins import read_pins

VERSION = 1
# A request's JSON has these only where they are set: earlier versions do not know them.
_ONLY_IF_SET = (
    "elsewhere",
    "words",
    "fidelity",
    SECOND_LOOK,
    "refine",
    "refine_padding",
    "refine_size",
    "fade",
    "fade_from",
)
MAX_NAME = 260  # characters of a card's name; longer text is the card itself

Pictures = tuple[tuple[Image.Image, ...], ...]


@dataclass(frozen=True)
class Request:
    """Layout, reference pictures (one tuple per subject, back to front) and the settings of REQUEST_FIELDS.

    A subject has pictures or a card: `cards` has a card or None for each subject; empty means None for all. `layout` is
    None only for a request that is not enabled. Raises Refused.
    """

    layout: Layout | None
    pictures: Pictures
    enabled: bool = True
    scale: float = 0.6
    mode: str = "crop-merge"
    adapter: str = AUTO
    encoder: str = AUTO
    unconditional: str = "trained"
    fit: str = "pad"
    combine: str = "average"
    elsewhere: str = ""
    words: float = 1.0
    fidelity: float = 0.0
    second_look: str = AUTO
    refine: float = 0.0
    refine_padding: float = 32.0
    refine_size: float = 0.0
    fade: float = 1.0
    fade_from: float = 0.25
    cards: tuple[Card | None, ...] = ()

    def __post_init__(self) -> None:
        for field in REQUEST_FIELDS:
            object.__setattr__(self, field.name, field.read(getattr(self, field.name)))
        if self.layout is None:
            if self.enabled:
                raise Refused("subject_count", got=0, low=1, high=MAX_SUBJECTS)
            return
        refuse_syntax(self.elsewhere, "elsewhere")
        for subject in self.layout.subjects:
            refuse_prompts(subject.name, subject.prompt, subject.avoid)
            if subject.seen_in(WHOLE) is None:
                raise Refused("silhouette_outside", name=subject.name)
        object.__setattr__(self, "cards", self.cards or (None,) * len(self.layout.subjects))
        for subject, pictures, card in zip(self.layout.subjects, self.pictures, self.cards, strict=True):
            if card is not None and pictures:
                raise Refused("card_and_pictures", name=subject.name)
            if not pictures and card is None:
                raise Refused("picture_missing", name=subject.name)
            if len(pictures) > MAX_PICTURES:
                raise Refused("picture_count", name=subject.name, got=len(pictures), high=MAX_PICTURES)
        read_pins(self.second_look, self.layout)

    @property
    def active(self) -> bool:
        """Whether AnyMS acts. Mode off, or scale 0 without local text, leaves the host untouched."""
        return self.enabled and self.mode != OFF and self.layout is not None and (self.scale > 0 or self.has_words)

    @property
    def has_words(self) -> bool:
        """Whether any text is local: a subject has a prompt or a text to avoid, or there is one for elsewhere."""
        if self.layout is None or not self.words:
            return False
        return bool(self.elsewhere) or any(subject.prompt or subject.avoid for subject in self.layout.subjects)

    @property
    def strength(self) -> Fade:
        """How the overall strength changes over the steps."""
        return Fade(self.fade, self.fade_from)

    @property
    def unconditional_share(self) -> float:
        """How much of the trained image stream unconditional batch entries have: 1 is trained, 0 is cond-only."""
        return 1.0 - self.fidelity if self.unconditional == "trained" else 0.0

    @classmethod
    def from_json(cls, data: Any, library: Library | None = None) -> Request:
        """The request of docs/api.md. Subjects are back to front and stay in that order. Raises Refused for one cause.

        A subject's images are base64 text, or pictures where the page passes them. Hashes of an infotext beside them
        are ignored. A card is base64 text, or its name or hash in `library`. A subject with a silhouette needs no box:
        then it is that around the white part. Of a request that is not enabled, nothing else is read.
        """
        if isinstance(data, dict) and data.get("enabled") is False:
            return cls(None, (), enabled=False)
        values, subjects = _read_request(data)
        if not subjects:
            return cls(None, (), **values)
        layout_subjects, pictures = _read_subjects(subjects)
        named = [(subject, placed.name) for subject, placed in zip(subjects, layout_subjects)]
        cards = tuple(_read_card(subject.get(CARD, ""), name, library) for subject, name in named)
        return cls(Layout(layout_subjects), pictures, cards=cards, **values)

    def to_json(self) -> dict[str, Any]:
        """Everything but the pixels: each subject has the hashes of its pictures, or of its card."""
        settings = {field.name: getattr(self, field.name) for field in REQUEST_FIELDS}
        hashes = [tuple(map(picture_hash, pictures)) for pictures in self.pictures]
        cards = [card.hash if card else "" for card in self.cards]
        subjects = self.layout.subjects if self.layout else ()
        masks = [subject.silhouette for subject in subjects]
        silhouettes = [picture_hash(mask.picture().convert("RGB")) if mask else "" for mask in masks]
        return request_json(settings, subjects, hashes, cards, silhouettes)


def request_json(
    settings: dict[str, Any],
    subjects: Sequence[Subject],
    pictures: Sequence[Sequence[str]],
    cards: Sequence[str],
    silhouettes: Sequence[str],
) -> dict[str, Any]:
    """A request without its pixels: hashes of each subject's pictures, or of its card, and of its silhouette."""
    short = dict(settings)
    for name in _ONLY_IF_SET:
        if short[name] == Request.__dataclass_fields__[name].default:
            del short[name]
    items = []
    for subject, hashes, card, silhouette in zip(subjects, pictures, cards, silhouettes, strict=True):
        item = {**subject_json(subject), **({CARD: card} if card else {HASHES: list(hashes)})}
        items.append({**item, SILHOUETTE: silhouette} if silhouette else item)
    return {"version": VERSION, **short, "subjects": items}


def _read_request(data: Any) -> tuple[dict[str, Any], list[Any]]:
    """The settings by name, and the subjects as they are."""
    if not isinstance(data, dict):
        raise Refused("request_form", got=type(data).__name__)
    if not is_version(data.get("version", VERSION), VERSION):
        raise Refused("request_version", got=data["version"], expected=VERSION)
    values = read_fields(REQUEST_FIELDS, data, "the request", ("version", "subjects"))
    subjects = data.get("subjects", [])
    if not isinstance(subjects, list):
        raise Refused("field_type", field="subjects of the request", got=type(subjects).__name__, expected="a list")
    if len(subjects) > MAX_SUBJECTS:
        raise Refused("subject_count", got=len(subjects), low=1, high=MAX_SUBJECTS)
    return values, subjects


def _read_subjects(items: list[Any]) -> tuple[tuple[Subject, ...], Pictures]:
    """The subjects, and the pictures of each. Their pixels, and those of the silhouettes, are bounded together."""
    reader = PictureReader()
    try:
        subjects = tuple(_read_placed(reader, item, number) for number, item in enumerate(items, 1))
        pictures = [reader.subject(item.get("images", []), subject.name) for item, subject in zip(items, subjects)]
        return subjects, tuple(pictures)
    finally:
        reader.close()


def _read_placed(reader: PictureReader, item: Any, number: int) -> Subject:
    """A subject with its silhouette, and the box around that where the request has no other."""
    also = ("images", *NOT_OF_LAYOUT)
    if not isinstance(item, dict) or not item.get(SILHOUETTE):
        return read_subject(item, number, also)
    silhouette = reader.silhouette(item[SILHOUETTE], str(item.get("name") or f"subject {number}"))
    if "box" not in item and silhouette is not None:
        item = {**item, "box": silhouette.bounds.edges}
    return replace(read_subject(item, number, also), silhouette=silhouette)


def _read_card(value: Any, name: str, library: Library | None) -> Card | None:
    """The card of the subject `name`; None for ""."""
    if isinstance(value, Card):
        return value
    if not isinstance(value, str):
        raise Refused("field_type", field=f"card of subject {name!r}", got=type(value).__name__, expected="text")
    if len(value) > MAX_NAME:
        return read_card(_bytes_of(value, name), f"of subject {name!r}")
    if not value:
        return None
    if library is None:
        raise Refused("card_unknown", got=value, expected="there is no library here")
    return library.find(value)


def _bytes_of(text: str, name: str) -> bytes:
    """Decode base64, with or without a data-URL head."""
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    high = f"{MAX_BYTES // 2**20} MiB"
    if len(encoded) > MAX_BYTES * 4 // 3 + 4:
        raise Refused("card_too_large", card=f"of subject {name!r}", got=f"{len(encoded) * 3 // 2**22} MiB", high=high)
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("card_damaged", card=f"of subject {name!r}", got="text that is not base64") from error


def refuse_prompts(name: str, prompt: str, avoid: str) -> None:
    """Raise Refused where an own prompt of the subject `name` holds what acts on the whole image."""
    refuse_syntax(prompt, f"the prompt of subject {name!r}")
    refuse_syntax(avoid, f"the text to avoid of subject {name!r}")


def refuse_syntax(text: str, where: str) -> None:
    """Raise Refused where `text` loads an extra network such as <lora:name:1>, or composes prompts by AND."""
    tag = re.search(r"<\w+:[^<>]*>", text)
    if tag:
        raise Refused("prompt_network", field=where, got=tag[0])
    if re.search(r"\bAND\b", text):  # as the hosts split a prompt
        raise Refused("prompt_and", field=where)


def picture_hash(picture: Image.Image) -> str:
    """Twelve hexadecimal digits of the pixels' SHA-256, which name a picture in infotexts."""
    return hashlib.sha256(f"{picture.size}{picture.mode}".encode() + picture.tobytes()).hexdigest()[:12]

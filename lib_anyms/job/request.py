"""One generation's wishes as one frozen, validated value: what API, command line, page and infotext all become."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lib_anyms.cards.card import MAX_BYTES, Card, read_card
from lib_anyms.cards.kept_pictures import MAX_KEPT
from lib_anyms.cards.library import Library
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.cutting import cropped, masked
from lib_anyms.ip_adapter.references import as_rgb, read_base64, read_mask
from lib_anyms.layout.fields import AUTO, OFF, REQUEST_FIELDS, read_fields
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import CARD, HASHES, MAX_SUBJECTS, Layout, read_subject, subject_json

VERSION = 1
MAX_PICTURES = MAX_KEPT  # of one subject
PICTURE_KEYS = ("data", "mask", "crop")
MAX_NAME = 260  # characters of a card's name; what is longer is the card itself

Pictures = tuple[tuple[Image.Image, ...], ...]


@dataclass(frozen=True)
class Request:
    """Layout and reference pictures (one tuple a subject, back to front) with the settings of REQUEST_FIELDS.

    A subject has pictures or a card: `cards` is empty, or has one place a subject. `layout` is None only for a request
    that is not enabled.
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
    cards: tuple[Card | None, ...] = ()

    def __post_init__(self) -> None:
        for row in REQUEST_FIELDS:
            object.__setattr__(self, row.name, row.read(getattr(self, row.name)))
        if self.layout is None:
            if self.enabled:
                raise Refused("subject_count", got=0, low=1, high=MAX_SUBJECTS)
            return
        object.__setattr__(self, "cards", self.cards or (None,) * len(self.layout.subjects))
        for subject, pictures, card in zip(self.layout.subjects, self.pictures, self.cards, strict=True):
            if card is not None and pictures:
                raise Refused("card_and_pictures", name=subject.name)
            if not pictures and card is None:
                raise Refused("picture_missing", name=subject.name)
            if len(pictures) > MAX_PICTURES:
                raise Refused("picture_count", name=subject.name, got=len(pictures), high=MAX_PICTURES)

    @property
    def active(self) -> bool:
        """Whether there is anything to do: scale 0 and mode off leave the host untouched."""
        return self.enabled and self.mode != OFF and self.scale > 0 and self.layout is not None

    @classmethod
    def from_json(cls, given: Any, library: Library | None = None) -> Request:
        """The request of docs/api.md. Subjects are back to front and stay so. Raises Refused, one cause at a time.

        A subject's images are base64 text, or pictures where the page hands them over. The hashes an infotext has in
        their place may stay beside them: what is given counts. A card is base64 text, or its name or hash in `library`.
        """
        if not isinstance(given, dict):
            raise Refused("request_form", got=type(given).__name__)
        if given.get("version", VERSION) != VERSION:
            raise Refused("request_version", got=given["version"], expected=VERSION)
        values = read_fields(REQUEST_FIELDS, given, "the request", ("version", "subjects"))
        subjects = given.get("subjects", [])
        if not isinstance(subjects, list):
            raise Refused("field_type", field="subjects of the request", got=type(subjects).__name__, expected="a list")
        if len(subjects) > MAX_SUBJECTS:
            raise Refused("subject_count", got=len(subjects), low=1, high=MAX_SUBJECTS)
        placed = tuple(
            read_subject(subject, number, ("images", CARD, HASHES)) for number, subject in enumerate(subjects, 1)
        )
        if not (placed and values["enabled"]):
            return cls(None, (), **values)
        pictures = tuple(
            _read_pictures(subject.get("images", []), placed[n].name) for n, subject in enumerate(subjects)
        )
        cards = tuple(_read_card(subject.get(CARD, ""), placed[n].name, library) for n, subject in enumerate(subjects))
        return cls(Layout(placed), pictures, cards=cards, **values)

    def to_json(self) -> dict[str, Any]:
        """Everything but the pixels: each subject has its pictures' hashes, or its card's, instead."""
        settings = {row.name: getattr(self, row.name) for row in REQUEST_FIELDS}
        subjects = self.layout.subjects if self.layout else ()
        described = [
            {
                **subject_json(subject),
                **({CARD: card.hash} if card else {HASHES: [picture_hash(each) for each in pictures]}),
            }
            for subject, pictures, card in zip(subjects, self.pictures, self.cards)
        ]
        return {"version": VERSION, **settings, "subjects": described}


def _read_pictures(given: Any, name: str) -> tuple[Image.Image, ...]:
    if not isinstance(given, (list, tuple)):
        raise Refused("field_type", field=f"images of subject {name!r}", got=type(given).__name__, expected="a list")
    if len(given) > MAX_PICTURES:
        raise Refused("picture_count", name=name, got=len(given), high=MAX_PICTURES)
    return tuple(_read_picture(picture, name) for picture in given)


def _read_picture(given: Any, name: str) -> Image.Image:
    if isinstance(given, Image.Image):
        return as_rgb(given)
    if isinstance(given, str):
        return read_base64(given, name)
    if isinstance(given, dict) and "data" in given:
        return _cut(given, name)
    got = f"an object with {', '.join(given)}"[:60] if isinstance(given, dict) else type(given).__name__
    raise Refused("picture_form", field=f"a reference picture of subject {name!r}", got=got)


def _cut(given: dict[str, Any], name: str) -> Image.Image:
    """A picture that is given with what of it is meant: the mask is of the whole picture, the crop is made after it."""
    stray = next((key for key in given if key not in PICTURE_KEYS), None)
    if stray is not None:
        raise Refused(
            "field_unknown", where=f"a picture of subject {name!r}", got=stray, expected=", ".join(PICTURE_KEYS)
        )
    picture = _read_picture(given["data"], name)
    if given.get("mask") is not None:
        if not isinstance(given["mask"], str):
            raise Refused("picture_form", field=f"a mask of subject {name!r}", got=type(given["mask"]).__name__)
        picture = masked(picture, read_mask(given["mask"], name))
    return picture if given.get("crop") is None else cropped(picture, Box.read(given["crop"]))


def _read_card(given: Any, name: str, library: Library | None) -> Card | None:
    """A subject's card; None for "", which is none."""
    if isinstance(given, Card):
        return given
    if not isinstance(given, str):
        raise Refused("field_type", field=f"card of subject {name!r}", got=type(given).__name__, expected="text")
    if len(given) > MAX_NAME:
        return read_card(_bytes_of(given, name), f"of subject {name!r}")
    if not given:
        return None
    if library is None:
        raise Refused("card_unknown", got=given, expected="there is no library here")
    return library.find(given)


def _bytes_of(text: str, name: str) -> bytes:
    """From base64, with or without a data-URL head."""
    coded = text.partition(",")[2] if text.startswith("data:") else text
    high = f"{MAX_BYTES // 2**20} MiB"
    if len(coded) > MAX_BYTES * 4 // 3 + 4:
        raise Refused("card_too_large", card=f"of subject {name!r}", got=f"{len(coded) * 3 // 2**22} MiB", high=high)
    try:
        return base64.b64decode("".join(coded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("card_damaged", card=f"of subject {name!r}", got="text that is not base64") from error


def picture_hash(picture: Image.Image) -> str:
    """Twelve hexadecimal digits of the pixels' SHA-256: names a picture in infotexts."""
    return hashlib.sha256(f"{picture.size}{picture.mode}".encode() + picture.tobytes()).hexdigest()[:12]

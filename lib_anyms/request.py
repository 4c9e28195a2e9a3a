"""One generation's wishes as one frozen, validated value: what API, command line, page and infotext all become."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.fields import AUTO, OFF, REQUEST_FIELDS, read_fields
from lib_anyms.ip_adapter.references import as_rgb, read_base64
from lib_anyms.layout import HASHES, MAX_SUBJECTS, Layout, read_subject, subject_json

VERSION = 1
MAX_PICTURES = 8  # of one subject

Pictures = tuple[tuple[Image.Image, ...], ...]


@dataclass(frozen=True)
class Request:
    """Layout and reference pictures (one tuple a subject, back to front) with the settings of REQUEST_FIELDS.

    `layout` is None only for a request that is not enabled.
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

    def __post_init__(self) -> None:
        for row in REQUEST_FIELDS:
            object.__setattr__(self, row.name, row.read(getattr(self, row.name)))
        if self.layout is None:
            if self.enabled:
                raise Refused("subject_count", got=0, low=1, high=MAX_SUBJECTS)
            return
        for subject, pictures in zip(self.layout.subjects, self.pictures, strict=True):
            if not pictures:
                raise Refused("picture_missing", name=subject.name)
            if len(pictures) > MAX_PICTURES:
                raise Refused("picture_count", name=subject.name, got=len(pictures), high=MAX_PICTURES)

    @property
    def active(self) -> bool:
        """Whether there is anything to do: scale 0 and mode off leave the host untouched."""
        return self.enabled and self.mode != OFF and self.scale > 0 and self.layout is not None

    @classmethod
    def from_json(cls, given: Any) -> Request:
        """The request of docs/api.md. Subjects are back to front and stay so. Raises Refused, one cause at a time.

        A subject's images are base64 text, or pictures where the page hands them over. The hashes an infotext has in their
        place may stay beside them: what is given counts.
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
        placed = tuple(read_subject(subject, number, ("images", HASHES)) for number, subject in enumerate(subjects, 1))
        if not (placed and values["enabled"]):
            return cls(None, (), **values)
        pictures = tuple(_read_pictures(subject.get("images", []), placed[n].name) for n, subject in enumerate(subjects))
        return cls(Layout(placed), pictures, **values)

    def to_json(self) -> dict[str, Any]:
        """Everything but the pixels: each subject has its pictures' hashes instead."""
        settings = {row.name: getattr(self, row.name) for row in REQUEST_FIELDS}
        subjects = self.layout.subjects if self.layout else ()
        described = [
            {**subject_json(subject), HASHES: [picture_hash(picture) for picture in pictures]}
            for subject, pictures in zip(subjects, self.pictures)
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
    raise Refused("picture_unreadable", name=name, got=type(given).__name__)


def picture_hash(picture: Image.Image) -> str:
    """Twelve hexadecimal digits of the pixels' SHA-256: names a picture in infotexts."""
    return hashlib.sha256(f"{picture.size}{picture.mode}".encode() + picture.tobytes()).hexdigest()[:12]

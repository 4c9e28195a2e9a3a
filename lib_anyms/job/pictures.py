"""Reference pictures of a request, decoded within bounds; those of earlier jobs by the hash of their bytes.

The page sends the same pictures with every job. Hashing them takes milliseconds, decoding a photo half a second.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from lib_anyms.cards.kept_pictures import MAX_KEPT
from lib_anyms.engine.memory import release
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.cutting import cropped, masked, opacity_of
from lib_anyms.ip_adapter.references import PixelBudget, as_rgb, read_base64, read_mask, read_small, shrunk, upright
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.silhouette import Silhouette
from lib_anyms.runtime import runtime

MAX_PICTURES = MAX_KEPT  # of one subject
_HASH = re.compile("[0-9a-f]{12}")  # in an infotext
PICTURE_KEYS = ("data", "mask", "crop")
DECODED_BYTES = 64 * 2**20  # a picture of 1024 x 1024 takes 3 MiB
LARGE = 16 * 10**6  # pixels of a request, above which the memory for decoding is returned to the system

Key = tuple[bytes, ...]


@dataclass(frozen=True)
class Decoded:
    """A picture as the encoder gets it, and the pixels that were decoded for it."""

    picture: Image.Image
    pixels: int


class DecodedPictures:
    """Pictures of the last jobs by the hash of their bytes. Beyond `limit` bytes the least recently used go first."""

    def __init__(self, limit: int = DECODED_BYTES) -> None:
        self.limit = limit
        self._pictures: OrderedDict[Key, Decoded] = OrderedDict()

    @property
    def bytes(self) -> int:
        return sum(3 * each.picture.width * each.picture.height for each in list(self._pictures.values()))

    def find(self, key: Key) -> Decoded | None:
        if key in self._pictures:
            self._pictures.move_to_end(key)
        return self._pictures.get(key)

    def add(self, key: Key, decoded: Decoded) -> None:
        self._pictures[key] = decoded
        while self.bytes > self.limit:
            self._pictures.popitem(last=False)

    def clear(self) -> None:
        self._pictures.clear()


class PictureReader:
    """Reads all pictures of one request, whose pixels are bounded together."""

    def __init__(self) -> None:
        self.budget = PixelBudget()
        self._decoded = 0  # pixels

    def close(self) -> None:
        """Return the memory of large pictures: the C library keeps it, once gigabytes until the next job."""
        if self._decoded > LARGE:
            release(torch.device("cpu"))

    def subject(self, value: Any, name: str) -> tuple[Image.Image, ...]:
        """The pictures of the subject `name`. Raises Refused."""
        if not isinstance(value, (list, tuple)):
            field = f"images of subject {name!r}"
            raise Refused("field_type", field=field, got=type(value).__name__, expected="a list")
        if len(value) > MAX_PICTURES:
            raise Refused("picture_count", name=name, got=len(value), high=MAX_PICTURES)
        return tuple(self._picture(picture, name) for picture in value)

    def silhouette(self, value: Any, name: str) -> Silhouette | None:
        """The mask of the image that shows where the subject `name` is; None for "".

        value: base64 text, a file's bytes or a picture. Raises Refused.
        """
        if isinstance(value, Image.Image):
            return Silhouette.of(opacity_of(upright(value)), name)
        if value is None or value == "":
            return None
        if not isinstance(value, (str, bytes)):
            field = f"the silhouette of subject {name!r}"
            raise Refused("field_type", field=field, got=type(value).__name__, expected="a picture as base64 text")
        if isinstance(value, str) and _HASH.fullmatch(value):
            raise Refused("silhouette_hash", name=name, got=value)
        return Silhouette.of(opacity_of(self._mask(value, name)), name)

    def _mask(self, data: str | bytes, name: str) -> Image.Image:
        try:
            return read_mask(data, name, self.budget)
        except Refused as refusal:
            if refusal.cause == "pictures_too_large":
                raise
            facts = refusal.facts  # its sentence is about reference pictures
            got = f"{facts['got']}, expected at most {facts['high']}" if "high" in facts else facts["got"]
            raise Refused("silhouette_unreadable", name=name, got=got) from refusal

    def _picture(self, value: Any, name: str) -> Image.Image:
        if isinstance(value, Image.Image):
            return shrunk(as_rgb(value))
        data, mask, crop = _parts(value, name)
        key = (_hash(data), _hash(mask), repr(crop).encode()) if isinstance(data, str) else None
        known = runtime.of(DecodedPictures).find(key) if key else None
        if known is not None:
            self.budget.take((known.pixels, 1), name)  # a request is within the bound or not, whatever is cached
            return known.picture
        before = self.budget.left
        picture = self._decode(data, mask, crop, name)
        pixels = before - self.budget.left
        self._decoded += pixels
        if key:
            runtime.of(DecodedPictures).add(key, Decoded(picture, pixels))
        return picture

    def _decode(self, data: Any, mask: str | None, crop: Box | None, name: str) -> Image.Image:
        """The mask covers the whole picture; the crop comes after it, and needs all pixels."""
        read = read_small if crop is None else read_base64
        picture = as_rgb(data) if isinstance(data, Image.Image) else read(data, name, self.budget)
        if mask is not None:
            picture = masked(picture, read_mask(mask, name, self.budget))
        return shrunk(picture if crop is None else cropped(picture, crop))


def _parts(value: Any, name: str) -> tuple[Any, str | None, Box | None]:
    """Data, mask and crop of a picture. Raises Refused."""
    if isinstance(value, str):
        return value, None, None
    if not isinstance(value, dict) or "data" not in value:
        got = f"an object with {', '.join(value)}"[:60] if isinstance(value, dict) else type(value).__name__
        raise Refused("picture_form", field=f"a reference picture of subject {name!r}", got=got)
    unknown = next((key for key in value if key not in PICTURE_KEYS), None)
    if unknown is not None:
        where = f"a picture of subject {name!r}"
        raise Refused("field_unknown", where=where, got=unknown, expected=", ".join(PICTURE_KEYS))
    data, mask, crop = (value.get(key) for key in PICTURE_KEYS)
    if not isinstance(data, (str, Image.Image)):
        got = "an object" if isinstance(data, dict) else type(data).__name__
        raise Refused("picture_form", field=f"the data of a picture of subject {name!r}", got=got)
    if not (mask is None or isinstance(mask, str)):
        raise Refused("picture_form", field=f"a mask of subject {name!r}", got=type(mask).__name__)
    return data, mask, None if crop is None else Box.read(crop)


def _hash(text: str | None) -> bytes:
    return b"" if text is None else hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

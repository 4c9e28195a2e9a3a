"""The small copies of its pictures that a card keeps: to look at, and to be encoded anew for another adapter."""

from __future__ import annotations

import io
import warnings

from PIL import Image, features

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import as_rgb

MAX_KEPT = 8
MAX_KEPT_BYTES = 512 * 2**10
SIDE = 448  # pixels of the longer side: twice what CLIP looks at
MAX_SIDE = 1024  # of a picture in a card that others made
FORMATS = ("PNG", "WEBP")
QUALITY = 90
BLANK = bytes.fromhex(  # a checkered PNG of 8 x 8, for a card without pictures
    "89504e470d0a1a0a0000000d4948445200000008000000080100000000ec7483260000000e4944415478da6358c510ca8084"
    "01214403fd364b21a90000000049454e44ae426082"
)


def keep(picture: Image.Image) -> bytes:
    """A copy of at most SIDE x SIDE as a WebP file, or PNG where Pillow cannot write WebP."""
    small = as_rgb(picture)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    if features.check("webp"):
        small.save(written, "WEBP", quality=QUALITY, method=4)
    else:
        small.save(written, "PNG", optimize=True)
    data = written.getvalue()
    if len(data) <= MAX_KEPT_BYTES:
        return data
    return keep(small.resize((max(1, small.width // 2), max(1, small.height // 2)), Image.Resampling.LANCZOS))


def open_kept(data: bytes, name: str) -> Image.Image:
    """A kept picture, RGB. Only PNG and WebP are tried, and nothing beyond MAX_SIDE is decoded. Raises Refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if max(picture.size) > MAX_SIDE:
                size = f"{picture.width} x {picture.height}"
                raise Refused("picture_too_large", name=name, got=size, high=f"{MAX_SIDE} x {MAX_SIDE}")
            return as_rgb(picture)
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError) as error:
        raise Refused("card_damaged", card=name, got="its picture is none") from error

"""The small copies of pictures that a card keeps: to look at, and to encode again for another adapter."""

from __future__ import annotations

import io
import warnings

from PIL import Image, features

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import as_rgb

MAX_KEPT = 8
MAX_KEPT_BYTES = 512 * 2**10
SIDE = 448  # pixels of the longer side: twice the input of CLIP
MAX_SIDE = 1024  # pixels of the longer side of a picture in a card from someone else
FORMATS = ("PNG", "WEBP")
QUALITY = 90
BLANK = bytes.fromhex(  # a checkered PNG of 8 x 8 pixels, for a card without pictures
    "89504e470d0a1a0a0000000d4948445200000008000000080100000000ec7483260000000e4944415478da6358c510ca8084"
    "01214403fd364b21a90000000049454e44ae426082"
)


def keep(image: Image.Image) -> bytes:
    """A copy of at most SIDE x SIDE pixels and MAX_KEPT_BYTES: a WebP file, or PNG where Pillow cannot write WebP."""
    small = as_rgb(image)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if features.check("webp"):
        small.save(file, "WEBP", quality=QUALITY, method=4)
    else:
        small.save(file, "PNG", optimize=True)
    data = file.getvalue()
    if len(data) <= MAX_KEPT_BYTES:
        return data
    half = (max(1, small.width // 2), max(1, small.height // 2))
    return keep(small.resize(half, Image.Resampling.LANCZOS))


def open_kept(data: bytes, name: str) -> Image.Image:
    """Decode a kept picture to RGB: PNG or WebP of at most MAX_SIDE pixels a side. Raises Refused for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if max(image.size) > MAX_SIDE:
                size = f"{image.width} x {image.height}"
                raise Refused("picture_too_large", name=name, got=size, high=f"{MAX_SIDE} x {MAX_SIDE}")
            return as_rgb(image)
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError) as error:
        raise Refused("card_damaged", card=name, got="its picture is not an image") from error

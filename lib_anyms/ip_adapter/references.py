"""Reference pictures: read, bounded, brought to the square the image encoder takes.

Pillow, and torch for the last step.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from lib_anyms.errors import Refused

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 64 * 10**6
ANIMATED = "anyms_animated"  # in a read picture's info: whether it was, which only its first frame tells of
_ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")  # several pictures in a photo's file are no animation
LONGEST = 4  # of a picture's longer side to its shorter: what lies beyond is cut before it is resized
BACKGROUND = (255, 255, 255)  # under transparency and around a padded picture
# CLIP's normalisation, openai/CLIP
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def read_picture(data: bytes, name: str) -> Image.Image:
    """An RGB picture from file bytes: upright by its EXIF tag, first frame, transparency on white. Raises Refused."""
    return _open(data, name, as_rgb)


def read_base64(text: str, name: str) -> Image.Image:
    """A picture from base64, with or without a data-URL head.

    Addresses and file names are not opened: they are refused.
    """
    return read_picture(_decoded(text, name), name)


def read_mask(data: bytes | str, name: str) -> Image.Image:
    """A picture from file bytes or base64 as it is, upright: grey, or with its transparency. Raises Refused."""
    return _open(_decoded(data, name) if isinstance(data, str) else data, name, ImageOps.exif_transpose)


def _open(data: bytes, name: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Decoded only where its header tells a bounded size."""
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(name, len(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data))
            width, height = picture.size
            if width * height > MAX_PIXELS:
                high = f"{MAX_PIXELS // 10**6} megapixels"
                raise Refused("picture_too_large", name=name, got=f"{width} x {height}", high=high)
            animated = picture.format in _ANIMATIONS and getattr(picture, "is_animated", False)
            read = convert(picture)
            read.load()
    except Refused:
        raise
    except Image.DecompressionBombError as error:
        raise Refused("picture_too_large", name=name, got="more", high=f"{MAX_PIXELS // 10**6} megapixels") from error
    except UnidentifiedImageError as error:  # its words are about Python's objects
        raise Refused("picture_unreadable", name=name, got="no picture of a known format") from error
    except Exception as error:  # Pillow's decoders raise anything at damaged files
        raise Refused("picture_unreadable", name=name, got=str(error)[:120] or type(error).__name__) from error
    if animated:
        read.info[ANIMATED] = True
    return read


def _decoded(text: str, name: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise _too_many_bytes(name, len(text) * 3 // 4)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("picture_unreadable", name=name, got="text that is not base64") from error


def _too_many_bytes(name: str, size: int) -> Refused:
    return Refused("picture_too_large", name=name, got=f"{size / 2**20:.0f} MiB", high=f"{MAX_BYTES // 2**20} MiB")


def as_rgb(picture: Image.Image) -> Image.Image:
    """Upright RGB; transparency composited on white, 16-bit grey scaled to 8, grey in floats from 0..1 or 0..255."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).astype(np.uint8))
    elif picture.mode == "F":
        grey = np.nan_to_num(np.asarray(picture))
        picture = Image.fromarray((grey * (255 if grey.max() <= 1 else 1)).clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*BACKGROUND, 255))
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def _pad(picture: Image.Image, size: int) -> Image.Image:
    """The longer side resized to `size`, BACKGROUND on both sides of the other."""
    width, height = (max(1, round(size * side / max(picture.size))) for side in picture.size)
    square = Image.new("RGB", (size, size), BACKGROUND)
    square.paste(
        picture.resize((width, height), Image.Resampling.BICUBIC),
        (round((size - width) / 2), round((size - height) / 2)),
    )
    return square


def _crop(picture: Image.Image, size: int) -> Image.Image:
    """As CLIP was trained: the shorter side resized to `size`, then the middle."""
    shorter = min(picture.size)
    if max(picture.size) > LONGEST * shorter:  # resized whole, a line of pixels would take gigabytes
        picture = _middle(picture, min(picture.width, LONGEST * shorter), min(picture.height, LONGEST * shorter))
    width, height = (size * side // shorter for side in picture.size)
    return _middle(picture.resize((width, height), Image.Resampling.BICUBIC), size, size)


def _middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _stretch(picture: Image.Image, size: int) -> Image.Image:
    return picture.resize((size, size), Image.Resampling.BICUBIC)


FITS: dict[str, Callable[[Image.Image, int], Image.Image]] = {"pad": _pad, "crop": _crop, "stretch": _stretch}


def pixel_values(pictures: Sequence[Image.Image], size: int, fit: str = "pad") -> torch.Tensor:
    """What a CLIP image encoder takes: (pictures, 3, size, size), float32, normalised."""
    squares = [np.asarray(FITS[fit](as_rgb(picture), size), dtype=np.float32) / 255 for picture in pictures]
    values = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
    return (values - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

"""Reference pictures: read, bounded, brought to the square the image encoder takes. Pillow, and torch for the last step."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps

from lib_anyms.errors import Refused

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 64 * 10**6
BACKGROUND = (255, 255, 255)  # under transparency and around a padded picture
# CLIP's normalisation, openai/CLIP
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def read_picture(data: bytes, name: str) -> Image.Image:
    """An RGB picture from file bytes: upright by its EXIF tag, first frame, transparency on white. Raises Refused."""
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
            return as_rgb(picture)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Refused("picture_unreadable", name=name, got=str(error) or type(error).__name__) from error


def read_base64(text: str, name: str) -> Image.Image:
    """A picture from base64, with or without a data-URL head. Addresses and file names are not opened: they are refused."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise _too_many_bytes(name, len(text) * 3 // 4)
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("picture_unreadable", name=name, got="text that is not base64") from error
    return read_picture(data, name)


def _too_many_bytes(name: str, size: int) -> Refused:
    return Refused("picture_too_large", name=name, got=f"{size / 2**20:.0f} MiB", high=f"{MAX_BYTES // 2**20} MiB")


def as_rgb(picture: Image.Image) -> Image.Image:
    """Upright RGB; transparency composited on white, 16-bit grey scaled to 8."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*BACKGROUND, 255))
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def _pad(picture: Image.Image, size: int) -> Image.Image:
    return ImageOps.pad(picture, (size, size), Image.Resampling.BICUBIC, color=BACKGROUND)


def _crop(picture: Image.Image, size: int) -> Image.Image:
    return ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)


def _stretch(picture: Image.Image, size: int) -> Image.Image:
    return picture.resize((size, size), Image.Resampling.BICUBIC)


FITS: dict[str, Callable[[Image.Image, int], Image.Image]] = {"pad": _pad, "crop": _crop, "stretch": _stretch}


def pixel_values(pictures: Sequence[Image.Image], size: int, fit: str = "pad") -> torch.Tensor:
    """What a CLIP image encoder takes: (pictures, 3, size, size), float32, normalised."""
    squares = [np.asarray(FITS[fit](as_rgb(picture), size), dtype=np.float32) / 255 for picture in pictures]
    values = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
    return (values - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

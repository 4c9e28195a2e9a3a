"""Read reference images within bounds and fit them into the image encoder's square.

Uses Pillow, and torch for the last step.
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
ANIMATED = "anyms_animated"  # key of `info`: the file was animated, and this is its first frame
_ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")  # other formats may hold several images, such as a photo and its preview
LONGEST = 4  # longest ratio of an image's sides; "crop" cuts off the rest before it resizes
BACKGROUND = (255, 255, 255)  # behind transparency and around a padded image
# CLIP's normalisation, openai/CLIP
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def read_picture(data: bytes, name: str) -> Image.Image:
    """Decode a file's bytes to RGB: upright by its EXIF tag, first frame, transparency on white.

    `name` is the subject's name, for messages. Raises Refused.
    """
    return _open(data, name, as_rgb)


def read_base64(text: str, name: str) -> Image.Image:
    """`read_picture` of base64 text, with or without a data: prefix. Opens no address and no file. Raises Refused."""
    return read_picture(_from_base64(text, name), name)


def read_mask(data: bytes | str, name: str) -> Image.Image:
    """Decode a mask from file bytes or base64: upright, in the file's mode, with any transparency. Raises Refused."""
    return _open(_from_base64(data, name) if isinstance(data, str) else data, name, ImageOps.exif_transpose)


def _open(data: bytes, name: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Decode and convert an image. Raises Refused, whatever error Pillow raises."""
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(name, len(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _decode(Image.open(io.BytesIO(data)), name, convert)
    except Refused:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, "more") from error
    except UnidentifiedImageError as error:  # its own message is about Python's objects
        raise Refused("picture_unreadable", name=name, got="not an image of a known format") from error
    except Exception as error:  # Pillow's decoders raise errors of any type for damaged files
        raise Refused("picture_unreadable", name=name, got=str(error)[:120] or type(error).__name__) from error


def _decode(image: Image.Image, name: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Decode an opened image, unless its header states too many pixels."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_many_pixels(name, f"{image.width} x {image.height}")
    animated = image.format in _ANIMATIONS and getattr(image, "is_animated", False)
    converted = convert(image)
    converted.load()  # exif_transpose may return an image that is not decoded yet
    if animated:
        converted.info[ANIMATED] = True
    return converted


def _from_base64(text: str, name: str) -> bytes:
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


def _too_many_pixels(name: str, got: str) -> Refused:
    return Refused("picture_too_large", name=name, got=got, high=f"{MAX_PIXELS // 10**6} megapixels")


def as_rgb(image: Image.Image) -> Image.Image:
    """Upright RGB: transparency on white, 16-bit grey scaled to 8, float grey read as 0..1 or 0..255."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).astype(np.uint8))
    elif image.mode == "F":
        grey = np.nan_to_num(np.asarray(image))
        scale = 255 if grey.max() <= 1 else 1
        image = Image.fromarray((grey * scale).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")


def _pad(image: Image.Image, size: int) -> Image.Image:
    """Resize the longer side to `size`; BACKGROUND on both sides of the shorter."""
    width, height = (max(1, round(size * side / max(image.size))) for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (size, size), BACKGROUND)
    square.paste(resized, (round((size - width) / 2), round((size - height) / 2)))
    return square


def _crop(image: Image.Image, size: int) -> Image.Image:
    """As in CLIP's training: resize the shorter side to `size`, then crop the middle."""
    shorter = min(image.size)
    if max(image.size) > LONGEST * shorter:  # else resizing a line of pixels would take gigabytes
        image = _middle(image, min(image.width, LONGEST * shorter), min(image.height, LONGEST * shorter))
    width, height = (size * side // shorter for side in image.size)
    return _middle(image.resize((width, height), Image.Resampling.BICUBIC), size, size)


def _middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _stretch(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BICUBIC)


FITS: dict[str, Callable[[Image.Image, int], Image.Image]] = {"pad": _pad, "crop": _crop, "stretch": _stretch}


def pixel_values(images: Sequence[Image.Image], size: int, fit: str = "pad") -> torch.Tensor:
    """The input of a CLIP image encoder: (images, 3, size, size), float32, normalised."""
    squares = [np.asarray(FITS[fit](as_rgb(image), size), dtype=np.float32) / 255 for image in images]
    values = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
    return (values - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

"""Read reference images within bounds and fit them into the image encoder's square.

Uses Pillow, and torch for the last step.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.colours import PROFILE, to_srgb
from lib_anyms.ip_adapter.picture_bytes import pixels_only, without_texts

log = logging.getLogger("anyms")

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 64 * 10**6
MAX_TOTAL_PIXELS = 512 * 10**6  # of all pictures and masks of a request
MAX_SIDE = 1024  # pixels of a picture in a request, after crop and mask; the page sends no more
MAX_RATIO = 100  # of a picture's sides
# What Pillow may open. Other plug-ins start programs (EPS: Ghostscript) or read rare and damaged formats.
FORMATS = tuple("PNG JPEG MPO WEBP GIF BMP DIB TIFF AVIF HEIF JXL JPEG2000 PPM TGA ICO".split())
_RESIZED = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")  # modes that are resized as they are
ANIMATED = "anyms_animated"  # key of `info`: the file was animated, and this is its first frame
_ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")  # other formats may hold several images, such as a photo and its preview
LONGEST = 4  # longest ratio of an image's sides; "crop" cuts off the rest before it resizes
BACKGROUND = (255, 255, 255)  # behind transparency and around a padded image
# CLIP's normalisation, openai/CLIP
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class PixelBudget:
    """The pixels that the pictures of one request may have together, counted before each is decoded."""

    def __init__(self, pixels: int = 0) -> None:
        self.left = pixels or MAX_TOTAL_PIXELS

    def take(self, size: tuple[int, int], name: str) -> None:
        """Count a picture of the subject `name`. Raises Refused beyond the bound."""
        self.left -= size[0] * size[1]
        if self.left < 0:
            raise Refused("pictures_too_large", name=name, high=f"{MAX_TOTAL_PIXELS // 10**6} megapixels")


def read_picture(data: bytes, name: str, budget: PixelBudget | None = None) -> Image.Image:
    """Decode a file's bytes to RGB in sRGB: upright by its EXIF tag, first frame, transparency on white.

    `name` is the subject's name, for messages. Only pixels count: unreadable metadata is ignored. Raises Refused.
    """
    return _open(data, name, as_rgb, budget)


def read_base64(text: str, name: str, budget: PixelBudget | None = None) -> Image.Image:
    """`read_picture` of base64 text, with or without a data: prefix. Opens no address and no file. Raises Refused."""
    return read_picture(_from_base64(text, name), name, budget)


def read_small(text: str, name: str, budget: PixelBudget | None = None) -> Image.Image:
    """`shrunk` of `read_base64`, with less time and memory: a JPEG is decoded at a fraction of its size."""
    return _open(_from_base64(text, name), name, lambda image: as_rgb(_shrunk_early(image)), budget, draft=True)


def read_mask(data: bytes | str, name: str, budget: PixelBudget | None = None) -> Image.Image:
    """Decode a mask from file bytes or base64: upright, in the file's mode, with any transparency. Raises Refused."""
    return _open(_from_base64(data, name) if isinstance(data, str) else data, name, upright, budget)


def shrunk(image: Image.Image) -> Image.Image:
    """At most MAX_SIDE pixels a side, as the page sends pictures: no encoder reads more. A line keeps its pixel."""
    longer = max(image.size)
    if longer <= MAX_SIDE:
        return image
    width, height = (max(1, round(side * MAX_SIDE / longer)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info.update(image.info)
    return small


def _shrunk_early(image: Image.Image) -> Image.Image:
    """Upright and shrunk in the file's own mode: further conversions of 64 megapixels take gigabytes."""
    image = upright(image)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return shrunk(image) if image.mode in _RESIZED and "transparency" not in image.info else image


def _open(
    data: bytes,
    name: str,
    convert: Callable[[Image.Image], Image.Image],
    budget: PixelBudget | None,
    draft: bool = False,
) -> Image.Image:
    """Decode and convert an image; draft: at any size that `shrunk` still reduces. Raises Refused for any error."""
    if len(data) > MAX_BYTES:
        raise _too_many_bytes(name, len(data))
    try:
        return _decode_bytes(without_texts(data), name, convert, budget, draft)
    except Refused as refusal:
        pixels = pixels_only(data)
        if refusal.cause != "picture_unreadable" or pixels == data:
            raise
        try:
            return _decode_bytes(pixels, name, convert, budget, draft)
        except Refused:
            raise refusal from None


def _decode_bytes(
    data: bytes, name: str, convert: Callable[[Image.Image], Image.Image], budget: PixelBudget | None, draft: bool
) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about many pixels, and about metadata
            return _decode(Image.open(io.BytesIO(data), formats=_formats()), name, convert, budget, draft)
    except Refused:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, "more") from error
    except UnidentifiedImageError as error:  # its own message is about Python's objects
        raise Refused("picture_unreadable", name=name, got="not an image of a known format") from error
    except Exception as error:  # Pillow's decoders raise errors of any type for damaged files
        raise Refused("picture_unreadable", name=name, got=str(error)[:120] or type(error).__name__) from error


@cache
def _formats() -> list[str]:
    """Those of FORMATS that this Pillow reads, plug-ins included."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _decode(
    image: Image.Image,
    name: str,
    convert: Callable[[Image.Image], Image.Image],
    budget: PixelBudget | None,
    draft: bool,
) -> Image.Image:
    """Decode an opened image, unless its header states too many pixels, or a line of them."""
    if image.width * image.height > MAX_PIXELS:
        raise _too_many_pixels(name, f"{image.width} x {image.height}")
    if max(image.size) > max(MAX_RATIO * min(image.size), MAX_SIDE):
        raise Refused("picture_line", name=name, got=f"{image.width} x {image.height}", high=MAX_RATIO)
    if budget is not None:
        budget.take(image.size, name)
    if draft:
        image.draft(None, (MAX_SIDE, MAX_SIDE))  # of JPEG only; never below this size
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
    """Upright RGB in sRGB: transparency on white, 16-bit grey scaled to 8, float grey read as 0..1 or 0..255."""
    image = to_srgb(upright(image))
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
    image = image.convert("RGB")
    image.info.pop(PROFILE, None)
    return image


def upright(image: Image.Image) -> Image.Image:
    """Turned by its EXIF tag; as it is where the tag cannot be read."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow's parser raises errors of any type for damaged EXIF data
        log.debug("EXIF data are not read: %s", error)
        bare = image.copy()
        bare.info.pop("exif", None)
        return bare


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

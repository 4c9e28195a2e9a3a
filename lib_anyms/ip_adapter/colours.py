"""Convert an image with a colour profile to sRGB, in which browsers show it and image encoders were trained."""

from __future__ import annotations

import io
import logging

from PIL import Image

log = logging.getLogger("anyms")
PROFILE = "icc_profile"  # Pillow's key of `info`
_MODES = ("L", "RGB", "RGBA", "CMYK")
_LONGEST = 4 * 2**20  # bytes of a profile; a printer's takes 2 MiB


def to_srgb(image: Image.Image) -> Image.Image:
    """`image` in sRGB, as RGB or RGBA; without a readable profile, or with sRGB's own, its pixels as they are."""
    profile = image.info.get(PROFILE)
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _LONGEST:
        return image
    try:
        return _converted(image, profile)
    except Exception as error:  # a Pillow without littlecms, a damaged profile, one for another kind of pixels
        log.debug("a colour profile is not used: %s", error)
        return image


def _converted(image: Image.Image, data: bytes) -> Image.Image:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    if "srgb" in ImageCms.getProfileDescription(profile).lower():
        return image
    if image.mode in ("P", "PA", "LA"):
        image = image.convert("RGBA")
    if image.mode not in _MODES:
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    alpha = image.getchannel("A") if mode == "RGBA" else None
    flat = image.convert("RGB") if alpha else image
    converted = ImageCms.profileToProfile(flat, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # not in place
    converted.info = {key: value for key, value in image.info.items() if key != PROFILE}
    if alpha is not None:
        converted.putalpha(alpha)
    return converted

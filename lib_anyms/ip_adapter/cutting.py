"""What of a reference picture the encoder is to see: a part of it, or the subject alone on white.

A background is removed only when asked, by rembg where the user has installed it and one of its models; AnyMS fetches neither.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageOps

from lib_anyms.errors import Refused
from lib_anyms.geometry import Box
from lib_anyms.ip_adapter.references import BACKGROUND

log = logging.getLogger("anyms")
MODELS = ("isnet-general-use", "u2net", "silueta", "u2netp")  # of rembg, the better first


def cropped(picture: Image.Image, box: Box) -> Image.Image:
    """The part of the picture in `box` (fractions of it), at least one pixel."""
    left, top = (min(int(edge * side), side - 1) for edge, side in ((box.x0, picture.width), (box.y0, picture.height)))
    right, bottom = (int(edge * side + 0.5) for edge, side in ((box.x1, picture.width), (box.y1, picture.height)))
    return picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def masked(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """`picture` where `mask` is white, BACKGROUND where it is black; a mask of another size is resized to the picture's.

    A mask with transparency is read by that, any other one by its brightness.
    """
    transparent = mask.mode in ("RGBA", "LA", "PA") or "transparency" in mask.info
    share = mask.convert("RGBA").getchannel("A") if transparent else ImageOps.exif_transpose(mask).convert("L")
    share = share.resize(picture.size, Image.Resampling.BILINEAR)
    return Image.composite(picture.convert("RGB"), Image.new("RGB", picture.size, BACKGROUND), share)


def remover() -> str | None:
    """The model rembg would use here; None where it, or every model of it, is missing. Nothing is imported or fetched."""
    if find_spec("rembg") is None:
        return None
    folder = _models()
    return next((name for name in MODELS if (folder / f"{name}.onnx").is_file()), None)


def without_background(picture: Image.Image) -> Image.Image:
    """The subject alone on BACKGROUND, as rembg finds it. Raises Refused as `background_mask`."""
    return masked(picture, background_mask(picture))


def background_mask(picture: Image.Image) -> Image.Image:
    """Grey, white where rembg finds the subject. Raises Refused: it is not there, or it fails."""
    if find_spec("rembg") is None:
        raise Refused("rembg_absent")
    model = remover()
    if model is None:
        raise Refused("rembg_model", folder=_models(), expected=", ".join(MODELS))
    try:
        from rembg import new_session, remove  # slow to import, and it starts a runtime of its own

        return remove(picture.convert("RGB"), session=new_session(model)).convert("RGBA").getchannel("A")
    except Exception as error:  # whatever another program raises
        log.debug("rembg failed", exc_info=True)
        raise Refused("rembg_failed", got=f"{type(error).__name__}: {error}"[:200]) from error


def _models() -> Path:
    """Where rembg keeps its models."""
    told = os.environ.get("U2NET_HOME")
    return Path(told) if told else Path(os.environ.get("XDG_DATA_HOME") or Path.home()) / ".u2net"

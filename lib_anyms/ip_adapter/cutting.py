"""Crop a reference image, mask it, or remove its background before the encoder reads it.

rembg removes backgrounds, and only on request. The user installs rembg and one of its models; AnyMS downloads neither.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import BACKGROUND, as_rgb, upright
from lib_anyms.layout.geometry import Box

log = logging.getLogger("anyms")
NOTHING_ERASED = "anyms_nothing_erased"  # key of `info`: the mask was white or opaque everywhere
MODELS = ("bria-rmbg", "isnet-general-use", "u2net", "silueta", "u2netp")  # rembg's, best first


def cropped(image: Image.Image, box: Box) -> Image.Image:
    """The part of the image inside `box` (fractions of the image), at least one pixel."""
    left = min(int(box.x0 * image.width), image.width - 1)
    top = min(int(box.y0 * image.height), image.height - 1)
    right = int(box.x1 * image.width + 0.5)
    bottom = int(box.y1 * image.height + 0.5)
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def masked(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` where `mask` is white, BACKGROUND where it is black; RGB, of the image's size.

    A mask of another size is resized. A mask with a transparent pixel is read by its alpha, any other by its
    brightness; so does the page. A mask that erases nothing leaves NOTHING_ERASED in `info`. Raises Refused for one
    that erases everything.
    """
    opacity = opacity_of(upright(mask))
    levels = opacity.histogram()
    total = opacity.width * opacity.height
    if levels[0] == total:
        raise Refused("mask_empty")
    opacity = opacity.resize(image.size, Image.Resampling.BILINEAR)
    cut = Image.composite(image.convert("RGB"), Image.new("RGB", image.size, BACKGROUND), opacity)
    if levels[255] == total:
        cut.info[NOTHING_ERASED] = True
    return cut


def opacity_of(mask: Image.Image) -> Image.Image:
    """Where an upright mask is white, or opaque if it has a transparent pixel: greyscale."""
    if mask.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in mask.info:
        mask = mask.convert("RGBA")
        alpha = mask.getchannel("A")
        if alpha.histogram()[255] < alpha.width * alpha.height:
            return alpha
    return as_rgb(mask).convert("L")


def background_model() -> str | None:
    """Name of the model that would remove a background; None without rembg or without a model. Imports nothing."""
    return next((name for name, _ in _models()), None) if find_spec("rembg") else None


def without_background(image: Image.Image) -> Image.Image:
    """The subject alone on BACKGROUND, as rembg finds it. Raises Refused as `background_mask` does."""
    return masked(image, background_mask(image))


def background_mask(image: Image.Image) -> Image.Image:
    """A greyscale mask, white where rembg finds the subject. Raises Refused if rembg is missing or fails."""
    if find_spec("rembg") is None:
        raise Refused("rembg_absent")
    try:
        return _mask(image.convert("RGB"))
    except Refused:
        raise
    except Exception as error:  # rembg and its runtime may raise anything
        log.debug("rembg failed", exc_info=True)
        raise Refused("rembg_failed", got=f"{type(error).__name__}: {error}"[:200]) from error


def _mask(image: Image.Image) -> Image.Image:
    sessions = _session_classes() if background_model() else {}  # slow to import, and it starts a runtime
    name, path = next((model for model in _models() if model[0] in sessions), ("", None))
    if path is None:
        folders = dict.fromkeys(map(str, _folders()))
        raise Refused("rembg_model", folder=" or ".join(folders), expected=", ".join(MODELS))
    from onnxruntime import SessionOptions
    from rembg import remove

    # rembg downloads a model that has an unknown checksum, or that another version of rembg stored elsewhere.
    # This subclass opens the local file instead.
    local = type(name, (sessions[name],), {"download_models": classmethod(lambda *_, **__: str(path))})
    return remove(image, session=local(name, SessionOptions()), only_mask=True).convert("L")


def _session_classes() -> dict[str, Any]:
    """rembg's session classes by model name."""
    import onnxruntime  # noqa: F401  # first: without it, importing rembg ends the whole process
    from rembg.sessions import sessions_class

    return {session.name(): session for session in sessions_class}


def _models() -> Iterator[tuple[str, Path]]:
    """Name and file of each model on the disk, best first."""
    newer, older = _folders()
    for name in MODELS:
        for path in (newer / "models" / name / f"{name}.onnx", older / f"{name}.onnx"):
            if path.is_file():
                yield name, path


def _folders() -> tuple[Path, Path]:
    """The model folders of newer versions of rembg (one subfolder per model) and of older ones (all files in one)."""
    folder, data = os.environ.get("U2NET_HOME"), os.environ.get("XDG_DATA_HOME")
    newer = folder or os.environ.get("REMBG_HOME") or (f"{data}/rembg" if data else "~/.rembg")
    return Path(newer).expanduser(), Path(folder or f"{data or '~'}/.u2net").expanduser()

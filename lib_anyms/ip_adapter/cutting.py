"""What of a reference picture the encoder is to see: a part of it, or the subject alone on white.

A background is removed only when asked, by rembg where the user has installed it and one of its models; AnyMS fetches
neither.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.references import BACKGROUND
from lib_anyms.layout.geometry import Box

log = logging.getLogger("anyms")
MODELS = ("bria-rmbg", "isnet-general-use", "u2net", "silueta", "u2netp")  # of rembg, the better first


def cropped(picture: Image.Image, box: Box) -> Image.Image:
    """The part of the picture in `box` (fractions of it), at least one pixel."""
    left, top = (min(int(edge * side), side - 1) for edge, side in ((box.x0, picture.width), (box.y0, picture.height)))
    right, bottom = (int(edge * side + 0.5) for edge, side in ((box.x1, picture.width), (box.y1, picture.height)))
    return picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def masked(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """`picture` where `mask` is white, BACKGROUND where it is black; a mask of another size is resized to the
    picture's.

    A mask with transparency is read by that, any other one by its brightness.
    """
    transparent = mask.mode in ("RGBA", "LA", "PA") or "transparency" in mask.info
    share = mask.convert("RGBA").getchannel("A") if transparent else ImageOps.exif_transpose(mask).convert("L")
    share = share.resize(picture.size, Image.Resampling.BILINEAR)
    return Image.composite(picture.convert("RGB"), Image.new("RGB", picture.size, BACKGROUND), share)


def remover() -> str | None:
    """The model a background would be removed with; None where rembg, or every model of it, is missing.

    Nothing is imported.
    """
    return next((name for name, _ in _models()), None) if find_spec("rembg") else None


def without_background(picture: Image.Image) -> Image.Image:
    """The subject alone on BACKGROUND, as rembg finds it. Raises Refused as `background_mask`."""
    return masked(picture, background_mask(picture))


def background_mask(picture: Image.Image) -> Image.Image:
    """Grey, white where rembg finds the subject. Raises Refused: it is not there, or it fails."""
    if find_spec("rembg") is None:
        raise Refused("rembg_absent")
    try:
        return _mask(picture.convert("RGB"))
    except Refused:
        raise
    except Exception as error:  # whatever another program raises
        log.debug("rembg failed", exc_info=True)
        raise Refused("rembg_failed", got=f"{type(error).__name__}: {error}"[:200]) from error


def _mask(picture: Image.Image) -> Image.Image:
    kinds = _session_kinds() if remover() else {}  # slow to import, and it starts a runtime of its own
    name, path = next((found for found in _models() if found[0] in kinds), ("", None))
    if path is None:
        raise Refused(
            "rembg_model", folder=" or ".join(dict.fromkeys(map(str, _folders()))), expected=", ".join(MODELS)
        )
    from onnxruntime import SessionOptions
    from rembg import remove

    # by itself rembg fetches a model that has another check sum than the known one, or that another version has kept
    # elsewhere
    opened = type(name, (kinds[name],), {"download_models": classmethod(lambda *_, **__: str(path))})
    return remove(picture, session=opened(name, SessionOptions()), only_mask=True).convert("L")


def _session_kinds() -> dict[str, Any]:
    """rembg's classes by the model's name."""
    import onnxruntime  # noqa: F401  # first: where it is missing, rembg ends the whole process
    from rembg.sessions import sessions_class

    return {kind.name(): kind for kind in sessions_class}


def _models() -> Iterator[tuple[str, Path]]:
    """Name and file of those that are there, the better first."""
    newer, older = _folders()
    for name in MODELS:
        for path in (newer / "models" / name / f"{name}.onnx", older / f"{name}.onnx"):
            if path.is_file():
                yield name, path


def _folders() -> tuple[Path, Path]:
    """Where newer versions of rembg keep their models, each in a folder of its own, and where older ones did, side by
    side.
    """
    told, data = os.environ.get("U2NET_HOME"), os.environ.get("XDG_DATA_HOME")
    newer = told or os.environ.get("REMBG_HOME") or (f"{data}/rembg" if data else "~/.rembg")
    return Path(newer).expanduser(), Path(told or f"{data or '~'}/.u2net").expanduser()

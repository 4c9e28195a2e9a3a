"""In rembg's place: the subject is what lies in the left half. As much of it as 2.0.50 and 2.0.86 have in common."""

from __future__ import annotations

import sys

try:
    import onnxruntime  # noqa: F401
except ImportError:
    sys.exit(1)  # as rembg does

from PIL import Image

from rembg.sessions import Session


def remove(data: Image.Image, session: Session, only_mask: bool = False) -> Image.Image:
    assert session.model.is_file()
    mask = Image.new("L", data.size, 0)
    mask.paste(255, (0, 0, data.width // 2, data.height))
    return mask if only_mask else Image.composite(data, Image.new("RGBA", data.size), mask)

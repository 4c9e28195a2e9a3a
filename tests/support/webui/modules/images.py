from __future__ import annotations

from typing import Any

from PIL import ImageFont

SAVED: list[Any] = []


def get_font(_size: int) -> Any:
    return ImageFont.load_default()


def save_image(image: Any, *_where: Any, **_how: Any) -> None:
    SAVED.append(image)

"""The scene `demo` makes when no subject is given: two drawn reference pictures, side by side."""

from __future__ import annotations

from PIL import Image, ImageDraw

from lib_anyms.geometry import Box
from lib_anyms.layout import Layout, Subject
from lib_anyms.request import Pictures

PROMPT = "a red ball and a blue house on a meadow"
LAYOUT = Layout(
    (
        Subject("red ball", Box(0.05, 0.35, 0.45, 0.85)),
        Subject("blue house", Box(0.5, 0.15, 0.95, 0.85)),
    )
)
_SIDE = 224


def pictures() -> Pictures:
    """One reference picture a subject, on white."""
    return ((_ball(),), (_house(),))


def _ball() -> Image.Image:
    picture = Image.new("RGB", (_SIDE, _SIDE), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((32, 32, 192, 192), fill="#c62828")
    draw.ellipse((72, 60, 112, 100), fill="#ef9a9a")
    return picture


def _house() -> Image.Image:
    picture = Image.new("RGB", (_SIDE, _SIDE), "white")
    draw = ImageDraw.Draw(picture)
    draw.polygon([(24, 110), (112, 30), (200, 110)], fill="#5d4037")
    draw.rectangle((48, 110, 176, 200), fill="#1565c0")
    draw.rectangle((100, 150, 128, 200), fill="#fff59d")
    return picture

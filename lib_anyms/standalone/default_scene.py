"""The scene `demo` makes when no subject is given: four sprites that no training has seen, one a little over another."""

from __future__ import annotations

from lib_anyms.geometry import Box
from lib_anyms.layout import Layout, Subject
from lib_anyms.request import Pictures
from lib_anyms.standalone.sprites.identity import Identity
from lib_anyms.standalone.sprites.scene import Placed, Scene, extent
from lib_anyms.standalone.sprites.world import draw, to_image

PROMPT = "a star, a cat, a house and a duck on grass"
SPRITES = (
    (Identity("house", "blue", "orange", "checks"), Box(0.08, 0.08, 0.52, 0.5)),
    (Identity("star", "pink", "blue", "stripes"), Box(0.59, 0.05, 0.96, 0.4)),
    (Identity("cat", "red", "aqua", "dots"), Box(0.04, 0.57, 0.4, 0.945)),
    (Identity("duck", "yellow", "purple", "half"), Box(0.4, 0.42, 0.86, 0.78)),
)
LAYOUT = Layout(tuple(Subject(identity.shape, box) for identity, box in SPRITES))
_SIDE, _LONG = 256, 0.84  # of a reference picture in pixels, and of the sprite in it


def pictures() -> Pictures:
    """One reference picture a subject: the sprite alone, upright, on white."""
    drawn = draw([Scene("paper", (_alone(identity),), seed=1) for identity, _ in SPRITES], _SIDE)
    return tuple((to_image(picture),) for picture in drawn.pictures)


def _alone(identity: Identity) -> Placed:
    x0, y0, x1, y1 = extent(identity.shape, 0.0, False)
    scale = _LONG / max(x1 - x0, y1 - y0)
    width, height = (x1 - x0) * scale, (y1 - y0) * scale
    return Placed(identity, Box((1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2))

"""The scene `demo` makes when no subject is given: three sprites that no training has seen."""

from __future__ import annotations

from lib_anyms.geometry import Box
from lib_anyms.layout import Layout, Subject
from lib_anyms.request import Pictures
from lib_anyms.standalone.sprites.identity import Identity
from lib_anyms.standalone.sprites.scene import Placed, Scene, extent
from lib_anyms.standalone.sprites.world import draw, to_image

PROMPT = "a mushroom, a fish and a cat on sunset"
SEED = 896
SPRITES = (
    (Identity("mushroom", "red", "black", "half"), Box(0.08, 0.13, 0.48, 0.49)),
    (Identity("fish", "purple", "pink", "half"), Box(0.52, 0.17, 0.92, 0.49)),
    (Identity("cat", "blue", "green", "half"), Box(0.26, 0.5, 0.68, 0.94)),
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

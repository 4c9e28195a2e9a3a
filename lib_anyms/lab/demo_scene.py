"""`python -m lib_anyms.lab.demo_scene`: draw the reference images of the demo's scene into the package."""

from __future__ import annotations

from lib_anyms.lab.world.draw import draw, to_image
from lib_anyms.lab.world.identity import Identity
from lib_anyms.lab.world.scene import Figure, Scene
from lib_anyms.standalone.default_scene import FOLDER, IDENTITIES, picture_file

_SIDE = 256  # pixels
_RADIUS = 0.42
_PAPER = "snow"  # the world's lightest background


def main() -> None:
    """Write one file per subject."""
    FOLDER.mkdir(exist_ok=True)
    for words in IDENTITIES:
        alone = Figure(Identity(*words), radius=_RADIUS)
        left, top = (0.5 - length / 2 for length in alone.size)
        to_image(draw(Scene(_PAPER, (alone.moved_to(left, top),)), _SIDE)).save(picture_file(words[0]), optimize=True)


if __name__ == "__main__":
    main()

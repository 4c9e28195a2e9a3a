"""The scene of `demo` without --subject: three figures in combinations that the training holds out.

`python -m lib_anyms.lab.demo_scene` draws their reference pictures.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lib_anyms.job.request import Pictures
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject

BACKGROUND = "snow"
PROMPT = f"a house, a heart and a fish on {BACKGROUND}"
SEED = 12
# shape, body colour, second colour, pattern; and the box
SUBJECTS = (
    (("house", "red", "yellow", "band"), Box(0.06, 0.10, 0.44, 0.48)),
    (("heart", "pink", "cyan", "half"), Box(0.56, 0.08, 0.94, 0.46)),
    (("fish", "orange", "green", "half"), Box(0.28, 0.60, 0.72, 0.88)),
)
IDENTITIES = tuple(identity for identity, _ in SUBJECTS)
LAYOUT = Layout(tuple(Subject(identity[0], box) for identity, box in SUBJECTS))
FOLDER = Path(__file__).parent / "default_scene"


def picture_file(shape: str) -> Path:
    """The file of that subject's reference picture."""
    return FOLDER / f"{shape}.png"


def pictures() -> Pictures:
    """One reference picture for each subject: the figure alone, upright, on white, 256 x 256 pixels."""
    loaded = []
    for shape, *_ in IDENTITIES:
        with Image.open(picture_file(shape)) as file:
            loaded.append((file.convert("RGB"),))
    return tuple(loaded)

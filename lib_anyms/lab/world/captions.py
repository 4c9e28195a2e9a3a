"""What a caption says of a scene: shapes and ground. Colours and patterns can come from a reference alone.

Every word is one token of CLIP's vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from lib_anyms.lab.world.identity import SHAPES
from lib_anyms.lab.world.scene import GROUNDS

ANYTHING = "figure"  # a shape that is not named
NAMES = (*SHAPES, ANYTHING)
_GROUND_NAMED = 0.95  # share of the captions
_LISTED = 0.3  # share of the captions that are a list: "star, moon, sand"


def prompt(names: Sequence[str], ground: str = "") -> str:
    """As people write: "a star, a moon and a tree on sand". `names` may be empty: "sand"."""
    words = [f"a {name}" for name in names]
    if not words:
        return ground
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{text} on {ground}" if ground else text


def caption(names: Sequence[str], ground: str, random: Random) -> str:
    """One way to name these, in any order."""
    shuffled = random.sample(names, len(names))
    said = ground if random.random() < _GROUND_NAMED else ""
    if random.random() < _LISTED:
        return ", ".join([*shuffled, *([said] if said else [])])
    return prompt(shuffled, said)


def words_of(text: str) -> list[str]:
    """Words and commas, as CLIP's tokenizer splits them."""
    return re.findall(r"[a-z]+|,", text.lower())


def vocabulary() -> list[str]:
    """Every word a caption can hold."""
    return sorted({"a", "and", "on", ",", *NAMES, *GROUNDS})

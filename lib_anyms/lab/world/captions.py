"""Captions name shapes and the background of a scene; colours and patterns come from a reference alone.

Every word is one token of CLIP's vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from lib_anyms.lab.world.identity import SHAPES
from lib_anyms.lab.world.scene import BACKGROUNDS

ANYTHING = "figure"  # stands for a shape that is not named
NAMES = (*SHAPES, ANYTHING)
_BACKGROUND_NAMED = 0.95  # share of the captions
_LISTED = 0.3  # share of the captions that are a list: "star, moon, sand"


def prompt(names: Sequence[str], background: str = "") -> str:
    """As people write: "a star, a moon and a tree on sand". `names` may be empty: "sand"."""
    words = [f"a {name}" for name in names]
    if not words:
        return background
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{text} on {background}" if background else text


def caption(names: Sequence[str], background: str, random: Random) -> str:
    """A random caption: the names in any order, as a sentence or a list."""
    shuffled = random.sample(names, len(names))
    named = background if random.random() < _BACKGROUND_NAMED else ""
    if random.random() >= _LISTED:
        return prompt(shuffled, named)
    return ", ".join([*shuffled, named] if named else shuffled)


def words_of(text: str) -> list[str]:
    """Words and commas, as CLIP's tokenizer splits them."""
    return re.findall(r"[a-z]+|,", text.lower())


def vocabulary() -> list[str]:
    """Every word a caption can hold."""
    return sorted({"a", "and", "on", ",", *NAMES, *BACKGROUNDS})

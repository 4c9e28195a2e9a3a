"""Position words: where each subject stands, written into the main prompt. The page's positions.mjs does the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Subject

PHRASES = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)
_WIDE = 0.75  # a box with a larger share of the image has no place along that axis
_LOW, _HIGH = 0.4, 0.6  # the middle third, by the centre of the box
_TAG = re.compile(r"<[^<>]*>")  # an extra network
_UNNAMED = re.compile(r"(subject \d+)?")
ANY_POSITION = "|".join(phrase for row in PHRASES for phrase in row)

Span = tuple[int, int]


def position_of(box: Box) -> str:
    """A phrase for the place of `box` in the image; "" for a box over all of it."""
    row, column = _third(box.y0, box.y1), _third(box.x0, box.x1)
    if row is None and column is None:
        return ""
    return PHRASES[1 if row is None else row][1 if column is None else column]


def write_positions(prompt: str, subjects: Sequence[Subject]) -> str:
    """`prompt` with the position of each subject after its name. A position from before is replaced.

    A name that the prompt lacks comes to the end. Backgrounds and attributes have no position: they follow others.

    >>> cat, fox = Subject("cat", Box(0.1, 0.2, 0.4, 0.9)), Subject("fox", Box(0.6, 0.2, 0.9, 0.9))
    >>> write_positions("a cat on grass", [cat, fox])
    'a cat on the left on grass, fox on the right'
    """
    placed = [one for one in subjects if one.role == "subject" and not _UNNAMED.fullmatch(one.name.strip())]
    taken = [match.span() for match in _TAG.finditer(prompt)]
    edits: list[tuple[Span, str]] = []
    lacking: dict[int, str] = {}
    for number in sorted(range(len(placed)), key=lambda number: -len(placed[number].name.strip())):
        name, phrase = placed[number].name.strip(), position_of(placed[number].box)
        match = _find(name, prompt, taken)
        if match is not None:
            taken.append(match.span())
            edits.append(((match.end(1), match.end()), f" {phrase}" if phrase else ""))
        elif phrase:
            lacking[number] = f"{name} {phrase}"
    for (start, end), words in sorted(edits, reverse=True):
        prompt = prompt[:start] + words + prompt[end:]
    return ", ".join(filter(None, (prompt.rstrip().rstrip(","), *(lacking[number] for number in sorted(lacking)))))


def _find(name: str, prompt: str, taken: Iterable[Span]) -> re.Match[str] | None:
    """The first place of `name` as a whole word, and a position after it, outside the spans `taken`."""
    for match in re.finditer(
        rf"(?<![\w-])({re.escape(name)})(?![\w-])(?: (?:{ANY_POSITION})\b)?", prompt, re.IGNORECASE
    ):
        if all(match.end() <= start or match.start() >= end for start, end in taken):
            return match
    return None


def _third(low: float, high: float) -> int | None:
    """0, 1 or 2 by the centre of the part within the image; None for a box that has most of the axis."""
    low, high = max(0.0, low), min(1.0, high)
    if high - low > _WIDE:
        return None
    centre = (low + high) / 2
    return 0 if centre < _LOW else 2 if centre > _HIGH else 1

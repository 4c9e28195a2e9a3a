"""The field `second_look`: which subject each inpainting of another extension repaints. No torch here."""

from __future__ import annotations

from lib_anyms.errors import Refused
from lib_anyms.layout.fields import AUTO, OFF
from lib_anyms.layout.layout import Layout

Pins = tuple["int | None", ...]  # for each inpainting in order, the index of a subject, or None for no subject


def read_pins(text: str, layout: Layout) -> Pins | None:
    """The field `second_look`, such as "cat, off, 2"; None for auto, () for off. Raises Refused for an unknown name."""
    text = text.strip()
    if text.lower() in ("", AUTO):
        return None
    return tuple(_pin(word.strip(), layout) for word in text.split(",")) if text.lower() != OFF else ()


def _pin(word: str, layout: Layout) -> int | None:
    """The index of a subject by its name, or by its number from 1, back to front."""
    if word.lower() == OFF:
        return None
    names = [subject.name.lower() for subject in layout.subjects]
    if word.lower() in names:
        return names.index(word.lower())
    if word.isascii() and word.isdigit() and 0 < int(word) <= len(names):
        return int(word) - 1
    raise Refused("second_look_name", got=word, expected=", ".join(subject.name for subject in layout.subjects))

"""What an adapter is for, and the order in which "auto" takes adapters.

An adapter for faces, for composition or for style has the shapes of a general one, so only its name shows which it is.
The name changes the order and adds a note. It never decides what a file is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.models.known_files import known_file

PLUS, BASE, NOOB, FACE, STYLE, COMPOSITION = "plus", "base", "noob", "face", "style", "composition"
# A word in the name of the file -> what the adapter is for. The first that occurs decides.
_WORDS = (
    (FACE, re.compile(r"(?<!sur)(?<!hugging)(?<!hugging[-_ ])(?<!inter)face|portrait")),
    (COMPOSITION, re.compile(r"compos")),
    (STYLE, re.compile(r"style")),
    (NOOB, re.compile(r"noob|illustri|(?<![a-z])ilxl")),
)
# Checkpoints trained from Illustrious, NoobAI among them: by the checkpoint's name, since its shapes are SDXL's.
_NOOB_FAMILY = re.compile(r"noob|illustri|(?<![a-z])ilxl|(?<![a-z])il(?![a-z])")
NOTES = {COMPOSITION: "adapter_composition", STYLE: "adapter_style"}  # the cause of the note for the user


def purpose_of(adapter: AdapterCheckpoint) -> str:
    """What the adapter is for: "plus", "base", "noob", "face", "style" or "composition"."""
    name = adapter.path.stem.lower()
    for purpose, pattern in _WORDS:
        if pattern.search(name):
            return purpose
    return adapter.kind


def is_noob_family(checkpoint: str) -> bool:
    """Whether a checkpoint of this name is trained from Illustrious, as NoobAI is."""
    return _NOOB_FAMILY.search(checkpoint.lower()) is not None


def in_auto_order(adapters: Iterable[AdapterCheckpoint], checkpoint: str = "") -> list[AdapterCheckpoint]:
    """Sort for "auto": by purpose, plain weights before eight-bit ones, known files first, then as they came.

    `checkpoint` is the name of the loaded checkpoint. Adapters for faces come last: "auto" never takes them.
    """
    first = [NOOB, PLUS, BASE] if is_noob_family(checkpoint) else [PLUS, BASE, NOOB]
    order = [*first, STYLE, COMPOSITION, FACE]

    def rank(adapter: AdapterCheckpoint) -> tuple[int, bool, bool]:
        is_other = known_file(adapter.path.name) is None
        return order.index(purpose_of(adapter)), adapter.eight_bit, is_other

    return sorted(adapters, key=rank)

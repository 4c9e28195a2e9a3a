"""The main prompt without the subjects: a proposal for the text outside all boxes. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lib_anyms.layout.positions import ANY_POSITION

# Words that join the parts of a phrase: "a cat AND a dog ON grass".
_WORDS = "and|with|beside|next to|near|in front of|behind|under|over|above|below|between|on|in|at|by|of"
_PHRASES = re.compile(r",|(?::\s*-?[\d.]+\s*)?\bAND\b")  # AND composes prompts, and may follow a weight
_JOINTS = re.compile(rf"\b({_WORDS})\b", re.IGNORECASE)
_LISTING = frozenset(("and", "with", "beside", "next to", "near", "between", "by", "of"))  # nothing remains to join


def propose_elsewhere(prompt: str, names: Iterable[str]) -> str:
    """`prompt` without the parts of its phrases that name a subject.

    >>> propose_elsewhere("photo of a cat and a red teapot on a table, soft light", ["cat", "teapot"])
    'photo on a table, soft light'
    """
    patterns = []
    for name in filter(None, map(str.strip, names)):
        patterns.append(re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE))
        prompt = re.sub(rf"(\b{re.escape(name)}) (?:{ANY_POSITION})\b", r"\1", prompt, flags=re.IGNORECASE)
    phrases = []
    for phrase in _PHRASES.split(prompt):
        kept = _without(phrase, patterns)
        if kept:
            phrases.append(kept)
    return ", ".join(phrases)


def _without(phrase: str, patterns: list[re.Pattern[str]]) -> str:
    first, *rest = _JOINTS.split(phrase)
    parts = [("", first), *zip(rest[::2], rest[1::2])]
    text = ""
    for joint, part in parts:
        if any(pattern.search(part) for pattern in patterns) or not part.strip():
            continue
        if text or joint.lower() not in _LISTING:
            text += f" {joint} " if joint else ""
        text += part.strip()
    return " ".join(text.split())

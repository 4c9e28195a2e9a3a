"""Captions: a small grammar over scenes, told in full or in part, and read back. Every word is one token of CLIP's vocabulary.

>>> read("two creatures: a red star with blue dots and a leaning green cat on grass").background
'grass'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lib_anyms.standalone.sprites.identity import ALL_COLOURS, ALL_SHAPES, PATTERNS
from lib_anyms.standalone.sprites.scene import ACTIONS, BACKGROUNDS, SIZES, Placed, Scene

ANYTHING, ANYTHINGS = "creature", "creatures"
NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
ONE_OF_IT = ("half", "ring")  # patterns told in the singular: "with a red ring", "with red dots"
# How a pattern is told before the shape.
PATTERN_ADJECTIVES = {
    "stripes": "striped",
    "bands": "banded",
    "dots": "dotted",
    "checks": "checked",
    "half": "split",
    "ring": "ringed",
}
OPENINGS = ("", "a picture of ", "a drawing of ")
GROUNDS = ("{} on {}", "{} on {}", "{} in front of {}", "{} and {} behind")
FULL = frozenset({"shape", "body", "pattern", "happening"})
UNSAID = frozenset({"nothing"})  # not even that it is there
# What a caption tells of a sprite, and how often; "pattern" stands for the second colour too.
TELLINGS: tuple[tuple[frozenset[str], float], ...] = (
    (FULL, 0.56),
    (FULL - {"pattern"}, 0.16),
    (FULL - {"body", "pattern"}, 0.08),
    (FULL - {"shape"}, 0.08),
    (frozenset({"body", "happening"}), 0.06),
    (frozenset({"happening"}), 0.06),
)
SHORT = FULL - {"pattern"}
_GROUND_TOLD = 0.92  # share of the captions
_LONGEST = 70  # words and commas; the text encoders read 75 tokens


@dataclass(frozen=True)
class Told:
    """What a caption says: for each sprite the attributes named (shape, body, second, pattern, action, size), and the rest."""

    subjects: tuple[dict[str, str], ...]
    background: str = ""
    count: int = 0  # 0: not said in so many words


def caption(scene: Scene, random: Random, tellings: Sequence[tuple[frozenset[str], float]] = TELLINGS) -> str:
    """One way to tell the scene: some of what is there, in any order, all that is told being true."""
    choices, weights = zip(*tellings)
    subjects = random.sample(scene.subjects, len(scene.subjects))
    told = random.choices(choices, weights, k=len(subjects))
    if random.random() < 0.5:
        told = told[:1] * len(subjects)
    adjectives = random.random() < 0.25
    phrases = [_phrase(subject, part, adjectives) for subject, part in zip(subjects, told) if part != UNSAID]
    if not phrases:
        return random.choice(OPENINGS) + scene.background if random.random() < _GROUND_TOLD else ""
    words = _joined(phrases)
    if len(subjects) > 1 and (not any(told) or random.random() < 0.15):
        words = f"{NUMBERS[len(subjects) - 1]} {ANYTHINGS}" + (f": {words}" if random.random() < 0.5 else "")
    if random.random() < _GROUND_TOLD:
        words = random.choice(GROUNDS).format(words, scene.background)
    words = random.choice(OPENINGS) + words
    return words if length(words) <= _LONGEST else full_caption(scene)


def full_caption(scene: Scene) -> str:
    """The plain telling of all there is, back to front; of many sprites without their patterns."""
    for part in (FULL, SHORT, frozenset({"shape"})):
        words = f"{_joined([_phrase(subject, part, False) for subject in scene.subjects])} on {scene.background}"
        if length(words) <= _LONGEST:
            return words
    return f"{NUMBERS[len(scene.subjects) - 1]} {ANYTHINGS} on {scene.background}"


def words_of(text: str) -> list[str]:
    """Words and marks, as CLIP's tokenizer splits them."""
    return re.findall(r"[a-z]+|[,:]", text.lower())


def length(text: str) -> int:
    """Tokens."""
    return len(words_of(text))


def vocabulary() -> list[str]:
    """Every word a caption can hold."""
    frame = " ".join((*OPENINGS, *GROUNDS, "a an and with , :")).replace("{}", "")
    things = (*ALL_SHAPES, ANYTHING, ANYTHINGS, *BACKGROUNDS)
    kinds = (*ALL_COLOURS, *PATTERNS, *PATTERN_ADJECTIVES.values(), *ACTIONS, *SIZES, *NUMBERS)
    return sorted(set(words_of(" ".join((frame, *things, *kinds)))))


def read(text: str) -> Told:
    """What a caption of this grammar tells; words it does not know tell nothing."""
    reader = _Reader()
    for word in words_of(text):
        reader.feed(word)
    return Told(tuple(reader.subjects), reader.background, reader.count)


def told_along(text: str) -> list[dict[str, str]]:
    """For each word of a caption what has been told up to there of the sprite it speaks of; nothing where it speaks of none."""
    reader = _Reader()
    fed = [(word, reader.feed(word)) for word in words_of(text)]
    return [told if _KINDS.get(word, "number") not in ("number", "background") else {} for word, told in fed]


class _Reader:
    """Reads a caption word by word."""

    def __init__(self) -> None:
        self.subjects: list[dict[str, str]] = []
        self.background = ""
        self.count = 0
        self._pending: dict[str, str] = {}  # told of a sprite whose shape, or pattern, is still to come
        self._after_with = False

    def feed(self, word: str) -> dict[str, str]:
        """Read one more word -> what is told so far of the sprite in question."""
        kind = _KINDS.get(word, "")
        pending = self._pending
        if kind == "number":
            self.count = NUMBERS.index(word) + 1
        elif kind == "background":
            self.background = word
        elif kind == "colour":
            pending["second" if self._after_with or "body" in pending else "body"] = word
        elif kind == "pattern":
            pending["pattern"] = _ADJECTIVES[word]
        elif kind in ("action", "size"):
            pending[kind] = word
        elif kind == "noun" and self.subjects:
            self.subjects[-1] |= {"pattern": word, **pending}
        elif kind == "shape":
            self.subjects.append(dict(pending) if word == ANYTHING else {"shape": word, **pending})
        if kind in ("noun", "shape"):
            self._pending = {}
        self._after_with = word == "with" or (self._after_with and kind != "noun")
        return self._current()

    def _current(self) -> dict[str, str]:
        last = self.subjects[-1] if self.subjects else {}
        if self._after_with:
            return {**last, **self._pending}
        return dict(self._pending or last)


def _joined(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def _phrase(subject: Placed, told: frozenset[str], adjectives: bool) -> str:
    """ "a leaning red star with blue stripes", or what of it is told; with `adjectives` "a leaning red and blue striped star"."""
    identity = subject.identity
    words = [subject.action, subject.size] if "happening" in told else []
    patterned = "pattern" in told
    before = adjectives and patterned and "body" in told
    if "body" in told:
        words.append(identity.body)
    if before:
        words += ["and", identity.second, PATTERN_ADJECTIVES[identity.pattern]]
    words.append(identity.shape if "shape" in told else ANYTHING)
    if patterned and not before:
        words += ["with", _one(identity.second) if identity.pattern in ONE_OF_IT else identity.second, identity.pattern]
    return _one(" ".join(word for word in words if word))


def _one(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


_ADJECTIVES = {word: pattern for pattern, word in PATTERN_ADJECTIVES.items()}
_KINDS = {
    **dict.fromkeys(NUMBERS, "number"),
    **dict.fromkeys(BACKGROUNDS, "background"),
    **dict.fromkeys(ALL_COLOURS, "colour"),
    **dict.fromkeys(PATTERNS, "noun"),
    **dict.fromkeys(_ADJECTIVES, "pattern"),
    **dict.fromkeys(ACTIONS, "action"),
    **dict.fromkeys(SIZES, "size"),
    **dict.fromkeys((*ALL_SHAPES, ANYTHING), "shape"),
}

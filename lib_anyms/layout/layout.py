"""The subjects of an image from back to front, each with its box, and the owner of each token. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.layout.fields import MAX_PROMPT, Field, is_version, read_fields
from lib_anyms.layout.geometry import WHOLE, Box, TokenGrid, Viewport
from lib_anyms.layout.silhouette import Silhouette

VERSION = 1
MAX_SUBJECTS = 12
HASHES = "pictures"  # key of an infotext's subject: hashes in place of its pictures; not part of a layout
CARD = "card"  # key of a request's subject: the card in place of pictures; an infotext stores the card's hash
SILHOUETTE = "silhouette"  # key of a request's subject: a mask of the image; an infotext stores the mask's hash
NOT_OF_LAYOUT = (HASHES, CARD, SILHOUETTE)
BACKGROUND = "background"
ROLES = (BACKGROUND, "subject", "attribute")  # in the proposed order, back to front
BLOCKS = ("all", "style", "composition", "all but style", "all but composition")
_FINE = TokenGrid(64, 64)  # on which a silhouette has a token wherever it has any white
PROMPTS = ("prompt", "avoid")  # fields that a layout stores only where they say something

SUBJECT_FIELDS = (
    Field("name", "", "what the prompt calls the subject", high=80, label="Name"),
    Field(
        "role", "subject", "proposes the order: background, then subject, then attribute (hat, glasses)", choices=ROLES
    ),
    Field("weight", 1.0, "strength of this subject's image stream", low=0.0, high=2.0, label="Strength"),
    Field("start", 0.0, "fraction of the steps at which the subject starts", label="Starts at"),
    Field("end", 1.0, "fraction of the steps at which the subject ends", label="Ends at"),
    Field("blocks", "all", "UNet blocks in which the subject acts", choices=BLOCKS, label="Affected layers"),
    Field(
        "prompt",
        "",
        "the subject's own prompt: in its box it replaces the main prompt",
        high=MAX_PROMPT,
        label="Own prompt",
    ),
    Field(
        "avoid",
        "",
        "the subject's own negative prompt: in its box it replaces the main one",
        high=MAX_PROMPT,
        label="Avoid",
    ),
)


@dataclass(frozen=True)
class Subject:
    """A subject's box and strength. It owns its visible tokens at every step, whatever its weight, start and end.

    silhouette: which part of the box is the subject's; None for the whole box.
    """

    name: str
    box: Box
    role: str = "subject"
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    blocks: str = "all"
    prompt: str = ""
    avoid: str = ""
    silhouette: Silhouette | None = None

    def __post_init__(self) -> None:
        where = f"subject {self.name!r}"
        for field in SUBJECT_FIELDS:
            object.__setattr__(self, field.name, field.read(getattr(self, field.name), where))
        if self.start >= self.end:
            raise Refused("subject_window", name=self.name, start=self.start, end=self.end)

    def tokens(self, box: Box, grid: TokenGrid, window: Viewport) -> list[int]:
        """Its tokens, hidden or not.

        box: its box in fractions of `window`, the part of the image that the grid shows.
        """
        if self.silhouette is not None:
            return self.silhouette.tokens(box, grid, window)
        return list(box.on(grid).indices(grid))

    def seen_in(self, viewport: Viewport) -> Subject | None:
        """The subject with its box in fractions of `viewport`; None where it lies outside."""
        box = viewport.place(self.box)
        silhouette = None if self.silhouette is None else self.silhouette.seen_in(viewport)
        if box is None or (silhouette is not None and not silhouette.tokens(box, _FINE)):
            return None
        return replace(self, box=box, silhouette=silhouette)

    def strength(self, progress: float) -> float:
        """w_j at `progress` (share of the finished steps, 0..1): the weight within [start, end), else 0."""
        return self.weight if self.acts_at(progress) else 0.0

    def acts_at(self, progress: float) -> bool:
        """Whether `progress` (share of the finished steps, 0..1) is within [start, end)."""
        return self.start <= progress < self.end


def read_subject(value: Any, number: int, also: tuple[str, ...] = ()) -> Subject:
    """A subject from its JSON object; `also` names the keys that the caller reads. Raises Refused."""
    where = f"subject {number}"
    if not isinstance(value, dict):
        raise Refused("field_type", field=where, got=type(value).__name__, expected="an object")
    if "box" not in value:
        raise Refused("field_missing", where=where, field="box")
    values = read_fields(SUBJECT_FIELDS, value, where, ("box", *also))
    values["name"] = values["name"] or where
    return Subject(box=Box.read(value["box"]), **values)


@dataclass(frozen=True)
class Layout:
    """Subjects from back to front. Where boxes overlap, the last one (the topmost) owns the tokens."""

    subjects: tuple[Subject, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.subjects) <= MAX_SUBJECTS:
            raise Refused("subject_count", got=len(self.subjects), low=1, high=MAX_SUBJECTS)

    def owner_map(self, grid: TokenGrid, window: Viewport = WHOLE) -> list[int]:
        """The owner of each token, row-major: a subject's index, or -1 where no box lies.

        window: the part of this layout's image that the grid shows.
        """
        owners = [-1] * grid.tokens
        for number, tokens in enumerate(self.box_tokens(grid, window)):
            for token in tokens:
                owners[token] = number
        return owners

    def visible_tokens(self, grid: TokenGrid, window: Viewport = WHOLE) -> list[list[int]]:
        """The token indices each subject owns: its box or silhouette without the parts that others cover."""
        tokens: list[list[int]] = [[] for _ in self.subjects]
        for token, owner in enumerate(self.owner_map(grid, window)):
            if owner >= 0:
                tokens[owner].append(token)
        return tokens

    def box_tokens(self, grid: TokenGrid, window: Viewport = WHOLE) -> list[list[int]]:
        """The token indices of each subject's box or silhouette, hidden or not; none for one outside the window."""
        tokens = []
        for subject in self.subjects:
            box = window.place(subject.box)
            tokens.append(subject.tokens(box, grid, window) if box is not None else [])
        return tokens

    def visible_shares(self, grid: TokenGrid) -> list[float]:
        """The share of its box that each subject owns: 0 (hidden) to 1."""
        visible, whole = self.visible_tokens(grid), self.box_tokens(grid)
        return [len(owned) / max(1, len(covered)) for owned, covered in zip(visible, whole)]

    def seen_in(self, viewport: Viewport) -> dict[int, Subject]:
        """The subjects inside `viewport` by their index in this layout, back to front; boxes in its fractions."""
        seen = {}
        for number, subject in enumerate(self.subjects):
            placed = subject.seen_in(viewport)
            if placed is not None:
                seen[number] = placed
        return seen

    def to_json(self) -> dict[str, Any]:
        """The layout as files, infotext and clipboard store it."""
        return {"version": VERSION, "subjects": [subject_json(subject) for subject in self.subjects]}

    @classmethod
    def from_json(cls, value: Any) -> Layout:
        """The inverse of `to_json`; keeps the order. Raises Refused."""
        if not isinstance(value, dict) or not isinstance(value.get("subjects"), list):
            raise Refused("layout_form", got=type(value).__name__)
        if not is_version(value.get("version"), VERSION):
            raise Refused("layout_version", got=value.get("version"), expected=VERSION)
        if len(value["subjects"]) > MAX_SUBJECTS:  # before reading each of them
            raise Refused("subject_count", got=len(value["subjects"]), low=1, high=MAX_SUBJECTS)
        numbered = enumerate(value["subjects"], 1)
        return cls(tuple(read_subject(subject, number, NOT_OF_LAYOUT) for number, subject in numbered))


def subject_json(subject: Subject) -> dict[str, Any]:
    """A subject's JSON object without its silhouette; `read_subject` is the inverse."""
    values: dict[str, Any] = {"name": subject.name, "box": subject.box.edges}
    values |= {field.name: getattr(subject, field.name) for field in SUBJECT_FIELDS}
    return {name: value for name, value in values.items() if value or name not in PROMPTS}


_ATTRIBUTES = frozenset("hat cap crown helmet glasses sunglasses mask scarf tie necklace earring bag backpack".split())
_BACKGROUNDS = frozenset("background scene room beach street forest sky landscape city wall floor".split())


# What follows one of these describes the subject: "girl with a red hat" is a girl.
_LINKS = frozenset(", with in on at of by near wearing holding carrying under and".split())


def propose_role(name: str) -> str:
    """Guess a role from the name's noun ("a straw hat" -> attribute). The user may change it."""
    head = _head(name)
    if head in _ATTRIBUTES:
        return "attribute"
    return "background" if head in _BACKGROUNDS else "subject"


def _head(name: str) -> str:
    """The noun that names the subject: the last word before the first link, without links at the start."""
    head = ""
    for word in name.lower().replace(",", " , ").split():
        if word not in _LINKS:
            head = word
        elif head:
            break
    return head


def propose_order(subjects: list[Subject]) -> list[int]:
    """Indices from back to front: by role, then large before small; equal ones keep their order."""

    def rank(number: int) -> tuple[int, int]:
        subject = subjects[number]
        return ROLES.index(subject.role), -_size(subject.box)

    return sorted(range(len(subjects)), key=rank)


def _size(box: Box) -> int:
    """Area in thousandths of the image: boxes that differ only by rounding get the same size.

    The offset keeps areas that are simple fractions away from the boundary between two sizes.
    """
    return math.floor(box.area * 1000 + 0.3718)


assert {field.name for field in SUBJECT_FIELDS} | {"box", SILHOUETTE} == {field.name for field in fields(Subject)}

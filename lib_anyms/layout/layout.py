"""Who is where: subjects back to front, each with its box, and which of them owns a token. No torch here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.layout.fields import Field, read_fields
from lib_anyms.layout.geometry import Box, TokenGrid, Viewport

VERSION = 1
MAX_SUBJECTS = 12
HASHES = "pictures"  # of a subject of an infotext: what its pictures were, in their place; no part of a layout
CARD = "card"  # of a subject of a request, in place of its pictures; of an infotext its hash
ROLES = ("background", "subject", "attribute")  # back to front, as proposed
BLOCKS = ("all", "style", "composition")

SUBJECT_FIELDS = (
    Field("name", "", "what the prompt calls the subject", high=80),
    Field(
        "role", "subject", "proposes the order: background, then subject, then attribute (hat, glasses)", choices=ROLES
    ),
    Field("weight", 1.0, "strength of this subject's image stream", low=0.0, high=2.0),
    Field("start", 0.0, "fraction of the steps at which the subject sets in"),
    Field("end", 1.0, "fraction of the steps at which the subject leaves off"),
    Field("blocks", "all", "UNet blocks that see the subject", choices=BLOCKS),
)


@dataclass(frozen=True)
class Subject:
    """One subject's place and strength. It owns its visible tokens at every step and any weight, start or end."""

    name: str
    box: Box
    role: str = "subject"
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    blocks: str = "all"

    def __post_init__(self) -> None:
        where = f"subject {self.name!r}"
        for row in SUBJECT_FIELDS:
            object.__setattr__(self, row.name, row.read(getattr(self, row.name), where))
        if self.start >= self.end:
            raise Refused("subject_window", name=self.name, start=self.start, end=self.end)

    def strength(self, progress: float) -> float:
        """w_j at `progress` (0..1 of the steps done): the weight within [start, end), else 0."""
        return self.weight if self.start <= progress < self.end else 0.0


def read_subject(given: Any, number: int, also: tuple[str, ...] = ()) -> Subject:
    """A subject from its JSON object; `also` names the keys the caller reads itself."""
    where = f"subject {number}"
    if not isinstance(given, dict):
        raise Refused("field_type", field=where, got=type(given).__name__, expected="an object")
    if "box" not in given:
        raise Refused("field_missing", where=where, field="box")
    values = read_fields(SUBJECT_FIELDS, given, where, ("box", *also))
    values["name"] = values["name"] or where
    return Subject(box=Box.read(given["box"]), **values)


@dataclass(frozen=True)
class Layout:
    """Subjects back to front: where boxes overlap the last one, the topmost, owns the tokens."""

    subjects: tuple[Subject, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.subjects) <= MAX_SUBJECTS:
            raise Refused("subject_count", got=len(self.subjects), low=1, high=MAX_SUBJECTS)

    def owner_map(self, grid: TokenGrid) -> list[int]:
        """The owner of each row-major token: a subject's number, -1 for nobody."""
        owners = [-1] * grid.tokens
        for number, subject in enumerate(self.subjects):
            for token in subject.box.on(grid).indices(grid):
                owners[token] = number
        return owners

    def visible_tokens(self, grid: TokenGrid) -> list[list[int]]:
        """For each subject the tokens it owns: its box less whatever lies on top of it."""
        tokens: list[list[int]] = [[] for _ in self.subjects]
        for token, owner in enumerate(self.owner_map(grid)):
            if owner >= 0:
                tokens[owner].append(token)
        return tokens

    def box_tokens(self, grid: TokenGrid) -> list[list[int]]:
        """For each subject the tokens of its whole box, hidden or not."""
        return [list(subject.box.on(grid).indices(grid)) for subject in self.subjects]

    def visible_shares(self, grid: TokenGrid) -> list[float]:
        """For each subject the share of its box it owns, 0 (hidden) to 1."""
        whole = self.box_tokens(grid)
        return [len(seen) / len(all_) for seen, all_ in zip(self.visible_tokens(grid), whole)]

    def seen_in(self, viewport: Viewport) -> dict[int, Subject]:
        """The subjects a pass that shows `viewport` has to do with, by their number here, back to front, boxes in its
        fractions.
        """
        placed = {number: viewport.place(subject.box) for number, subject in enumerate(self.subjects)}
        return {number: replace(self.subjects[number], box=box) for number, box in placed.items() if box is not None}

    def to_json(self) -> dict[str, Any]:
        """The layout as written to files, infotext and the clipboard."""
        return {"version": VERSION, "subjects": [subject_json(subject) for subject in self.subjects]}

    @classmethod
    def from_json(cls, given: Any) -> Layout:
        """The inverse of `to_json`; the order is kept as it is. Raises Refused."""
        if not isinstance(given, dict) or not isinstance(given.get("subjects"), list):
            raise Refused("layout_form", got=type(given).__name__)
        if given.get("version") != VERSION:
            raise Refused("layout_version", got=given.get("version"), expected=VERSION)
        return cls(
            tuple(read_subject(subject, number, (HASHES, CARD)) for number, subject in enumerate(given["subjects"], 1))
        )


def subject_json(subject: Subject) -> dict[str, Any]:
    """A subject's JSON object; `read_subject` is the inverse."""
    box = subject.box
    return {**asdict(subject), "box": [box.x0, box.y0, box.x1, box.y1]}


_ATTRIBUTES = frozenset("hat cap crown helmet glasses sunglasses mask scarf tie necklace earring bag backpack".split())
_BACKGROUNDS = frozenset("background scene room beach street forest sky landscape city wall floor".split())


def propose_role(name: str) -> str:
    """A role read off the name's last word ("a straw hat" -> attribute); the user decides."""
    word = (name.lower().split() or [""])[-1]
    if word in _ATTRIBUTES:
        return "attribute"
    return "background" if word in _BACKGROUNDS else "subject"


def propose_order(subjects: list[Subject]) -> list[int]:
    """Back-to-front order for subjects nobody has ordered: by role, then smaller over larger; else as given."""
    return sorted(range(len(subjects)), key=lambda n: (ROLES.index(subjects[n].role), -_size(subjects[n].box)))


def _size(box: Box) -> int:
    """Thousandths of the picture: boxes that differ by rounding are of one size.

    Plain fractions lie on no boundary of these.
    """
    return math.floor(box.area * 1000 + 0.3718)


assert {row.name for row in SUBJECT_FIELDS} | {"box"} == {field.name for field in fields(Subject)}

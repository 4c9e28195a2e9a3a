"""One row per user-facing value: its name, default, bounds and words.

API, CLI, page and infotext all read these rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lib_anyms.errors import Refused


@dataclass(frozen=True)
class Field:
    """A named value: a switch (bool default), a number (low..high), one of `choices`, or text of at most `high`
    characters.
    """

    name: str
    default: Any
    help: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[str, ...] = ()

    def read(self, value: Any, where: str = "the request") -> Any:
        """`value` checked against this row; raises Refused with the row's bounds. Numbers come back as float."""
        label = f"{self.name} of {where}"
        if isinstance(self.default, bool):
            return self._typed(value, bool, "true or false", label)
        if self.choices:
            if value not in self.choices:
                raise Refused("field_choice", field=label, got=value, expected=", ".join(self.choices))
            return value
        if isinstance(self.default, str):
            self._typed(value, str, "text", label)
            if any("\ud800" <= letter <= "\udfff" for letter in value):  # half a character: no picture could carry it
                raise Refused("field_type", field=label, got=_short(value), expected="text of whole characters")
            if len(value) > self.high:
                raise Refused("field_range", field=f"the length of {label}", got=len(value), low=0, high=int(self.high))
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Refused("field_type", field=label, got=_short(value), expected="a number")
        if not (math.isfinite(value) and self.low <= value <= self.high):
            raise Refused("field_range", field=label, got=value, low=self.low, high=self.high)
        return float(value)

    def schema(self) -> dict[str, Any]:
        """The row as JSON Schema."""
        told = {"description": self.help, "default": self.default}
        if isinstance(self.default, bool):
            return {"type": "boolean", **told}
        if self.choices:
            return {"enum": list(self.choices), **told}
        if isinstance(self.default, str):
            return {"type": "string", "maxLength": int(self.high), **told}
        return {"type": "number", "minimum": self.low, "maximum": self.high, **told}

    @staticmethod
    def _typed(value: Any, kind: type, words: str, label: str) -> Any:
        if not isinstance(value, kind):
            raise Refused("field_type", field=label, got=_short(value), expected=words)
        return value


AUTO, OFF = "auto", "off"
# The tables of what each does are where it is done: ablations.MERGES, references.FITS, tokens.COMBINE.
MODES = ("crop-merge", "masked-sum", "global-sum", "global-mean", "one-softmax", OFF)
UNCONDITIONALS = ("trained", "cond-only")
FITS = ("pad", "crop", "stretch")
COMBINES = ("average", "concatenate")

REQUEST_FIELDS = (
    Field("enabled", True, "whether AnyMS takes part"),
    Field("scale", 0.6, "s in Z_text + s * Z_image, for all subjects", low=0.0, high=2.0),
    Field("mode", "crop-merge", "how the subjects' image streams meet", choices=MODES),
    Field("adapter", AUTO, "IP-Adapter file, or auto for the first that fits the checkpoint", high=260),
    Field("encoder", AUTO, "image encoder file, or auto for the one that fits the adapter", high=260),
    Field("unconditional", "trained", "image stream of the unconditional rows", choices=UNCONDITIONALS),
    Field("fit", "pad", "how a picture becomes the encoder's square", choices=FITS),
    Field("combine", "average", "how several pictures make one subject", choices=COMBINES),
)


def read_fields(
    table: tuple[Field, ...], given: dict[str, Any], where: str, also: tuple[str, ...] = ()
) -> dict[str, Any]:
    """All rows of `table`, from `given` or by default; a name in neither `table` nor `also` is refused."""
    known = [row.name for row in table]
    for name in given:
        if name not in known and name not in also:
            raise Refused("field_unknown", where=where, got=name, expected=", ".join([*also, *known]))
    return {row.name: row.read(given.get(row.name, row.default), where) for row in table}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""The table of user-facing fields: name, default, bounds and help text of each.

API, command line, page and infotext all read these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lib_anyms.errors import Refused


@dataclass(frozen=True)
class Field:
    """A named value. The default's type sets its kind: switch (bool), number (low..high), or text.

    A field with `choices` takes one of them. Text has at most `high` characters. `label` is its title on the page, and
    `step` the step of its slider there.
    """

    name: str
    default: Any
    help: str
    low: float = 0.0
    high: float = 1.0
    choices: tuple[str, ...] = ()
    label: str = ""
    step: float = 0.05

    def read(self, value: Any, where: str = "the request") -> Any:
        """Check `value` and return it; numbers become float. Raises Refused with this field's bounds."""
        label = f"{self.name} of {where}"
        if isinstance(self.default, bool):
            return _typed(value, bool, "true or false", label)
        if self.choices:
            if value not in self.choices:
                raise Refused("field_choice", field=label, got=value, expected=", ".join(self.choices))
            return value
        if isinstance(self.default, str):
            return self._text(value, label)
        return self._number(value, label)

    def _text(self, value: Any, label: str) -> str:
        text: str = _typed(value, str, "text", label)
        if any("\ud800" <= letter <= "\udfff" for letter in text):  # half a surrogate pair: no image file can store it
            raise Refused("field_type", field=label, got=_short(text), expected="text of whole characters")
        if len(text) > self.high:
            raise Refused("field_range", field=f"the length of {label}", got=len(text), low=0, high=int(self.high))
        return text

    def _number(self, value: Any, label: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):  # bool is an int in Python
            raise Refused("field_type", field=label, got=_short(value), expected="a number")
        if not self.low <= value <= self.high:  # NaN lies nowhere
            raise Refused("field_range", field=label, got=value, low=self.low, high=self.high)
        return float(value)

    def schema(self) -> dict[str, Any]:
        """The field as JSON Schema."""
        common = {"description": self.help, "default": self.default}
        if isinstance(self.default, bool):
            return {"type": "boolean", **common}
        if self.choices:
            return {"enum": list(self.choices), **common}
        if isinstance(self.default, str):
            return {"type": "string", "maxLength": int(self.high), **common}
        return {"type": "number", "minimum": self.low, "maximum": self.high, **common}


AUTO, OFF = "auto", "off"
SECOND_LOOK = "second_look"  # the name of a request's field
MAX_PROMPT = 4000  # characters
USUAL_REFINING = 0.35  # denoising strength
# The functions behind these names: ablations.MERGES, references.FITS, tokens.COMBINE.
MODES = ("crop-merge", "masked-sum", "global-sum", "global-mean", "one-softmax", OFF)
UNCONDITIONALS = ("trained", "cond-only")
FITS = ("pad", "crop", "stretch")
COMBINES = ("average", "concatenate")

REQUEST_FIELDS = (
    Field("enabled", True, "whether AnyMS is active"),
    Field("scale", 0.6, "s in Z_text + s * Z_image, for all subjects", low=0.0, high=2.0, label="Overall strength"),
    Field("mode", "crop-merge", "how the subjects' image streams are merged", choices=MODES, label="Merging"),
    Field("adapter", AUTO, "IP-Adapter file, or auto for the best that fits the checkpoint", high=260, label="Adapter"),
    Field(
        "encoder",
        AUTO,
        "image encoder file, or auto for the one that fits the adapter",
        high=260,
        label="Image encoder",
    ),
    Field(
        "unconditional",
        "trained",
        "image stream of the unconditional batch entries",
        choices=UNCONDITIONALS,
        label="Negative-prompt image",
    ),
    Field("fit", "pad", "how a picture is fitted into the encoder's square", choices=FITS, label="Image fit"),
    Field(
        "combine",
        "average",
        "how several pictures of one subject are combined",
        choices=COMBINES,
        label="Several pictures",
    ),
    Field(
        "elsewhere",
        "",
        "prompt outside all boxes; empty for the main prompt, auto for the main prompt without the subjects",
        high=MAX_PROMPT,
        label="Prompt elsewhere",
    ),
    Field(
        "words", 1.0, "share of the subjects' own prompts and of elsewhere in the text stream", label="Share of prompts"
    ),
    Field(
        "fidelity",
        0.0,
        "from the trained unconditional form (0) to cond-only (1), which acts more strongly",
        label="Fidelity",
    ),
    Field(
        SECOND_LOOK,
        AUTO,
        "subject of each inpainting by another extension (ADetailer): auto (by its mask), off, or names in order",
        high=1000,
        label="Other extensions' inpainting",
    ),
    Field(
        "refine",
        0.0,
        f"denoising strength of an inpainting of each subject after the image; 0 makes none, {USUAL_REFINING} is usual",
        label="Refine each subject",
    ),
    Field(
        "refine_padding",
        32.0,
        "pixels around a subject's visible region that its inpainting sees",
        high=256.0,
        label="Refining: padding",
        step=4.0,
    ),
    Field(
        "refine_size",
        0.0,
        "side in pixels of a square as large as each inpainting; 0 for as many pixels as the image has",
        high=2048.0,
        label="Refining: size",
        step=64.0,
    ),
    Field(
        "fade",
        1.0,
        "overall strength in the later steps, as a part of that in the early ones, which place the subjects",
        high=2.0,
        label="Later strength",
    ),
    Field(
        "fade_from",
        0.25,
        "share of the steps after which the later strength begins",
        label="Later strength: from",
    ),
)


def read_fields(
    table: tuple[Field, ...], values: dict[str, Any], where: str, also: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Every field of `table`, checked; a field that `values` lacks has its default.

    `also` names the keys that the caller reads. Raises Refused for any other key.
    """
    known = [field.name for field in table]
    for name in values:
        if name not in known and name not in also:
            raise Refused("field_unknown", where=where, got=name, expected=", ".join([*also, *known]))
    return {field.name: field.read(values.get(field.name, field.default), where) for field in table}


def is_version(value: Any, expected: int) -> bool:
    """Whether a stored version is the number `expected`; Python takes true for 1."""
    return value == expected and not isinstance(value, bool)


def _typed(value: Any, kind: type, expected: str, label: str) -> Any:
    if not isinstance(value, kind):
        raise Refused("field_type", field=label, got=_short(value), expected=expected)
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

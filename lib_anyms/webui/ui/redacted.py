"""Text that is not printed: A1111 and its like write the arguments of a failed job into their log, and a slot's are
pictures.

The hosts with gradio 4, which at times makes a component anew, print no arguments.
"""

from __future__ import annotations

from typing import Any


class Redacted(str):
    """The text itself, but for its `repr`, which tells its length."""

    def __repr__(self) -> str:
        return f"<{len(self)} characters>"


def unshown(component: Any) -> Any:
    """A text field whose values arrive as `Redacted` -> the field."""
    component.preprocess = _covered
    return component


def _covered(value: Any) -> Any:
    return Redacted(value) if isinstance(value, str) else value

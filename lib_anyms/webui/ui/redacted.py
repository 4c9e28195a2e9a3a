"""Text that a log does not print: A1111 logs the arguments of a failed job, and a slot's arguments are pictures.

Hosts with gradio 4 print no arguments. (There gradio may create a component again, and the change below would be lost.)
"""

from __future__ import annotations

from typing import Any


class Redacted(str):
    """A text whose `repr` shows only its length."""

    def __repr__(self) -> str:
        return f"<{len(self)} characters>"


def redact(component: Any) -> Any:
    """Make the values of a text field arrive as `Redacted` -> the field."""
    component.preprocess = _redacted
    return component


def _redacted(value: Any) -> Any:
    return Redacted(value) if isinstance(value, str) else value

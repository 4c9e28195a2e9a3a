"""A stand-in for gradio: components remember what they were made with; an argument that 3.41 or 4.40 lacks is an error."""

from __future__ import annotations

from typing import Any

MADE: list[Component] = []


class Component:
    positional: tuple[str, ...] = ("value",)
    allowed: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = {**dict(zip(self.positional, args)), **kwargs}
        known = {"value", "label", "visible", "elem_id", "min_width", "scale", *self.positional, *self.allowed}
        assert len(args) <= len(self.positional), f"{type(self).__name__} got {args}"
        assert given.keys() <= known, f"{type(self).__name__} got {sorted(given.keys() - known)}"
        self.value = given.get("value")
        self.label = given.get("label")
        self.visible = given.get("visible", True)
        MADE.append(self)

    def __enter__(self) -> Component:
        return self

    def __exit__(self, *_error: object) -> None:
        return None


class Textbox(Component):
    allowed = ("placeholder", "lines")


class Markdown(Component): ...


class Checkbox(Component): ...


class Number(Component):
    allowed = ("precision",)


class Image(Component):
    allowed = ("type", "image_mode", "height")


class Dropdown(Component):
    positional = ("choices",)
    allowed = ("allow_custom_value",)


class Slider(Component):
    positional = ("minimum", "maximum")
    allowed = ("step",)


class Row(Component):
    positional = ()


class Column(Row): ...


class Group(Row): ...


class Accordion(Component):
    positional = ("label",)
    allowed = ("open",)

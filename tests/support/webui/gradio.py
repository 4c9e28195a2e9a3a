"""A stand-in for gradio: components store their arguments; an argument that 3.41 or 4.40 lacks is an error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

__version__ = "3.41.2"
COMPONENTS: list[Component] = []


class Blocks:
    """The page; `loads` are its load events."""

    def __init__(self) -> None:
        self.loads: list[Any] = []

    def load(
        self, fn: Any, inputs: list[Component], outputs: list[Component], show_progress: bool | str = "full"
    ) -> None:
        self.loads.append((fn, inputs, outputs))


context = SimpleNamespace(Context=SimpleNamespace(root_block=Blocks()))


class Event:
    """What a listener returns; `afterwards` are the listeners for its end."""

    def __init__(self) -> None:
        self.afterwards: list[Any] = []

    def then(
        self, fn: Any, inputs: list[Component], outputs: list[Component], show_progress: bool | str = "full"
    ) -> None:
        self.afterwards.append((fn, inputs, outputs))


class Component:
    positional: tuple[str, ...] = ("value",)
    allowed: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        arguments = {**dict(zip(self.positional, args)), **kwargs}
        known = {
            "value",
            "label",
            "visible",
            "elem_id",
            "min_width",
            "scale",
            "elem_classes",
            *self.positional,
            *self.allowed,
        }
        assert len(args) <= len(self.positional), f"{type(self).__name__} got {args}"
        assert arguments.keys() <= known, f"{type(self).__name__} got {sorted(arguments.keys() - known)}"
        self.value = arguments.get("value")
        self.label = arguments.get("label")
        self.visible = arguments.get("visible", True)
        COMPONENTS.append(self)

    def on(
        self, event: str, fn: Any, inputs: list[Component], outputs: list[Component], show_progress: bool = True
    ) -> Event:
        self.events = {**getattr(self, "events", {}), event: (fn, inputs, outputs)}
        self.ends = Event()
        return self.ends

    def change(self, fn: Any, _js: str = "", **wiring: Any) -> None:
        if fn is None:
            self.in_browser = [*getattr(self, "in_browser", []), _js]
        else:
            self.on("change", fn, **wiring)

    def click(self, fn: Any, **wiring: Any) -> Event:
        return self.on("click", fn, **wiring)

    def __enter__(self) -> Component:
        return self

    def __exit__(self, *_error: object) -> None:
        return None


class Textbox(Component):
    allowed = ("placeholder", "lines", "max_lines", "show_copy_button")


class Markdown(Component): ...


class HTML(Component):
    def change(self, fn: Any, _js: str = "", **wiring: Any) -> None:
        raise AssertionError("gradio 4 reports a change of gr.HTML at each update of the page: an endless loop")


class Button(Component): ...


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


def update(**changes: Any) -> dict[str, Any]:
    return {"__type__": "update", **changes}

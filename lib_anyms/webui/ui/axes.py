"""Axes of the host's X/Y/Z plot: each changes one thing of AnyMS's request, for one cell's job.

The plot's cells are shallow copies of one job, so a cell is given a new list of script arguments whose first one of
ours is the changed Request itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modules import scripts

from lib_anyms.errors import Refused
from lib_anyms.job.request import Request
from lib_anyms.layout.fields import MODES, Field
from lib_anyms.layout.layout import Layout
from lib_anyms.webui.ui.panel import page_request, wanted
from lib_anyms.webui.ui.settings import adapter_names
from lib_anyms.webui.ui.slots import ROWS

TITLE = "AnyMS"  # our Script's, by which its arguments are found
PLOT = "xyz_grid.py"
AS_GIVEN, REVERSED = "as given", "reversed"
_ORDER = Field(
    "order", AS_GIVEN, "back to front as the request has it, or the other way round", choices=(AS_GIVEN, REVERSED)
)


def _set(name: str) -> Callable[[Request, Any], Request]:
    return lambda request, value: replace(request, **{name: value})


def _weigh(request: Request, weight: float) -> Request:
    layout = request.layout
    return replace(
        request, layout=layout and Layout(tuple(replace(subject, weight=weight) for subject in layout.subjects))
    )


def _turn(request: Request, order: str) -> Request:
    if order == AS_GIVEN or request.layout is None:
        return request
    layout = Layout(request.layout.subjects[::-1])
    return replace(request, layout=layout, pictures=request.pictures[::-1], cards=request.cards[::-1])


@dataclass(frozen=True)
class Axis:
    """One axis: `row` bounds its values, `change` makes the cell's request, `choices` are offered where there are any."""

    label: str
    row: Field
    change: Callable[[Request, Any], Request]
    choices: Callable[[], list[str]] | None = None

    def confirm(self, p: Any, values: Iterable[Any]) -> None:
        """Before the first cell: a cell's own error would only leave it empty."""
        for value in values:
            self.row.read(value, "the X/Y/Z plot")
            if self.row.name == "adapter" and self.choices and value not in (known := self.choices()):
                stems = [Path(name).stem for name in known]
                if value not in stems:
                    raise Refused("file_unknown", got=value, expected=", ".join(known[1:]) or "none")
        _request_of(p)

    def apply(self, p: Any, value: Any, _values: Any) -> None:
        """Change the cell's job `p`."""
        script, arguments = script_of(p), list(p.script_args)
        arguments[script.args_from] = self.change(_request_of(p), self.row.read(value, "the X/Y/Z plot"))
        p.script_args = arguments


AXES = (
    Axis("[AnyMS] scale", ROWS["scale"], _set("scale")),
    Axis("[AnyMS] mode", ROWS["mode"], _set("mode"), lambda: list(MODES)),
    Axis("[AnyMS] weight of all", ROWS["weight"], _weigh),
    Axis("[AnyMS] order", _ORDER, _turn, lambda: [AS_GIVEN, REVERSED]),
    Axis("[AnyMS] adapter", ROWS["adapter"], _set("adapter"), adapter_names),
)


def script_of(p: Any) -> Any:
    """Our Script among those of the job."""
    return next(script for script in p.scripts.alwayson_scripts if script.title() == TITLE)


def _request_of(p: Any) -> Request:
    """The job's request, which must be on."""
    script = script_of(p)
    values = list(p.script_args)[script.args_from : script.args_to]
    request = page_request(values) if wanted(values) else None
    if request is None or not request.enabled:
        raise Refused("axis_off")
    return request


def register() -> None:
    """on_before_ui: at the end of the plot's list, each once; a host without the plot stays as it is."""
    for module in _plots():
        there = {option.label for option in module.axis_options}
        module.axis_options += [_option(module, axis) for axis in AXES if axis.label not in there]


def _option(module: Any, axis: Axis) -> Any:
    kind = str if isinstance(axis.row.default, str) else float
    return module.AxisOption(axis.label, kind, axis.apply, confirm=axis.confirm, choices=axis.choices)


def _plots() -> list[Any]:
    """The plot's modules, told by their file's name and by what we need of them; hosts do not put them into
    sys.modules.
    """
    loaded = {id(data.module): data.module for data in scripts.scripts_data if Path(data.path).name == PLOT}
    return [module for module in loaded.values() if hasattr(module, "axis_options") and hasattr(module, "AxisOption")]

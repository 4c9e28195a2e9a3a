"""Axes for the host's X/Y/Z plot: each changes one value of AnyMS's request, for the job of one cell.

The jobs of the cells are shallow copies of one job. So each cell gets a new list of script arguments, and our first
argument in it is the changed Request.
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
from lib_anyms.webui.ui.panel import page_request, uses_anyms
from lib_anyms.webui.ui.settings import adapter_names
from lib_anyms.webui.ui.slots import FIELDS

TITLE = "AnyMS"  # of our Script, to find its arguments
PLOT = "xyz_grid.py"
AS_GIVEN, REVERSED = "as given", "reversed"
_ORDER = Field(
    "order", AS_GIVEN, "back to front as the request has it, or the other way round", choices=(AS_GIVEN, REVERSED)
)


def _set(name: str) -> Callable[[Request, Any], Request]:
    return lambda request, value: replace(request, **{name: value})


def _weigh(request: Request, weight: float) -> Request:
    if request.layout is None:
        return request
    subjects = tuple(replace(subject, weight=weight) for subject in request.layout.subjects)
    return replace(request, layout=Layout(subjects))


def _share(request: Request, words: float) -> Request:
    """Raises Refused where no text is local: every cell would be the same."""
    if not replace(request, words=1.0).has_words:
        raise Refused("axis_words")
    return replace(request, words=words)


def _turn(request: Request, order: str) -> Request:
    if order == AS_GIVEN or request.layout is None:
        return request
    layout = Layout(request.layout.subjects[::-1])
    return replace(request, layout=layout, pictures=request.pictures[::-1], cards=request.cards[::-1])


@dataclass(frozen=True)
class Axis:
    """One axis: `field` checks its values, `change` makes the cell's request, `choices` lists the values to pick."""

    label: str
    field: Field
    change: Callable[[Request, Any], Request]
    choices: Callable[[], list[str]] | None = None

    def confirm(self, p: Any, values: Iterable[Any]) -> None:
        """Check all values before the first cell runs: an error within a cell would only leave it empty."""
        request = _request_of(p)
        for value in values:
            self.change(request, self.field.read(value, "the X/Y/Z plot"))
            if self.field.name == "adapter" and self.choices:
                _check_adapter(value, self.choices())

    def apply(self, p: Any, value: Any, _values: Any) -> None:
        """Change the cell's job `p`."""
        script, arguments = script_of(p), list(p.script_args)
        arguments[script.args_from] = self.change(_request_of(p), self.field.read(value, "the X/Y/Z plot"))
        p.script_args = arguments


AXES = (
    Axis("[AnyMS] scale", FIELDS["scale"], _set("scale")),
    Axis("[AnyMS] fade", FIELDS["fade"], _set("fade")),
    Axis("[AnyMS] mode", FIELDS["mode"], _set("mode"), lambda: list(MODES)),
    Axis("[AnyMS] weight of all", FIELDS["weight"], _weigh),
    Axis("[AnyMS] order", _ORDER, _turn, lambda: [AS_GIVEN, REVERSED]),
    Axis("[AnyMS] adapter", FIELDS["adapter"], _set("adapter"), adapter_names),
    Axis("[AnyMS] words", FIELDS["words"], _share),
    Axis("[AnyMS] elsewhere", FIELDS["elsewhere"], _set("elsewhere")),
    Axis("[AnyMS] refine", FIELDS["refine"], _set("refine")),
)


def _check_adapter(name: Any, offered: list[str]) -> None:
    """Raises Refused unless `name` is a file name, or its stem, of the list (first entry: "auto")."""
    if name not in offered and name not in [Path(file).stem for file in offered]:
        raise Refused("file_unknown", got=name, expected=", ".join(offered[1:]) or "none")


def script_of(p: Any) -> Any:
    """Our Script among the scripts of the job `p`."""
    return next(script for script in p.scripts.alwayson_scripts if script.title() == TITLE)


def _request_of(p: Any) -> Request:
    """The job's request. Raises Refused if AnyMS is off."""
    script = script_of(p)
    values = list(p.script_args)[script.args_from : script.args_to]
    request = page_request(values) if uses_anyms(values) else None
    if request is None or not request.enabled:
        raise Refused("axis_off")
    return request


def register() -> None:
    """on_before_ui: add our axes at the end of the plot's list, each once. A host may have no plot."""
    for module in _plots():
        labels = {option.label for option in module.axis_options}
        module.axis_options += [_option(module, axis) for axis in AXES if axis.label not in labels]


def _option(module: Any, axis: Axis) -> Any:
    kind = str if isinstance(axis.field.default, str) else float
    return module.AxisOption(axis.label, kind, axis.apply, confirm=axis.confirm, choices=axis.choices)


def _plots() -> list[Any]:
    """The plot's modules, by file name and by the names we need. Hosts do not put them into sys.modules."""
    loaded = {id(data.module): data.module for data in scripts.scripts_data if Path(data.path).name == PLOT}
    return [module for module in loaded.values() if hasattr(module, "axis_options") and hasattr(module, "AxisOption")]

"""From scores to tables: metrics by mode with intervals, AnyMS minus each mode, costs, the paper's numbers."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lib_anyms.lab.benchmark.painting import HostFiles
from lib_anyms.lab.benchmark.run import Run
from lib_anyms.lab.benchmark.scoring import KINDS, Kind
from lib_anyms.lab.evaluation.results import minus, versions
from lib_anyms.lab.evaluation.scoring import Estimate, Values, difference, estimate, mean
from lib_anyms.lab.evaluation.suites import OURS

ALL = "all"  # the group of all scenes
# Above every table.
CAUTION = (
    "The paper's table cannot be repeated exactly: its prompts, boxes, detector and CLIP variant are not published. "
    "Compare modes within this table; the paper's numbers stand beside it for orientation only."
)
PROTOCOL = (
    "The paper: 29 subjects of DreamBooth, CustomConcept101 and Textual Inversion in 11 combinations of 2 to 5; its "
    "ablation: 7 combinations of at least 3. Here: the scenes, models and factors named in this report; AP50 is the "
    "mean of each picture's average precision, not one curve over all pictures; intervals are over scenes."
)
RESULTS, REPORT = "results.json", "report.html"


@dataclass(frozen=True)
class PaperRow:
    """Numbers of arXiv 2512.23537, by the letters of Kind.paper, in its own factor."""

    name: str
    mode: str
    numbers: Mapping[str, float]


PAPER = (
    PaperRow(
        "AnyMS, table 1",
        OURS,
        {"mIoU": 49.75, "AP50": 35.65, "CLIP-I": 74.46, "DINO": 54.64, "DreamSim": 59.62, "CLIP-T": 35.82},
    ),
    PaperRow("AnyMS, ablation", OURS, {"mIoU": 44.55, "CLIP-I": 73.45, "CLIP-T": 36.50}),
    PaperRow("masked sum, ablation", "masked-sum", {"mIoU": 38.78, "CLIP-I": 72.13, "CLIP-T": 35.67}),
)
PAPER_COST = "The paper: 19 s and 11 GB a picture, on a GPU that it does not relate to a number of steps here."


@dataclass(frozen=True)
class Column:
    """A metric of one model."""

    kind: Kind
    model: str

    @property
    def title(self) -> str:
        """With model and factor: "mIoU, Grounding DINO tiny, x 100"."""
        return f"{self.kind.title}, {self.model}, x {self.kind.factor:g}"

    @property
    def paper(self) -> str:
        """How the paper names it: "CLIP-I" for a CLIP's image similarity; "" if it has none."""
        if self.kind.paper == "I":
            family = self.model.split()[0]
            return {"CLIP": "CLIP-I", "DINO": "DINO", "DreamSim": "DreamSim"}.get(family, "")
        return self.kind.paper


@dataclass(frozen=True)
class Cell:
    """One mode's number in one column and group; less: AnyMS minus this mode, on the same pictures."""

    column: Column
    mode: str
    group: str
    value: Estimate
    less: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """In the column's factor."""
        factor = self.column.kind.factor
        facts = {"metric": self.column.kind.name, "model": self.column.model, "factor": factor}
        facts |= {"mode": self.mode, "group": self.group, **_scaled(self.value, factor)}
        return facts | ({minus("this"): _scaled(self.less, factor)} if self.less else {})


def _scaled(one: Estimate, factor: float) -> dict[str, float]:
    return {"value": one.value * factor, "low": one.low * factor, "high": one.high * factor, "n": one.n}


@dataclass(frozen=True)
class Table:
    """All cells, and each mode's mean seconds and peak MiB a picture."""

    cells: tuple[Cell, ...]
    costs: Mapping[str, tuple[float, float | None, int]]

    def columns(self) -> list[Column]:
        """Metric by metric."""
        order = list(KINDS)
        unique = dict.fromkeys(cell.column for cell in self.cells)
        return sorted(unique, key=lambda column: order.index(column.kind.name))

    def groups(self) -> list[str]:
        """All scenes first."""
        return list(dict.fromkeys(cell.group for cell in self.cells))

    def row(self, column: Column, group: str = ALL) -> list[Cell]:
        """A column's cells, by mode."""
        return [cell for cell in self.cells if (cell.column, cell.group) == (column, group)]


Pairs = dict[tuple[int, int], float]  # (scene, seed) -> value


def collect(run: Run) -> Table:
    """The table of all pictures that are scored."""
    values: dict[tuple[Column, str], Pairs] = {}
    numbers = {scene: number for number, scene in enumerate(run.bench.scenes)}
    for job in run.jobs():
        sample, mode = job
        for score in run.scores(job):
            for name, value in score.values.items():
                pairs = values.setdefault((Column(KINDS[name], score.model), mode), {})
                pairs[numbers[sample.scene], sample.seed] = value
    cells: list[Cell] = []
    for group, scenes in _groups(run).items():
        for column, mode in values:
            here = {pair: value for pair, value in values[column, mode].items() if pair[0] in scenes}
            ours = values.get((column, OURS), {})
            cells += _cell(column, mode, group, here, ours)
    order = list(run.modes)
    return Table(tuple(sorted(cells, key=lambda cell: order.index(cell.mode))), _costs(run))


def _groups(run: Run) -> dict[str, set[int]]:
    """The scenes' numbers by group; one group only is the same as all."""
    groups: dict[str, set[int]] = {ALL: set(range(len(run.bench.scenes)))}
    for number, scene in enumerate(run.bench.scenes):
        if scene.group:
            groups.setdefault(scene.group, set()).add(number)
    return groups if len(groups) > 2 else {ALL: groups[ALL]}


def _cell(column: Column, mode: str, group: str, pairs: Pairs, ours: Pairs) -> Iterator[Cell]:
    value = estimate(_by_scene(pairs))
    if value is None:
        return
    both = {pair: ours[pair] for pair in pairs if pair in ours}
    less = None
    if mode != OURS and both:
        less = estimate(difference(_by_scene(both), _by_scene({pair: pairs[pair] for pair in both})))
    yield Cell(column, mode, group, value, less)


def _by_scene(pairs: Pairs) -> Values:
    """A scene's mean over its seeds: seeds of one scene are not independent."""
    by_scene: dict[int, list[float]] = {}
    for scene, seed in sorted(pairs):
        by_scene.setdefault(scene, []).append(pairs[scene, seed])
    return {scene: fmean(values) for scene, values in by_scene.items()}


def _costs(run: Run) -> dict[str, tuple[float, float | None, int]]:
    costs = {}
    for mode in run.modes:
        known = [cost for job in run.jobs() if job[1] == mode and (cost := run.cost(job))]
        if known:
            seconds = mean(dict(enumerate(cost.seconds for cost in known)))
            peaks = [cost.mib for cost in known if cost.mib is not None]
            costs[mode] = seconds, max(peaks, default=None), len(known)
    return costs


def lines(table: Table) -> Iterator[str]:
    """The table for a terminal: a block for each column."""
    for column in table.columns():
        yield from ("", CAUTION, "", f"{column.title}: {column.kind.help}")
        yield f"  {'mode':<18}{'value (95 %)':<26}{'crop-merge minus it (95 %)':<30}scenes"
        for cell in table.row(column):
            factor = column.kind.factor
            less = text(cell.less, factor, "+") if cell.less else ""
            yield f"  {cell.mode:<18}{text(cell.value, factor):<26}{less:<30}{cell.value.n}"
        yield from (f"  paper: {line}" for line in paper_lines(column))
    yield from ("", *cost_lines(table))


def paper_lines(column: Column) -> list[str]:
    """The paper's numbers of this metric."""
    rows = [row for row in PAPER if column.paper in row.numbers]
    return [f"{row.name} {row.numbers[column.paper]:.2f} (its {column.paper})" for row in rows]


def cost_lines(table: Table) -> Iterator[str]:
    """Seconds and memory; no quality, so these differ from run to run."""
    yield f"  {'mode':<18}{'seconds a picture':<20}{'peak MiB':<12}pictures"
    for mode, (seconds, mib, count) in table.costs.items():
        yield f"  {mode:<18}{seconds:<20.2f}{'unknown' if mib is None else f'{mib:.0f}':<12}{count}"
    yield PAPER_COST


def text(one: Estimate, factor: float, sign: str = "") -> str:
    """In the factor, with two digits: "44.55 (41.02 to 48.11)"."""
    value, low, high = (format(part * factor, f"{sign}.2f") for part in (one.value, one.low, one.high))
    return f"{value} ({low} to {high})"


def settings_of(run: Run) -> dict[str, Any]:
    """All that a reader needs to make the same numbers."""
    models = {f"{spec.role} {spec.folder.name}": spec.hash for spec in run.specs.all}
    facts = {**asdict(run.settings), "side": run.files.side, "hosts": list(run.hosts), "modes": list(run.modes)}
    bench = {"name": run.bench.name, "scenes": len(run.bench.scenes), "pictures": len(run.jobs())}
    hosted = isinstance(run.files, HostFiles)
    return {
        "bench": bench,
        "notes": list(run.bench.notes),
        "models": models,
        "files are names only": hosted,
    } | versions(run.files.hashes(), facts)


def write_results(run: Run, table: Table) -> Path:
    """results.json: {settings, caution, protocol, rows, costs, paper}."""
    costs = {mode: {"seconds": cost[0], "mib": cost[1], "n": cost[2]} for mode, cost in table.costs.items()}
    content = {
        "settings": {**settings_of(run), "machine": platform.machine()},
        "caution": CAUTION,
        "protocol": PROTOCOL,
        "rows": [cell.to_json() for cell in table.cells],
        "costs": costs,
        "paper": [asdict(row) for row in PAPER],
    }
    path = run.out / RESULTS
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def ranked(run: Run, column: Column) -> Sequence[tuple[float, int]]:
    """(value, number of the job) of AnyMS's pictures in this column, worst first."""
    values = []
    for number, job in enumerate(run.jobs()):
        if job[1] != OURS:
            continue
        for score in run.scores(job):
            if score.model == column.model and column.kind.name in score.values:
                values.append((score.values[column.kind.name], number))
    return sorted(values)

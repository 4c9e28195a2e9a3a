"""One HTML file with pictures inside: tables, contact sheets with boxes and detections, best and worst, settings."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw

from lib_anyms.lab.benchmark.painting import Job
from lib_anyms.lab.benchmark.run import Run
from lib_anyms.lab.benchmark.scoring import Score
from lib_anyms.lab.benchmark.tables import (
    ALL,
    CAUTION,
    PAPER_COST,
    PROTOCOL,
    REPORT,
    Cell,
    Column,
    Table,
    paper_lines,
    ranked,
    settings_of,
    text,
)
from lib_anyms.lab.evaluation.suites import MODES, OURS
from lib_anyms.standalone.drawing import COLOURS, draw_layout

SHEET_SCENES, EXTREMES = 12, 10  # scenes of the contact sheet; best and worst pictures
_SIDE, _REFERENCE = 256, 96  # pixels of a picture and of a reference in the report
_DASH = 6  # pixels
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; } .caution { background: #fff4d6; padding: .6em .8em; }
table { border-collapse: collapse; margin: .8em 0; } th, td { padding: .25em .7em; text-align: right; }
th { border-bottom: 2px solid #888; font-weight: 600; } td { border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } .ours { font-weight: 600; background: #eef6ff; }
.interval { color: #666; font-size: .85em; } .sheet { display: grid; gap: 6px; overflow-x: auto; margin: 1em 0; }
.sheet img { display: block; max-width: 100%; } .sheet figure { margin: 0; }
figcaption { font-size: .8em; color: #444; }
.refs { display: flex; flex-wrap: wrap; gap: 4px; align-content: flex-start; }
.prompt { grid-column: 1 / -1; margin: .8em 0 0; }
.row { display: flex; flex-wrap: wrap; gap: 8px; } .row figure { margin: 0; width: 256px; } pre { overflow-x: auto; }
"""


def write_report(run: Run, table: Table) -> Path:
    """Write report.html -> its path. It needs no server and no network."""
    parts = ["<!doctype html><html lang=en><meta charset=utf-8>", f"<title>AnyMS on {escape(run.bench.name)}</title>"]
    parts += ["<meta name=viewport content='width=device-width'>", f"<style>{_STYLE}</style>"]
    parts += _head(run)
    for group in table.groups():
        parts += _group(table, group)
    parts += _costs(table)
    parts += ["<h2>Pictures</h2>", _LEGEND, *_sheet(run)]
    parts += _extremes(run, table)
    settings = json.dumps(settings_of(run), indent=1, ensure_ascii=False)
    parts += ["<h2>Settings</h2>", f"<pre>{escape(settings)}</pre></html>\n"]
    path = run.out / REPORT
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


_LEGEND = (
    "<p>Solid frames are the boxes that AnyMS got, dashed ones what the first detector found for the same subject. "
    "A mode's first seed of each scene is shown.</p>"
)


def _head(run: Run) -> Iterator[str]:
    pictures = len(run.jobs())
    yield f"<h1>AnyMS on {escape(run.bench.name)}: {len(run.bench.scenes)} scenes, {pictures} pictures</h1>"
    yield f"<p>{escape(PROTOCOL)}</p>"
    if run.bench.notes:
        yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in run.bench.notes) + "</ul>"


def _group(table: Table, group: str) -> Iterator[str]:
    """A table for each family of columns would hide the paper's row: all columns of a group are one table."""
    title = "All scenes" if group == ALL else group
    yield f"<h2>{escape(title)}</h2>"
    for column in table.columns():
        cells = table.row(column, group)
        if cells:
            yield from _column(column, cells, group == ALL)


def _column(column: Column, cells: Sequence[Cell], with_paper: bool) -> Iterator[str]:
    factor = column.kind.factor
    yield f"<p class=caution>{escape(CAUTION)}</p>"
    yield f"<table><caption><b>{escape(column.title)}</b>: {escape(column.kind.help)}</caption>"
    yield f"<tr><th>mode<th>value (95 %)<th>{OURS} minus it (95 %)<th>scenes</tr>"
    for cell in cells:
        ours = " class=ours" if cell.mode == OURS else ""
        less = text(cell.less, factor, "+") if cell.less else ""
        help_ = escape(MODES[cell.mode].help, quote=True)
        numbers = f"<td>{text(cell.value, factor)}<td>{less}<td>{cell.value.n}"
        yield f"<tr{ours}><td title='{help_}'>{cell.mode}{numbers}</tr>"
    for line in paper_lines(column) if with_paper else ():
        yield f"<tr><td colspan=4 class=interval>The paper, other protocol: {escape(line)}</tr>"
    yield "</table>"


def _costs(table: Table) -> Iterator[str]:
    yield f"<h2>Costs</h2><p class=caution>{escape(CAUTION)}</p>"
    yield "<table><tr><th>mode<th>seconds a picture<th>peak MiB<th>pictures</tr>"
    for mode, (seconds, mib, count) in table.costs.items():
        yield f"<tr><td>{mode}<td>{seconds:.2f}<td>{'unknown' if mib is None else f'{mib:.0f}'}<td>{count}</tr>"
    yield f"</table><p>{escape(PAPER_COST)}</p>"


def _sheet(run: Run) -> Iterator[str]:
    """A line for each of some scenes, spread over all: references, then each mode."""
    scenes = run.bench.fewer(SHEET_SCENES).scenes
    columns = " ".join(["200px", *[f"minmax(120px, {_SIDE}px)"] * len(run.modes)])
    yield f"<div class=sheet style='grid-template-columns: {columns}'>"
    for job in run.jobs():
        sample, mode = job
        if sample.scene not in scenes or sample.seed != sample.scene.seeds[0] or mode != run.modes[0]:
            continue
        yield f"<p class=prompt><b>{escape(sample.scene.name)}</b> {escape(sample.prompt)}</p><div class=refs>"
        for subject, pictures in zip(sample.scene.subjects, sample.references()):
            for picture in pictures:
                yield _image(picture, _REFERENCE, subject.name)
        yield "</div>"
        for name in run.modes:
            yield _figure(run, (sample, name), name)
    yield "</div>"


def _figure(run: Run, job: Job, caption: str) -> str:
    path = run.picture(job)
    if not path.is_file():
        return f"<figure><figcaption>{escape(caption)}: not made yet</figcaption></figure>"
    with Image.open(path) as file:
        picture = file.convert("RGB")
    scores = run.scores(job)
    first = next((score for score in scores if score.detections), None)
    drawn = draw_detections(draw_layout(picture, job[0].scene.layout), first, job)
    return f"<figure>{_image(drawn, _SIDE, caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def draw_detections(picture: Image.Image, score: Score | None, job: Job) -> Image.Image:
    """Dashed frames in the colour of the subject with the detection's name; white where it has none."""
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    names = [subject.name for subject in job[0].scene.subjects]
    for one in score.detections if score else ():
        colour = COLOURS[names.index(one.name) % len(COLOURS)] if one.name in names else "white"
        left, right = one.box.x0 * width, one.box.x1 * width - 1
        top, bottom = one.box.y0 * height, one.box.y1 * height - 1
        for edge in ((left, top, right, top), (left, bottom, right, bottom)):
            _dashes(draw, edge, colour, width)
        for edge in ((left, top, left, bottom), (right, top, right, bottom)):
            _dashes(draw, edge, colour, width)
    return picture


def _dashes(draw: ImageDraw.ImageDraw, edge: tuple[float, float, float, float], colour: str, width: int) -> None:
    """A dashed line from left to right or from top to bottom, in a picture of this width."""
    x0, y0, x1, y1 = edge
    dash, line = _DASH * max(1, width // _SIDE), max(2, width // 300)
    for start in range(0, max(1, int(max(x1 - x0, y1 - y0))), 2 * dash):
        end = start + dash
        if x1 > x0:
            draw.line((x0 + start, y0, min(x0 + end, x1), y1), fill=colour, width=line)
        else:
            draw.line((x0, y0 + start, x1, min(y0 + end, y1)), fill=colour, width=line)


def _image(picture: Image.Image, side: int, alt: str) -> str:
    small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "WEBP", quality=80)
    address = base64.b64encode(data.getvalue()).decode()
    size = f"width={small.width} height={small.height}"
    return f"<img src='data:image/webp;base64,{address}' {size} alt='{escape(alt, quote=True)}'>"


def _extremes(run: Run, table: Table) -> Iterator[str]:
    """AnyMS's best and worst pictures by the first column."""
    columns = table.columns()
    values = ranked(run, columns[0]) if columns else []
    jobs = run.jobs()
    # Few pictures: no picture is both.
    most = min(EXTREMES, len(values) // 2)
    for title, chosen in (("Worst", values[:most]), ("Best", values[::-1][:most])):
        if chosen:
            yield f"<h2>{title} {len(chosen)} of {OURS} by {escape(columns[0].title)}</h2><div class=row>"
            for value, number in chosen:
                sample = jobs[number][0]
                name = f"{value * columns[0].kind.factor:.1f}: {sample.scene.name}, seed {sample.seed}"
                yield _figure(run, jobs[number], name)
            yield "</div>"

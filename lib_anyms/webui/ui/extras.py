"""Extra output of one Generate, started by a button of the editor: a comparison, or influence maps.

COMPARISON, of three modes or with and without local text. before_process copies the job `p` for each other version and
runs the copies. At that point `p` itself has not started, so these are separate jobs one after the other, like the
cells of an X/Y/Z plot, and the host carries nothing over. Their images wait here for the postprocess of `p`; the start
of another job drops them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from modules import images, processing, shared
from PIL import Image

from lib_anyms.errors import Noted, Refused
from lib_anyms.hosts.viewport import picture_viewport, running_script
from lib_anyms.job.live_sessions import outer_session
from lib_anyms.job.request import Request
from lib_anyms.layout.fields import OFF
from lib_anyms.layout.geometry import WHOLE, TokenGrid, Viewport
from lib_anyms.runtime import runtime
from lib_anyms.webui.ui import drawing, panel
from lib_anyms.webui.ui.axes import script_of
from lib_anyms.webui.ui.panel import COMPARISON, MAPS, WORDS

log = logging.getLogger("anyms")

OWN = "crop-merge"  # the job's own mode in a comparison; the other versions run before it


@dataclass(frozen=True)
class Kind:
    """A kind of comparison: the title of the job's own image, and the changed fields of the others by title."""

    title: str
    others: dict[str, dict[str, Any]]


KINDS = {
    COMPARISON: Kind("crop and merge (AnyMS)", {"without AnyMS": {"mode": OFF}, "masked sum": {"mode": "masked-sum"}}),
    WORDS: Kind("with the subjects' prompts", {"the main prompt everywhere": {"words": 0.0}}),
}


@dataclass(frozen=True)
class OtherImage:
    """The image of one other version, with its title and its infotext."""

    title: str
    image: Image.Image
    infotext: str


@dataclass(frozen=True)
class Comparison:
    """The other versions' images for the job `job` (compared by identity); `request` is the one of the job itself."""

    job: Any
    request: Request
    kind: Kind
    others: tuple[OtherImage, ...]


class ComparisonState:
    """The comparison that waits for its job's postprocess, and the jobs of other versions that run now."""

    def __init__(self) -> None:
        self.waiting: Comparison | None = None
        self.running: list[Any] = []

    def clear(self) -> None:
        self.waiting = None
        self.running.clear()

    def runs(self, p: Any) -> bool:
        """Whether `p` is the job of another version."""
        return any(p is job for job in self.running)


state = runtime.of(ComparisonState)


def begin(p: Any, values: Sequence[Any]) -> None:
    """before_process, after lifecycle.job_begins: make the other images of a comparison."""
    if state.runs(p):
        return
    state.waiting = None
    kind = KINDS.get(panel.extra_output(values))
    if kind is None:
        return
    try:
        request = replace(panel.page_request(values), mode=OWN)
    except Refused:  # the job itself reports it
        return
    if not request.enabled:  # no subject; the job itself says so
        return
    obstacle = _obstacle(p, kind, request)
    if obstacle is not None:
        _note(p, *obstacle)
        return
    processing.fix_seed(p)
    p.n_iter = p.batch_size = 1
    p.do_not_save_grid = True
    shared.state.job_count = 1 + len(kind.others)
    try:
        others = _other_images(p, kind, request)
    except Exception as error:  # the host would only log it; the job itself continues
        log.exception("a comparison's job failed")
        _note(p, f"{type(error).__name__}: {error}", "Fix that and compare again.")
        return
    _set_request(p, request)
    state.waiting = Comparison(p, request, kind, others)


def _obstacle(p: Any, kind: Kind, request: Request) -> tuple[str, str] | None:
    """Why there is nothing to compare, and what to do."""
    script = running_script(p)
    if script:
        return f"the script {script} is chosen", "Leave the script out to compare."
    if kind is KINDS[WORDS] and not request.has_words:
        return "the subjects have no prompts, or their share is 0", "Write a prompt for a subject and compare again."
    return None


def end(p: Any, processed: Any) -> None:
    """postprocess, before lifecycle.job_ends: add the images to the host's gallery."""
    comparison = state.waiting
    if comparison is not None and comparison.job is p:
        state.waiting = None
        _show_comparison(comparison, p, processed)
    session = outer_session()
    if session is not None and session.job is p and session.influence is not None:
        _show_maps(session, p, processed)


def wants_maps(values: Sequence[Any]) -> bool:
    """Whether this job must record the subjects' influence."""
    return panel.extra_output(values) == MAPS


# -- the comparison ----------------------------------------------------------------------------------------------------


def _note(p: Any, reason: str, remedy: str) -> None:
    note = str(Noted("no_comparison", got=reason, remedy=remedy))
    p.comment(note)
    log.warning(note)


def _set_request(p: Any, request: Request) -> None:
    script, arguments = script_of(p), list(p.script_args)
    arguments[script.args_from] = request
    p.script_args = arguments


def _stopped() -> bool:
    return bool(shared.state.interrupted or getattr(shared.state, "stopping_generation", False))


def _other_images(p: Any, kind: Kind, request: Request) -> tuple[OtherImage, ...]:
    """One image for each other version; fewer if the user stops."""
    images = []
    for title, changes in kind.others.items():
        image = None if _stopped() else _make(p, replace(request, **changes), title)
        if image is not None:
            images.append(image)
    return tuple(images)


def _make(p: Any, request: Request, title: str) -> OtherImage | None:
    """Run a copy of `p`. The copy has its own dicts and lists, because the host writes into them."""
    job = copy(p)
    job.styles = list(p.styles or [])
    job.extra_generation_params = dict(p.extra_generation_params)
    job.comments = dict(p.comments) if isinstance(getattr(p, "comments", None), dict) else {}
    job.override_settings = dict(p.override_settings)
    _set_request(job, request)
    state.running.append(job)
    try:
        done = processing.process_images(job)
    finally:
        state.running.remove(job)
        job.close()
    if not done.images:
        return None
    first = done.index_of_first_image
    return OtherImage(title, done.images[first], done.infotexts[first])


def _show_comparison(comparison: Comparison, p: Any, processed: Any) -> None:
    """Put a sheet with boxes first, then the other versions' images, then the job's own."""
    first = processed.index_of_first_image
    shown = [(other.image, other.infotext) for other in comparison.others]
    complete = len(comparison.others) == len(comparison.kind.others) and len(processed.images) > first
    if complete:  # else the user stopped one of the jobs
        columns = [(other.title, other.image) for other in comparison.others]
        columns.append((comparison.kind.title, processed.images[first]))
        sheet, infotext = _sheet(columns, comparison.request, p), processed.infotexts[first]
        _save(sheet, p, infotext)
        shown.insert(0, (sheet, infotext))
    processed.images[first:first] = [image for image, _ in shown]
    processed.infotexts[first:first] = [infotext for _, infotext in shown]
    # The sheet counts as a grid: the host's lists of prompts and seeds start at this index.
    processed.index_of_first_image = first + int(complete)
    for name in ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds"):
        values = getattr(processed, name, None)
        if values:
            setattr(processed, name, [*values[:1] * len(comparison.others), *values])


def _sheet(columns: Sequence[tuple[str, Image.Image]], request: Request, p: Any) -> Image.Image:
    layout, viewport = request.layout, picture_viewport(p)
    if layout:
        columns = [(title, drawing.with_boxes(image, layout, viewport, images.get_font)) for title, image in columns]
    return drawing.side_by_side(columns, images.get_font)


def _save(sheet: Image.Image, p: Any, infotext: str) -> None:
    """Save like one of the host's grids, if the host saves grids."""
    sheet.info["parameters"] = infotext
    if shared.opts.grid_save and p.outpath_grids and not getattr(p, "do_not_save_samples", False):
        images.save_image(
            sheet,
            p.outpath_grids,
            "anyms",
            p.all_seeds[0],
            p.all_prompts[0],
            shared.opts.grid_format,
            info=infotext,
            short_filename=not shared.opts.grid_extended_filename,
            p=p,
            grid=True,
        )


# -- the maps ----------------------------------------------------------------------------------------------------------


def _show_maps(session: Any, p: Any, processed: Any) -> None:
    """Append one map per subject of the last pass: where in its visible tokens it acts, and how much."""
    stream, first = session.stream, processed.index_of_first_image
    result = session.influence.shares(stream.grids) if stream is not None else None
    if result is None or len(processed.images) <= first:
        return
    grid, shares = result
    image = _in_viewport(processed.images[first], session.viewport, p)
    for subject, tokens in zip(stream.layout.subjects, stream.layout.visible_tokens(grid)):
        rows = _rows_of(grid, shares, set(tokens))
        mean = sum(shares[token] for token in tokens) / max(1, len(tokens))
        title = f"{subject.name}: {mean:.0%} of the update"
        sheet = drawing.side_by_side([(title, drawing.heat(image, rows))], images.get_font)
        _save(sheet, p, processed.infotexts[first])
        processed.images.append(sheet)
        processed.infotexts.append(processed.infotexts[first])


def _rows_of(grid: TokenGrid, shares: Sequence[float], owned: set[int]) -> list[list[float]]:
    """The shares as rows of the grid, 0 for tokens that the subject does not own."""
    rows = []
    for start in range(0, grid.width * grid.height, grid.width):
        row = range(start, start + grid.width)
        rows.append([shares[token] if token in owned else 0.0 for token in row])
    return rows


def _in_viewport(image: Image.Image, viewport: Viewport, p: Any) -> Image.Image:
    """The part of the finished image that the last pass rendered."""
    if viewport in (WHOLE, picture_viewport(p)):
        return image
    width, height = image.size
    left, right = round(viewport.x0 * width), round(viewport.x1 * width)
    top, bottom = round(viewport.y0 * height), round(viewport.y1 * height)
    return image.crop((left, top, right, bottom))

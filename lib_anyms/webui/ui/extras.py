"""What a button of the editor asks of one Generate beside its picture: a comparison of three modes, or maps of the
subjects.

COMPARISON. The other modes' jobs are copies of `p`, made and run in before_process: nothing of the job itself has begun
then, so they are jobs one after the other, as an X/Y/Z plot's cells are, and the host leaves nothing of one to the
next. What they gave waits here for `p`'s own postprocess, and is forgotten when another job begins.
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
from lib_anyms.job.request import Request
from lib_anyms.job.session import live
from lib_anyms.layout.fields import OFF
from lib_anyms.layout.geometry import WHOLE, Viewport
from lib_anyms.webui.ui import drawing, panel
from lib_anyms.webui.ui.axes import script_of
from lib_anyms.webui.ui.panel import COMPARISON, MAPS

log = logging.getLogger("anyms")

OWN = "crop-merge"  # the job's own mode in a comparison; the others are made before it
OTHERS = {OFF: "without AnyMS", "masked-sum": "masked sum"}
OWN_TITLE = "crop and merge (AnyMS)"


@dataclass(frozen=True)
class Made:
    """What one of the other modes' jobs gave: its title, its picture, and its infotext."""

    title: str
    picture: Image.Image
    infotext: str


@dataclass(frozen=True)
class Comparison:
    """Of the job `job`, told by identity; `request` is the one the job itself is made with."""

    job: Any
    request: Request
    others: tuple[Made, ...]


_waiting: Comparison | None = None


def begin(p: Any, values: Sequence[Any]) -> None:
    """before_process, after lifecycle.job_begins: makes the other pictures of a comparison."""
    global _waiting
    if _is_other(p):
        return
    _waiting = None
    if panel.asked(values) != COMPARISON:
        return
    script = running_script(p)
    if script:
        _tell(p, f"the script {script} is chosen", "Leave the script out to compare.")
        return
    try:
        request = replace(panel.page_request(values), mode=OWN)
    except Refused:  # the job itself says so
        return
    processing.fix_seed(p)
    p.n_iter = p.batch_size = 1
    p.do_not_save_grid = True
    shared.state.job_count = 1 + len(OTHERS)
    try:
        made = [_make(p, replace(request, mode=mode), title) for mode, title in OTHERS.items() if not _stopped()]
    except Exception as error:  # whatever it is: the host would only log it, and the job itself goes on
        log.exception("a comparison's job failed")
        _tell(p, f"{type(error).__name__}: {error}", "Set that right and compare again.")
        return
    _give(p, request)
    _waiting = Comparison(p, request, tuple(filter(None, made)))


def end(p: Any, processed: Any) -> None:
    """postprocess, before lifecycle.job_ends: hands the pictures to the host's gallery."""
    global _waiting
    waiting, _waiting = (_waiting, None) if _waiting is not None and _waiting.job is p else (None, _waiting)
    if waiting is not None:
        _show_comparison(waiting, p, processed)
    session = live()
    if session is not None and session.job is p and session.influence is not None:
        _show_maps(session, p, processed)


def wants_maps(values: Sequence[Any]) -> bool:
    """Whether this job's influence is to be recorded."""
    return panel.asked(values) == MAPS


# -- the comparison ----------------------------------------------------------------------------------------------------

_others: list[Any] = []  # the job of another mode that runs now


def _tell(p: Any, reason: str, remedy: str) -> None:
    note = str(Noted("no_comparison", got=reason, remedy=remedy))
    p.comment(note)
    log.warning(note)


def _is_other(p: Any) -> bool:
    return any(p is job for job in _others)


def _give(p: Any, request: Request) -> None:
    script, arguments = script_of(p), list(p.script_args)
    arguments[script.args_from] = request
    p.script_args = arguments


def _stopped() -> bool:
    return bool(shared.state.interrupted or getattr(shared.state, "stopping_generation", False))


def _make(p: Any, request: Request, title: str) -> Made | None:
    """A job of its own; what it shares with `p` it only reads."""
    job = copy(p)
    job.styles = list(p.styles or [])
    job.extra_generation_params = dict(p.extra_generation_params)
    job.comments = dict(p.comments) if isinstance(getattr(p, "comments", None), dict) else {}
    job.override_settings = dict(p.override_settings)
    _give(job, request)
    _others.append(job)
    try:
        done = processing.process_images(job)
    finally:
        _others.remove(job)
        job.close()
    if not done.images:
        return None
    first = done.index_of_first_image
    return Made(title, done.images[first], done.infotexts[first])


def _show_comparison(found: Comparison, p: Any, processed: Any) -> None:
    """A sheet with boxes first, then the others' pictures, then the job's own."""
    first = processed.index_of_first_image
    if len(found.others) < len(OTHERS) or len(processed.images) <= first:  # stopped on the way
        sheets = []
    else:
        columns = [(made.title, made.picture) for made in found.others] + [(OWN_TITLE, processed.images[first])]
        sheets = [_sheet(columns, found.request, p)]
        _save(sheets[0], p, processed.infotexts[first])
    told = processed.infotexts[first] if sheets else ""
    processed.images[first:first] = [*sheets, *(made.picture for made in found.others)]
    processed.infotexts[first:first] = [*([told] if sheets else []), *(made.infotext for made in found.others)]
    processed.index_of_first_image = first + len(sheets)
    for name in ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds"):
        values = getattr(processed, name, None)
        if values:
            setattr(processed, name, [*values[:1] * len(found.others), *values])


def _sheet(columns: Sequence[tuple[str, Image.Image]], request: Request, p: Any) -> Image.Image:
    layout, viewport = request.layout, picture_viewport(p)
    drawn = [
        (title, drawing.with_boxes(made, layout, viewport, images.get_font) if layout else made)
        for title, made in columns
    ]
    return drawing.side_by_side(drawn, images.get_font)


def _save(sheet: Image.Image, p: Any, told: str) -> None:
    """As the host saves grids, where it does."""
    sheet.info["parameters"] = told
    if shared.opts.grid_save and p.outpath_grids and not getattr(p, "do_not_save_samples", False):
        images.save_image(
            sheet,
            p.outpath_grids,
            "anyms",
            p.all_seeds[0],
            p.all_prompts[0],
            shared.opts.grid_format,
            info=told,
            short_filename=not shared.opts.grid_extended_filename,
            p=p,
            grid=True,
        )


# -- the maps ----------------------------------------------------------------------------------------------------------


def _show_maps(session: Any, p: Any, processed: Any) -> None:
    """Behind the job's pictures, one for each subject its last pass saw: where in its visible tokens it acts, and how
    much.
    """
    stream, first = session.stream, processed.index_of_first_image
    found = session.influence.shares(stream.grids) if stream is not None else None
    if found is None or len(processed.images) <= first:
        return
    grid, shares = found
    picture = _shown(processed.images[first], session.viewport, p)
    for subject, tokens in zip(stream.layout.subjects, stream.layout.visible_tokens(grid)):
        owned = set(tokens)
        rows = [
            [shares[token] if token in owned else 0.0 for token in range(row * grid.width, (row + 1) * grid.width)]
            for row in range(grid.height)
        ]
        mean = sum(shares[token] for token in tokens) / max(1, len(tokens))
        title = f"{subject.name}: {mean:.0%} of the update"
        sheet = drawing.side_by_side([(title, drawing.heat(picture, rows))], images.get_font)
        _save(sheet, p, processed.infotexts[first])
        processed.images.append(sheet)
        processed.infotexts.append(processed.infotexts[first])


def _shown(picture: Image.Image, viewport: Viewport, p: Any) -> Image.Image:
    """The part of the finished picture that the last pass showed."""
    if viewport in (WHOLE, picture_viewport(p)):
        return picture
    width, height = picture.size
    return picture.crop(
        (
            round(viewport.x0 * width),
            round(viewport.y0 * height),
            round(viewport.x1 * width),
            round(viewport.y1 * height),
        )
    )

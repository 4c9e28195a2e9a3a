"""The WebUI's script callbacks, in the order the host calls them. The host's objects are duck-typed.

Hosts only log an exception raised in a callback, and make the image without us, so no exception leaves this module. A
refusal is armed on the UNet, whose next call raises it where page and API see it. The reason for stepping aside goes to
the page, the infotext and the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts import detect
from lib_anyms.hosts.inner_job import repainted
from lib_anyms.hosts.viewport import running_script
from lib_anyms.job import infotext
from lib_anyms.job.live_sessions import close_session, enter_session, leave_session, live, open_session, session_of
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.webui import second_look, update_check
from lib_anyms.webui.messages import show_reasons

log = logging.getLogger("anyms")


def job_begins(p: Any, uses_anyms: bool = True) -> bool:
    """before_process of every job, with AnyMS or without: clear what an earlier failure left on the UNet.

    Our infotext entries too, as scripts run one job again. They go into a new dictionary: a copy of our job, made
    within it (adetailer), shares the dictionary and must not remove the entries of our image. Returns whether the job
    runs within ours, which then goes on after it.
    """
    second_look.end_finished()
    within = second_look.is_within(p)
    if not within:
        close_session()
    elif not uses_anyms:
        second_look.leave_alone(p)
    _remove_entries(p)
    return within


def pass_begins(p: Any, read_request: Callable[[], Request], write: bool = True, record: bool = False) -> None:
    """process_before_every_sampling: once per pass, twice in Forge's hires fix.

    write: write the request into the infotext. record: record where the image stream acts, until the job ends.
    """
    second_look.end_finished()
    session = session_of(p)
    if session is None:
        within = second_look.is_within(p)
        if within and repainted(p) is not None:
            _look_again(p, read_request)
            return
        _remove_entries(p)
        try:
            session = (enter_session if within else open_session)(Session(detect(p), p))
        except SteppedAside as reason:
            show_reasons(p, [reason])
            return
    elif session.image_ended:
        _remove_entries(p)
        session.begin_image()
    if record:
        session.record_influence()
    _guarded(session, partial(_begin_pass, session, p, read_request, write))


def _look_again(p: Any, read_request: Callable[[], Request]) -> None:
    """An inpainting within our job that has our script, too: a second look, unless AnyMS is off in it."""
    if _active(read_request):
        second_look.begin(p)
    else:
        second_look.leave_alone(p)


def _begin_pass(session: Session, p: Any, read_request: Callable[[], Request], write: bool) -> None:
    request = session.request or read_request()
    updated = update_check.update() if request.active else None
    if updated is not None:
        raise updated
    session.begin_pass(request)
    if request.active and write:
        p.extra_generation_params[infotext.NAME] = infotext.write(request)


def step_begins(step: Any) -> None:
    """on_cfg_denoiser: the UNet calls that follow belong to `step.denoiser.p`, which may be another job."""
    second_look.end_finished()
    running = live()
    if running is None:
        return
    session = session_of(step.denoiser.p)
    if session is None:
        running.pause()
        session = second_look.begin(step.denoiser.p)
    if session is None:
        return
    if session.within:
        second_look.step(session, step)
    else:
        _guarded(session, partial(session.begin_step, step))


def pass_ends(p: Any, read_request: Callable[[], Request] | None = None) -> None:
    """post_sample: right after all passes of an image or batch, before other extensions start jobs.

    read_request: of a job that uses AnyMS. If no callback announced its sampling, say so: some scripts replace
    `p.sample`.
    """
    session = session_of(p)
    if session is not None and session.within:
        second_look.end(session)
    elif session is not None:
        _guarded(session, partial(_end_pass, session))
        show_reasons(p, session.reasons, session.acted)  # a later pass may have had AnyMS
        session.image_ended = True
    elif read_request is not None and infotext.SKIPPED not in p.extra_generation_params and _active(read_request):
        if second_look.is_within(p):
            return
        script = running_script(p)
        show_reasons(p, [SteppedAside("not_announced", got=f"the script {script}" if script else "something")])


def _end_pass(session: Session) -> None:
    session.finish_pass()
    entries: dict[str, str] = session.job.extra_generation_params  # type: ignore[attr-defined]  # of the host
    entries.pop(infotext.NOTE, None)  # of an earlier image of this job
    if session.remarks:
        entries[infotext.NOTE] = " ".join(map(str, session.remarks))
    session.check_refusal()


def job_ends(p: Any) -> None:
    """postprocess: the job is over."""
    second_look.end_finished()
    if session_of(p) is not None:
        leave_session()


def _remove_entries(p: Any) -> None:
    """Remove our infotext entries, in a new dictionary: a copy of the job may share the old one."""
    ours = {infotext.NAME, infotext.SKIPPED, infotext.NOTE, second_look.ENTRY}
    entries = p.extra_generation_params
    if ours & entries.keys():
        p.extra_generation_params = {name: value for name, value in entries.items() if name not in ours}


def _active(read_request: Callable[[], Request]) -> bool:
    try:
        return read_request().active
    except Refused:  # the image is sampled already, so nothing can be refused
        return True


def _guarded(session: Session, act: Callable[[], None]) -> None:
    """Run `act` and show new notes. Any exception becomes a reason on the page or a refusal of the UNet."""
    try:
        act()
        _show_notes(session)
    except SteppedAside as reason:
        session.step_aside(reason)
        show_reasons(session.job, session.reasons, session.acted)
    except Refused as refusal:
        log.error(str(refusal))
        _refuse(session, refusal)
    except Exception as error:  # any error must reach the user
        log.exception("AnyMS failed")
        _refuse(session, Refused("failed", got=f"{type(error).__name__}: {error}"))


def _refuse(session: Session, refusal: Refused) -> None:
    """Arm `refusal` on the UNet; where there is none, or another thing runs in its place, say so instead."""
    try:
        bypass = session.bypass()
        if bypass is not None:
            raise bypass
        session.refuse(refusal)
    except SteppedAside as reason:
        session.step_aside(reason)
        show_reasons(session.job, session.reasons, session.acted)


def _show_notes(session: Session) -> None:
    """Notes go to the page and the log. Those of `_end_pass` go into the infotext too: they are about this image."""
    for note in session.new_notes():
        session.job.comment(str(note))  # type: ignore[attr-defined]  # of the host
        log.warning(str(note))

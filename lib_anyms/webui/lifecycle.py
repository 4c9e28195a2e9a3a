"""The WebUI's script callbacks, in the order the host calls them. The host's objects are duck-typed.

Hosts only log an exception raised in a callback, and make the image without us, so no exception leaves this module. A
refusal is armed on the UNet, whose next call raises it where page and API see it. The reason for stepping aside goes to
the page, the infotext and the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lib_anyms.errors import Noted, Refused, SteppedAside
from lib_anyms.hosts import detect
from lib_anyms.hosts.viewport import running_script
from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session, close_session, live, open_session
from lib_anyms.webui import update_check

log = logging.getLogger("anyms")


def job_begins(p: Any) -> None:
    """before_process of every job, with AnyMS or without: clear what an earlier failure left on the UNet.

    Our infotext entries too, as scripts run one job again. They go into a new dictionary: a copy of our job, made
    within it (adetailer), shares the dictionary and must not remove the entries of our image.
    """
    close_session()
    _remove_entries(p)


def pass_begins(p: Any, read_request: Callable[[], Request], write: bool = True, record: bool = False) -> None:
    """process_before_every_sampling: once per pass, twice in Forge's hires fix.

    write: write the request into the infotext. record: record where the image stream acts, until the job ends.
    """
    session = live()
    if session is None or session.job is not p:
        _remove_entries(p)
        try:
            session = open_session(Session(detect(p), p))
        except SteppedAside as reason:
            show_reasons(p, [reason])
            return
    elif session.image_ended:
        _remove_entries(p)
        session.begin_image()
    if record:
        session.record_influence()
    _guarded(session, partial(_begin_pass, session, p, read_request, write))


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
    session = live()
    if session is None:
        return
    if step.denoiser.p is not session.job:
        session.pause()
        return
    _guarded(session, lambda: session.begin_step(step))


def pass_ends(p: Any, read_request: Callable[[], Request] | None = None) -> None:
    """post_sample: right after all passes of an image or batch, before other extensions start jobs.

    read_request: of a job that uses AnyMS. If no callback announced its sampling, say so: some scripts replace
    `p.sample`.
    """
    session = live()
    if session is not None and session.job is p:
        _guarded(session, partial(_end_pass, session))
        show_reasons(p, session.reasons, session.acted)  # a later pass may have had AnyMS
        session.image_ended = True
    elif read_request is not None and infotext.SKIPPED not in p.extra_generation_params and _active(read_request):
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
    session = live()
    if session is not None and session.job is p:
        close_session()


def show_reasons(p: Any, reasons: Sequence[SteppedAside], acted: bool = False) -> None:
    """Show on the page, in the infotext and in the log why a pass or an image is made without AnyMS.

    acted: another pass of the image had AnyMS. Then its infotext keeps the request.
    """
    if not reasons:
        return
    if not acted:
        p.extra_generation_params.pop(infotext.NAME, None)
    sentences = [reason.of_pass if acted else str(reason) for reason in reasons]
    p.extra_generation_params[infotext.SKIPPED] = " ".join(dict.fromkeys(sentences))
    for sentence, reason in zip(sentences, reasons):
        _comment(p, sentence, str(reason))


def show_note(p: Any, cause: str) -> None:
    """Show a note of a job that makes the host's own image, on the page and in the log."""
    _comment(p, str(Noted(cause)))


def _comment(p: Any, sentence: str, former: str = "") -> None:
    """Show `sentence` on the page and in the log, in place of `former`; scripts run one job again for each tile."""
    comments = getattr(p, "comments", ())
    if sentence in comments:
        return
    if isinstance(comments, dict):
        comments.pop(former, None)
    p.comment(sentence)
    log.warning(sentence)


def _remove_entries(p: Any) -> None:
    """Remove our infotext entries, in a new dictionary: a copy of the job may share the old one."""
    ours, entries = {infotext.NAME, infotext.SKIPPED, infotext.NOTE}, p.extra_generation_params
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

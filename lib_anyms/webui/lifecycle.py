"""What the WebUI's script callbacks do, in the order the host calls them. The host's objects are duck-typed; nothing
imports it.

Hosts only log an exception raised in a callback and make the picture without us, so nothing escapes here: a refusal is
armed on the UNet, whose next call raises it where page and API see it; stepping aside is said on the page, in the
infotext and the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from lib_anyms.engine.influence import Influence
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts import detect
from lib_anyms.hosts.viewport import running_script
from lib_anyms.job import infotext
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session, close_session, live, open_session
from lib_anyms.webui import update_check

log = logging.getLogger("anyms")
_STOPPED = str(SteppedAside("interrupted"))


def job_begins(p: Any) -> None:
    """before_process of every job, ours or not, enabled or not: clear what an earlier failure left on the UNet.

    The infotext too: scripts run one job again, or copies that share their infotext. It is exchanged, not changed: a
    copy that is made within our job (adetailer) must not take our words from the picture it is made for.
    """
    close_session()
    ours, told = {infotext.NAME, infotext.SKIPPED}, p.extra_generation_params
    if ours & told.keys():
        p.extra_generation_params = {name: value for name, value in told.items() if name not in ours}


def pass_begins(p: Any, read_request: Callable[[], Request], tell: bool = True, record: bool = False) -> None:
    """process_before_every_sampling: once a pass, twice in Forge's hires fix.

    `tell`: write the request into the infotext. `record`: keep where the image stream acts, until the job ends.
    """
    session = live()
    if session is None or session.job is not p:
        try:
            session = open_session(Session(detect(p), p))
        except SteppedAside as reason:
            say(p, reason)
            return

    session.influence = session.influence or (Influence() if record else None)

    def begin() -> None:
        request = session.request or read_request()
        updated = update_check.update() if request.active else None
        if updated is not None:
            raise updated
        session.begin_pass(request)
        if p.extra_generation_params.get(infotext.SKIPPED) == _STOPPED:  # an earlier picture of this job was skipped
            p.extra_generation_params.pop(infotext.SKIPPED)
        if request.active and tell:
            p.extra_generation_params[infotext.NAME] = infotext.write(request)

    _guarded(session, begin)


def step_begins(step: Any) -> None:
    """on_cfg_denoiser: the UNet calls that follow are of `step.denoiser.p`, which need not be our job."""
    session = live()
    if session is None:
        return
    if step.denoiser.p is not session.job:
        session.pause()
        return
    _guarded(session, lambda: session.begin_step(step))


def pass_ends(p: Any, read_request: Callable[[], Request] | None = None) -> None:
    """post_sample: right after sampling, before other extensions start jobs of their own. `read_request`: of a job that
    wants AnyMS, which is told where nothing announced its sampling to us, as with scripts that put a function in place
    of `p.sample`.
    """
    session = live()
    if session is not None and session.job is p:
        _guarded(session, session.finish_pass)
    elif read_request is not None and infotext.SKIPPED not in p.extra_generation_params and _active(read_request):
        script = running_script(p)
        say(p, SteppedAside("not_announced", got=f"the script {script}" if script else "something"))


def job_ends(p: Any) -> None:
    """postprocess."""
    session = live()
    if session is not None and session.job is p:
        close_session()


def say(p: Any, reason: SteppedAside) -> None:
    """Tell page, infotext and log why the picture is made without AnyMS; once a job."""
    sentence = str(reason)
    if p.extra_generation_params.get(infotext.SKIPPED) == sentence:
        return
    if reason.cause not in SteppedAside.of_one_pass:
        p.extra_generation_params.pop(infotext.NAME, None)
    p.extra_generation_params[infotext.SKIPPED] = sentence
    if sentence not in getattr(p, "comments", ()):  # scripts run one job again, tile by tile
        p.comment(sentence)
        log.warning(sentence)


def _active(read_request: Callable[[], Request]) -> bool:
    try:
        return read_request().active
    except Refused:  # its picture is made by now, so there is nothing to refuse
        return True


def _guarded(session: Session, act: Callable[[], None]) -> None:
    try:
        act()
        _tell_news(session)
    except SteppedAside as reason:
        session.end_pass()
        session.outcome = reason.cause
        say(session.job, reason)
    except Refused as refusal:
        log.error(str(refusal))
        session.refuse(refusal)
    except Exception as error:  # whatever it is, it must reach the user
        log.exception("AnyMS failed")
        session.refuse(Refused("failed", got=f"{type(error).__name__}: {error}"))


def _tell_news(session: Session) -> None:
    """Notes go to the page and the log; the infotext says what a picture is, not how it came about."""
    for note in session.news():
        session.job.comment(str(note))  # type: ignore[attr-defined]  # of the host
        log.warning(str(note))

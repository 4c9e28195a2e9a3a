"""Jobs that other extensions run within ours, on its image before it is saved: ADetailer's inpainting, for one.

An inpainting gets a second look: the image stream acts in it for the one subject in whose region its mask lies. Such a
job seldom has our script, so it shows itself by the first step of its sampling only, and never says that it is over.
So our hooks are on the UNet for the time of each step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from PIL import Image

from lib_anyms.errors import Noted, Refused, SteppedAside
from lib_anyms.hosts import detect
from lib_anyms.hosts.inner_job import canvas_of, has_own_text, image_number, repainted, still_runs
from lib_anyms.job import infotext
from lib_anyms.job.live_sessions import enter_session, live, outer_session, session_of
from lib_anyms.job.second_look import TOUCHED, bounds, owner_of, request_of, shares
from lib_anyms.job.session import Session
from lib_anyms.layout.geometry import Viewport
from lib_anyms.layout.pins import read_pins
from lib_anyms.runtime import runtime
from lib_anyms.webui.messages import show_note, show_reasons

log = logging.getLogger("anyms")
ENTRY = "AnyMS second look"  # in the infotext: the subjects of the inpaintings, in order


class InnerJobs:
    """The jobs within the outer job: those seen so far, and how many inpainted the image that is being finished."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.outer: Session | None = None
        self.seen: list[Any] = []
        self.image = (-1, -1)
        self.inpaintings = 0
        self.refined: tuple[Any, int] | None = None  # our own inpainting that runs, and the index of its subject

    def begin(self, outer: Session) -> None:
        """Forget the jobs of another outer job, and the count of another image."""
        if self.outer is not outer:
            self.clear()
            self.outer = outer
        if self.image != image_number(outer.job):
            self.image, self.inpaintings = image_number(outer.job), 0

    def is_new(self, p: Any) -> bool:
        """Whether `p` was not seen before."""
        new = not any(p is job for job in self.seen)
        self.seen += [p] * new
        return new


def is_within(p: Any) -> bool:
    """Whether `p` runs within the job of the outer session, after that job's sampling."""
    outer = outer_session()
    return outer is not None and outer.job is not p and outer.image_ended and still_runs(outer.job)


def leave_alone(p: Any) -> None:
    """The job `p` within ours has our script, switched off: it gets no second look."""
    _jobs().is_new(p)


def end_finished() -> None:
    """End the second look whose job is over, if there is one."""
    session = live()
    if session is not None and session.within and not still_runs(session.job):
        end(session)


def begin(p: Any) -> Session | None:
    """Before the first step of `p`: the session of its second look; None where it runs without AnyMS."""
    outer = outer_session()
    if outer is None or not outer.acted or not is_within(p) or not _jobs().is_new(p):
        return None
    mask, refined = repainted(p), _jobs().refined
    ours = refined is not None and refined[0] is p
    number = refined[1] if refined and ours else None if mask is None else _subject_of(outer, mask)
    box = None if mask is None or number is None else bounds(mask)
    if number is None or box is None:
        return None
    assert outer.request is not None  # it acted
    texts = [has_own_text(p, outer.job, negative) for negative in (False, True)]
    request = request_of(outer.request, number, box, *texts)
    session = enter_session(outer.second_look(detect(p), p, number))
    if not _guarded(session, lambda: session.begin_pass(request)):
        return None
    session.on_failure = partial(_failed, session)
    if session.lacks_words:
        note_on_image(outer, Noted("second_look_words", name=session.name))
    if not ours:
        _record(outer, session)
    return session


@contextmanager
def refining(p: Any, number: int) -> Iterator[None]:
    """Within this, the job `p` is our own inpainting of a subject; number: its index in the request."""
    _jobs().refined = p, number
    try:
        yield
        end_running()
    finally:
        _jobs().refined = None


def end_running() -> None:
    """End the second look that runs, if there is one."""
    session = live()
    if session is not None and session.within:
        end(session)


def step(session: Session, parameters: Any) -> None:
    """on_cfg_denoiser of the job of a second look."""
    session.return_for_step()
    _guarded(session, lambda: session.begin_step(parameters))


def step_ends() -> None:
    """on_cfg_after_cfg: the UNet calls of a step are over."""
    session = live()
    if session is not None and session.within:
        _guarded(session, session.leave_after_step)


def end(session: Session) -> None:
    """The job of a second look is over: back to the job around it."""
    outer = outer_session()
    assert outer is not None
    _guarded(session, session.finish_pass)
    session_of(outer.job)
    for note in session.new_notes():
        note_on_image(outer, note)


def note_on_image(outer: Session, note: Noted) -> None:
    """Show a note on the image that is being finished: on the page, in its infotext, in the log and in the report."""
    outer.add_note(note)
    for new in outer.new_notes():
        show_note(outer.job, new)
    entries: dict[str, Any] = outer.job.extra_generation_params  # type: ignore[attr-defined]  # of the host
    sentences = [entries.get(infotext.NOTE), str(note)]
    entries[infotext.NOTE] = " ".join(dict.fromkeys(filter(None, sentences)))


def _jobs() -> InnerJobs:
    jobs, outer = runtime.of(InnerJobs), outer_session()
    if outer is not None:
        jobs.begin(outer)
    return jobs


def _subject_of(outer: Session, mask: Image.Image) -> int | None:
    """The subject of the next inpainting of this image: as the request names it, else by the mask."""
    request, jobs = outer.request, _jobs()
    assert request is not None
    assert request.layout is not None
    place, jobs.inpaintings = jobs.inpaintings, jobs.inpaintings + 1
    pins = read_pins(request.second_look, request.layout)
    if pins is not None:
        return pins[place] if place < len(pins) else None
    canvas = canvas_of(outer.job, outer.viewport, mask.size)
    return None if canvas is None else _owner(outer, mask, canvas)


def _owner(outer: Session, mask: Image.Image, canvas: Viewport) -> int | None:
    assert outer.request is not None
    assert outer.request.layout is not None
    of_mask = shares(outer.request.layout, mask, canvas)
    owner = owner_of(of_mask)
    if owner is None and sum(of_mask) >= TOUCHED:
        note_on_image(outer, Noted("second_look_none"))
    return owner


def _record(outer: Session, session: Session) -> None:
    """Add the subject to the entry of the image that is being finished. A batch has one value for each image."""
    p: Any = outer.job
    size, (_, place) = max(1, int(getattr(p, "batch_size", 1))), image_number(p)
    entry = p.extra_generation_params.get(ENTRY)
    values = list(entry) if isinstance(entry, list) else [entry] + [None] * (size - 1)
    values[place] = ", ".join(filter(None, (values[place], session.name)))
    p.extra_generation_params[ENTRY] = values[0] if size == 1 else values


def _guarded(session: Session, act: Callable[[], None]) -> bool:
    """Run `act`; after an error the inpainting goes on without AnyMS, and the user learns why.

    Nothing may stop the job: extensions only log the exception, and their work on the image would be lost.
    """
    try:
        act()
        return True
    except SteppedAside as reason:
        session.end_pass()
        outer = outer_session()
        assert outer is not None
        outer.reasons.append(reason)
        show_reasons(outer.job, outer.reasons, acted=True)
    except Refused as refusal:
        _refuse(session, str(refusal))
    except Exception as error:  # any error must reach the user
        log.exception("AnyMS failed")
        _refuse(session, str(Refused("failed", got=f"{type(error).__name__}: {error}")))
    return False


def _failed(session: Session) -> None:
    """The stream raises an error in a UNet call, which ends the inpainting; other extensions may only log that."""
    _refuse(session, session.refusal or str(Refused("failed", got="an error in a UNet call")))


def _refuse(session: Session, sentence: str) -> None:
    session.end_pass()
    outer = outer_session()
    assert outer is not None
    note_on_image(outer, Noted("second_look_refused", name=session.name, reason=sentence))

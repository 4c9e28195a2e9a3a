"""The life of one job: prepare once, begin and end each sampling pass, close.

It stores nothing on the host's objects. The next job cleans up after a failed one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from lib_anyms.engine.image_stream import ImageStream, UNetCall, arm_refusal, compiled
from lib_anyms.engine.influence import Influence
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.engine.local_text import LocalText
from lib_anyms.engine.skipped import replaced_by
from lib_anyms.errors import AnyMSError, Noted, Refused, SteppedAside
from lib_anyms.hosts.base import Host
from lib_anyms.job.card_tokens import cards_fit
from lib_anyms.job.job_report import JobReport, PassReport, notes_at_end, notes_of, report_pass
from lib_anyms.job.prepare import prepare
from lib_anyms.job.request import Request
from lib_anyms.job.words import Texts, encode_texts, local_text
from lib_anyms.layout.fields import REQUEST_FIELDS
from lib_anyms.layout.geometry import WHOLE
from lib_anyms.layout.layout import Layout
from lib_anyms.models.model_files import ModelPair, choose_adapter, choose_pair
from lib_anyms.models.purpose import NOTES, purpose_of

log = logging.getLogger("anyms")


class Session:
    """One job of `host`. `job` is the host's own object for it, compared by identity."""

    def __init__(self, host: Host, job: object) -> None:
        self.host = host
        self.job = job
        self.request: Request | None = None
        self.stream: ImageStream | None = None
        self.pair: ModelPair | None = None
        self.influence: Influence | None = None  # of a job that records it
        self.viewport = WHOLE  # of the pass of `stream`
        self.outcome = ""  # the cause that stopped the job
        self.notes: list[Noted] = []
        self.reasons: list[SteppedAside] = []  # of the current image; a hires fix may have one for each pass
        self.image_ended = False  # all passes of the current image are over
        self.remarks: list[Noted] = []  # of them, those about the image of the last pass
        self._keys_values: KeyValues | None = None
        self._sampling = False  # True from the start of one of our steps until another job's step
        self._disarm: Callable[[], None] | None = None
        self._refusal = ""
        self._passes: list[PassReport] = []
        self._had_anyms: list[bool] = []  # of each pass of the current image that ended
        self._stepped = False  # a step of the pass has begun
        self._reported: ImageStream | None = None
        self._steps = 0
        self._encoded: tuple[int, str] | None = None  # the moment at which the local text was encoded
        self._texts: Texts = {}  # encoded for the last pass
        self._within = False  # a job within another one, whose end no callback announces
        self.on_failure: Callable[[], None] = lambda: None  # after the stream has raised an error
        self._number = 0  # from 1, of the one subject of a second look
        self.second_looks: list[PassReport] = []  # of jobs within this one
        self._shown_notes = 0
        self._began = time.monotonic()
        self._encoding = 0.0

    def record_influence(self) -> None:
        """Record where the image stream acts, in the passes that follow, until the session closes."""
        self.influence = self.influence or Influence()

    def begin_image(self) -> None:
        """Before the first pass of the job's next image: forget what held for the last one."""
        self.image_ended = False
        self.reasons.clear()
        self._had_anyms.clear()

    @property
    def acted(self) -> bool:
        """Whether a pass of the current image had AnyMS."""
        running = self.stream is not None and self.stream is not self._reported
        return any(self._had_anyms) or (running and self._has_acted())

    def _has_acted(self) -> bool:
        """Whether the stream acted in its pass; one without any step has no reason to say it did not."""
        return self.stream is not None and (self.stream.result.acting > 0 or not self._stepped)

    def begin_pass(self, request: Request) -> None:
        """Attach to the current UNet before a sampling pass; a hires fix has two passes.

        The layout is cropped to what the pass renders. `request` is the same in every pass of a job. A second call in
        one pass changes nothing. Raises Refused or SteppedAside, with nothing attached.
        """
        self.request = request
        if not request.active:
            return
        try:
            self._attach(request)
        except AnyMSError:
            self.end_pass()
            raise

    def _attach(self, request: Request) -> None:
        unet, viewport = self.host.unet(), self.host.viewport()
        if self.stream is not None and self.stream.injected and self.stream.unet is unet and self.viewport == viewport:
            if self._encoded != self._moment:  # a hires pass has other steps, and may have another prompt
                self.stream.region_merge.local_text = self._local_text(request, self.stream.layout)
            return
        self.finish_pass()
        assert request.layout is not None  # active
        subjects = request.layout.seen_in(viewport)
        if not subjects:
            raise SteppedAside("subjects_elsewhere")
        aside = self._aside_reason()
        if aside is not None:
            raise aside
        layers = cross_attention_layers(unet)
        if not layers:
            raise SteppedAside("no_unet", got=type(unet).__name__)
        pair = self._choose(request, unet, layers)
        if self._keys_values is None or pair != self.pair:
            self.pair, self._keys_values = pair, self._prepare(pair, request)
        layout = Layout(tuple(subjects.values()))
        self.stream = ImageStream(
            unet,
            layers,
            self._keys_values.of_subjects(tuple(subjects)),
            layout,
            request.scale,
            request.mode,
            self._read_call,
            self._silent_reason,
            self.influence,
            self._local_text(request, layout),
            request.strength,
        )
        self.stream.on_failure = self._job_raises
        self.viewport, self._stepped = viewport, False
        self.stream.inject()

    def _local_text(self, request: Request, layout: Layout) -> LocalText | None:
        self._encoded = self._moment
        if not self._within:
            self._texts = encode_texts(self.host, request, layout)
        return local_text(self.host, request, layout, self._texts)

    @property
    def _moment(self) -> tuple[int, str]:
        """Two calls of `begin_pass` at one moment are of one pass: Forge's second pass has two."""
        return self._steps, self.host.prompt()

    def _choose(self, request: Request, unet: nn.Module, layers: Sequence[Layer]) -> ModelPair:
        """The adapter and its encoder; no encoder where every subject has a card."""
        folders, checkpoint = self.host.folders(), self.host.checkpoint()
        fits = partial(cards_fit, request) if any(request.cards) else None
        if all(request.cards):
            return ModelPair(choose_adapter(folders, unet, layers, request.adapter, fits, checkpoint), None)
        return choose_pair(folders, unet, layers, request.adapter, request.encoder, fits, checkpoint)

    def _prepare(self, pair: ModelPair, request: Request) -> KeyValues:
        """Encode and project all subjects. The encoder is gone when this returns."""
        began = time.monotonic()
        keys_values, notes = prepare(self.host, pair, request)
        self.notes.extend(notes)
        unusual = NOTES.get(purpose_of(pair.adapter))
        if unusual:
            self.notes.append(Noted(unusual, path=pair.adapter.path.name))
        self._encoding = time.monotonic() - began
        mib = keys_values.bytes / 2**20
        log.info("%d subjects encoded by %s: %.1f MiB", len(request.pictures), pair.adapter.path.name, mib)
        return keys_values

    def second_look(self, host: Host, job: object, number: int) -> Session:
        """A session of `job`, which runs within this one: it has the keys, values and texts of one subject.

        number: the subject's index in the request.
        """
        assert self._keys_values is not None
        inner = Session(host, job)
        inner.pair, inner._keys_values = self.pair, self._keys_values.of_subjects((number,))
        inner._texts, inner._within, inner._number = dict(self._texts), True, number + 1
        if self.stream is None or host.unet() is not self.stream.unet:
            inner._texts.clear()  # of another checkpoint's text encoders
        return inner

    @property
    def within(self) -> bool:
        """Whether this is a second look, in a job that runs within another one."""
        return self._within

    @property
    def name(self) -> str:
        """The name of the one subject of a second look."""
        layout = self.request.layout if self.request is not None else None
        return layout.subjects[0].name if layout is not None else ""

    @property
    def lacks_words(self) -> bool:
        """Whether the subject of a second look has words that are not encoded for its checkpoint."""
        return self.request is not None and self.request.has_words and not self._texts

    @property
    def passes(self) -> tuple[PassReport, ...]:
        """The passes that ended."""
        return tuple(self._passes)

    def return_for_step(self) -> None:
        """Before a step of a job within another one: attach, unless the pass is over."""
        if self.stream is not None and self.stream is not self._reported:
            self.stream.inject()

    def leave_after_step(self) -> None:
        """After a step of a job within another one: eject until its next step, for no callback announces its end.

        Raises SteppedAside.
        """
        self._check_previous_step()
        self._sampling = False
        if self.stream is not None:
            self.stream.eject()

    def begin_step(self, step: Any) -> None:
        """At the host's callback, before the UNet calls of a denoiser step.

        Raises SteppedAside, with the stream ejected.
        """
        self._check_previous_step()
        if self.stream is None or not self.stream.injected:
            return
        self._stepped = True
        self.host.begin_step(step)
        aside = self._replaced() or self._aside_reason(at_step=True)
        if aside is not None:
            self.end_pass()
            raise aside
        self.stream.begin_step()
        self._sampling = True
        self._steps += 1

    def pause(self) -> None:
        """Another job samples: its UNet calls are not ours."""
        self._sampling = False

    def step_aside(self, reason: SteppedAside) -> None:
        """End the pass, and record why."""
        self.end_pass()
        self.outcome = reason.cause
        self.reasons.append(reason)
        self.image_ended = reason.cause == "interrupted"  # the host goes on to the next image, if at all

    def refuse(self, error: Refused) -> None:
        """End the pass, and make the next call of the UNet raise `error`: hosts only log what a callback raises."""
        self.end_pass()
        self.outcome, self._refusal = error.cause, str(error)
        # These refer to the frames that failed, and so keep the encoder in memory.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self._disarm_refusal()
        self._disarm = arm_refusal(self.host.unet(), error, self._job_raises)

    def _job_raises(self) -> None:
        """Our error is about to end the sampling: the host calls no script's post_sample after that."""
        self.end_pass()
        self._disarm_refusal()
        try:
            self.host.end_scripts()
        except Exception:  # of another extension or of the host; our own error matters more
            log.exception("AnyMS: the scripts' post_sample failed")
        self.on_failure()

    def _disarm_refusal(self) -> None:
        if self._disarm is not None:
            self._disarm()
        self._disarm = None

    def check_refusal(self) -> None:
        """After the sampling. Raises SteppedAside if a refusal is still armed: the UNet never ran."""
        if self._disarm is None or self.host.interrupted():
            return
        self._disarm_refusal()
        raise SteppedAside("not_stopped", reason=self._refusal)

    def bypass(self) -> SteppedAside | None:
        """Why the UNet does not run, so that a refusal could not stop the job."""
        by = self.host.bypassed_by() or compiled(self.host.unet())
        return SteppedAside("unet_bypassed", got=by) if by else None

    @property
    def refusal(self) -> str:
        """The sentence that ended the job, or ""."""
        return self._refusal or (self.stream.result.refusal if self.stream is not None else "")

    def end_pass(self) -> None:
        """Eject from the UNet, after the sampling or after any failure."""
        self._sampling = False
        if self.stream is None:
            return
        result = self.stream.eject()
        if self.stream is not self._reported:
            self._reported = self.stream
            self._had_anyms.append(self._has_acted())
            self._passes.append(replace(report_pass(result, self.stream.unet), subject=self._number))

    def finish_pass(self) -> None:
        """`end_pass` after a sampling that ran through. Raises SteppedAside if the UNet never ran."""
        sampled = self._sampling or (self._within and self._stepped)
        try:
            self._check_previous_step()
            self._check_acting()
        finally:
            self.end_pass()
        if sampled and self.stream is not None and not self.host.interrupted():
            self.remarks = notes_at_end(self.stream.result)
            self._note(self.remarks)

    def close(self) -> None:
        """End the job and forget everything."""
        self.end_pass()
        self._disarm_refusal()
        self.stream = self._reported = self._keys_values = self.influence = None

    def report(self) -> JobReport | None:
        """The job so far; None for a job that did not use AnyMS."""
        request = self.request
        if request is None and not self.outcome:
            return None
        passes = list(self._passes)
        if self.stream is not None and self.stream is not self._reported:
            passes.append(report_pass(self.stream.result, self.stream.unet))
        failure = next((each.failure for each in passes if each.failure), "")
        settings: tuple[tuple[str, Any], ...] = ()
        if request is not None:
            settings = tuple((field.name, getattr(request, field.name)) for field in REQUEST_FIELDS)
        return JobReport(
            host=self.host.name,
            outcome=self.outcome or failure,
            settings=settings,
            layout=request.layout if request is not None else None,
            pair=self.pair,
            passes=tuple(passes),
            second_looks=tuple(self.second_looks),
            steps=self._steps,
            seconds=time.monotonic() - self._began,
            encoding_seconds=self._encoding,
            bytes=self._keys_values.bytes if self._keys_values is not None else 0,
            notes=tuple(note.cause for note in self.notes),
        )

    def new_notes(self) -> list[Noted]:
        """Notes not shown to the user yet."""
        if self.stream is not None:
            self._note(notes_of(self.stream.result))
        new = self.notes[self._shown_notes :]
        self._shown_notes = len(self.notes)
        return new

    def add_note(self, note: Noted) -> None:
        """Keep a note from outside the passes, if it says something new."""
        self._note([note])

    def _note(self, notes: list[Noted]) -> None:
        """Keep those that say something new."""
        known = {str(note) for note in self.notes}
        self.notes += [note for note in notes if str(note) not in known]

    def _aside_reason(self, at_step: bool = False) -> SteppedAside | None:
        """A known reason why the hooks cannot fire.

        At a step it does not look for compiled modules, as there are thousands of modules.
        """
        bypass = self.host.bypassed_by() or (None if at_step else compiled(self.host.unet()))
        return SteppedAside("unet_bypassed", got=bypass) if bypass else None

    def _replaced(self) -> SteppedAside | None:
        if self.stream is None or self.host.unet() is self.stream.unet:
            return None
        return SteppedAside("unet_replaced", progress=f"{self.host.progress():.0%}")

    def _check_previous_step(self) -> None:
        """Count a step before that was answered without the UNet. Raises SteppedAside where AnyMS cannot act."""
        if not self._sampling or self.stream is None:
            return
        result = self.stream.result
        nothing_wrong = result.step_calls > 0 or not self.stream.injected or self.host.interrupted()
        if result.aside is None and nothing_wrong:
            return
        aside = result.aside or self._replaced() or self._silent_reason()
        if aside is None and result.calls:
            self.stream.skip_step(self.host.wrapped_by() or replaced_by(self.stream.unet))
            return
        self.end_pass()
        raise aside or SteppedAside("unet_not_called")

    def _silent_reason(self) -> SteppedAside | None:
        """A known reason why no layer of a call or step fired."""
        return self._aside_reason(at_step=self.stream is not None and self.stream.result.calls > 0)

    def _check_acting(self) -> None:
        """Raises SteppedAside where no UNet call of the pass had an image stream."""
        result = self.stream.result if self.stream is not None else None
        if result is not None and result.calls and not result.acting:
            raise SteppedAside("never_placed")

    def _read_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> UNetCall | None:
        if not self._sampling:
            return None
        has_words = self.request is not None and self.request.has_words
        foreign_text = has_words and self.host.text_led_by() is not None
        return UNetCall(self.host.cond_map(args, kwargs), self._progress(), foreign_text)

    def _progress(self) -> float:
        """The host's, if the stream is not the same in all steps: reading it may wait for the device."""
        subjects = self.stream.layout.subjects if self.stream is not None else ()
        always = all(subject.start == 0 and subject.end == 1 for subject in subjects)
        fades = self.stream is not None and self.stream.region_merge.fade.changes
        return 0.0 if always and not fades else self.host.progress()

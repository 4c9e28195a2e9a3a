"""One generation's life: prepare once, begin and end each sampling pass, close. At most one session is live.

Nothing is stored on the host's objects; what an earlier failure left is cleared by the next job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from lib_anyms.engine.image_stream import ImageStream, UNetCall, arm_refusal, compiled
from lib_anyms.engine.influence import Influence
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.errors import AnyMSError, Noted, Refused, SteppedAside
from lib_anyms.hosts.base import Host
from lib_anyms.job.encoding import prepare, suits
from lib_anyms.job.job_report import JobReport, PassResult, report_pass
from lib_anyms.job.request import Request
from lib_anyms.layout.fields import REQUEST_FIELDS
from lib_anyms.layout.geometry import WHOLE
from lib_anyms.layout.layout import Layout
from lib_anyms.models.model_files import ModelPair, choose_adapter, choose_pair

log = logging.getLogger("anyms")


class Session:
    """One job of `host`; `job` is the host's own object for it, told apart by identity."""

    def __init__(self, host: Host, job: object) -> None:
        self.host = host
        self.job = job
        self.request: Request | None = None
        self.stream: ImageStream | None = None
        self.pair: ModelPair | None = None
        self.influence: Influence | None = None  # of a job that asked for it
        self.viewport = WHOLE  # of the pass `stream` is for
        self._keys_values: KeyValues | None = None
        self._sampling = False  # between the host's announcement of one of our steps and the next
        self._disarm: Callable[[], None] | None = None
        self.outcome = ""  # the cause of what stopped it
        self._refusal = ""
        self.notes: list[Noted] = []
        self._passes: list[PassResult] = []
        self._reported: ImageStream | None = None
        self._steps = 0
        self._told = 0  # of the notes
        self._began = time.monotonic()
        self._encoding = 0.0

    def begin_pass(self, request: Request) -> None:
        """Before each sampling (a hires fix has two): attach to the UNet as it is now, with the layout placed into what
        this pass shows. Calling it twice changes nothing.

        `request` is the same at every pass of a job. Raises Refused or SteppedAside, with nothing attached.
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
            return
        self.finish_pass()
        assert request.layout is not None  # active
        shown = request.layout.seen_in(viewport)
        if not shown:
            raise SteppedAside("subjects_elsewhere")
        aside = self._cause()
        if aside is not None:
            raise aside
        layers = cross_attention_layers(unet)
        if not layers:
            raise SteppedAside("no_unet", got=type(unet).__name__)
        pair = self._choose(request, unet, layers)
        if self._keys_values is None or pair != self.pair:
            self.pair, self._keys_values = pair, self._prepare(pair, request)
        sets, layout = self._keys_values.of_subjects(tuple(shown)), Layout(tuple(shown.values()))
        self.stream = ImageStream(unet, layers, sets, layout, request.scale, request.mode, self._read_call, self._cause)
        self.stream.region_merge.influence = self.influence
        self.viewport = viewport
        self.stream.inject()

    def _choose(self, request: Request, unet: nn.Module, layers: Sequence[Layer]) -> ModelPair:
        """No encoder is looked for where every subject has a card."""
        folders, wanted = self.host.folders(), partial(suits, request)
        if all(request.cards):
            return ModelPair(choose_adapter(folders, unet, layers, request.adapter, wanted), None)
        return choose_pair(folders, unet, layers, request.adapter, request.encoder, wanted)

    def begin_step(self, step: Any) -> None:
        """At the host's callback before the UNet calls of one denoiser step.

        Raises SteppedAside, with the stream ejected.
        """
        self._check_previous_step()
        if self.stream is None or not self.stream.injected:
            return
        self.host.begin_step(step)
        aside = self._replaced() or self._cause(at_step=True)
        if aside is not None:
            self.end_pass()
            raise aside
        self.stream.step_calls = 0
        self._sampling = True
        self._steps += 1

    def pause(self) -> None:
        """Another job samples: its UNet calls are not ours."""
        self._sampling = False

    def refuse(self, error: Refused) -> None:
        """Let go, and make the UNet's next call raise `error`: hosts only log what a callback raises."""
        self.end_pass()
        self.outcome, self._refusal = error.cause, str(error)
        error.__traceback__ = error.__cause__ = error.__context__ = (
            None  # they keep what the failed calls had in their hands
        )
        self._disarm = arm_refusal(self.host.unet(), error)

    @property
    def refusal(self) -> str:
        """The sentence that ended the job; "" of none."""
        return self._refusal or (self.stream.refusal if self.stream is not None else "")

    def end_pass(self) -> None:
        """After the sampling, or on any failure: let go of the UNet."""
        self._sampling = False
        if self.stream is None:
            return
        self.stream.eject()
        if self.stream is not self._reported:
            self._reported = self.stream
            self._passes.append(report_pass(self.stream))

    def finish_pass(self) -> None:
        """`end_pass` after a sampling that ran through: raises SteppedAside if the UNet never ran."""
        try:
            self._check_previous_step()
        finally:
            self.end_pass()

    def close(self) -> None:
        """The generation is over: forget everything."""
        self.end_pass()
        if self._disarm is not None:
            self._disarm()
        self.stream = self._reported = self._keys_values = self._disarm = self.influence = None

    def report(self) -> JobReport | None:
        """What has been done until now; None for a job that wanted nothing of AnyMS."""
        if self.request is None and not self.outcome:
            return None
        request = self.request
        under_way = self.stream is not None and self.stream is not self._reported
        passes = [*self._passes, *([report_pass(self.stream)] if under_way and self.stream is not None else [])]
        return JobReport(
            host=self.host.name,
            outcome=self.outcome or next((found.failure for found in passes if found.failure), ""),
            settings=tuple((row.name, getattr(request, row.name)) for row in REQUEST_FIELDS if request is not None),
            layout=request.layout if request is not None else None,
            pair=self.pair,
            passes=tuple(passes),
            steps=self._steps,
            seconds=time.monotonic() - self._began,
            encoding_seconds=self._encoding,
            bytes=self._keys_values.bytes if self._keys_values is not None else 0,
            notes=tuple(note.cause for note in self.notes),
        )

    def news(self) -> list[Noted]:
        """What is to be told the user beside the picture and was not asked for yet."""
        if (
            self.stream is not None
            and self.stream.not_fused
            and not any(note.cause == "plain_softmax" for note in self.notes)
        ):
            self.notes.append(Noted("plain_softmax", got=self.stream.not_fused))
        fresh, self._told = self.notes[self._told :], len(self.notes)
        return fresh

    def _cause(self, at_step: bool = False) -> SteppedAside | None:
        """What is known to keep the layers from firing, or boxes from having a place; at a step without a look at each
        module.
        """
        bypass = self.host.bypassed_by() or (None if at_step else compiled(self.host.unet()))
        if bypass:
            return SteppedAside("unet_bypassed", got=bypass)
        tiler = self.host.tiled_by()
        return SteppedAside("tiled", got=tiler) if tiler else None

    def _replaced(self) -> SteppedAside | None:
        if self.stream is None or self.host.unet() is self.stream.unet:
            return None
        return SteppedAside("unet_replaced", progress=f"{self.host.progress():.0%}")

    def _check_previous_step(self) -> None:
        """Raises SteppedAside where the step before went by without us."""
        if not self._sampling or self.stream is None:
            return
        excused = self.stream.excused
        if excused is None and (self.stream.step_calls or not self.stream.injected or self.host.interrupted()):
            return
        self.end_pass()
        if excused is not None:
            raise excused
        gone = (
            SteppedAside("unet_went_silent", got=self.stream.calls)
            if self.stream.calls
            else SteppedAside("unet_not_called")
        )
        raise self._replaced() or self._cause() or gone

    def _read_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> UNetCall | None:
        if not self._sampling:
            return None
        return UNetCall(self.host.rows(args, kwargs), self.host.progress())

    def _prepare(self, pair: ModelPair, request: Request) -> KeyValues:
        """Encode and project all subjects; the encoder is gone when this returns."""
        began = time.monotonic()
        keys_values, notes = prepare(self.host, pair, request)
        self.notes.extend(notes)
        self._encoding = time.monotonic() - began
        log.info(
            "%d subjects encoded by %s: %.1f MiB",
            len(request.pictures),
            pair.adapter.path.name,
            keys_values.bytes / 2**20,
        )
        return keys_values


_live: Session | None = None
_last: JobReport | None = None


def last_report() -> JobReport | None:
    """Of the job under way, else of the last one that had to do with AnyMS."""
    return (_live.report() if _live is not None else None) or _last


def last_refusal() -> str:
    """The sentence that ended the last job, where AnyMS refused it; "" once another one has begun."""
    return _live.refusal if _live is not None else ""


def live() -> Session | None:
    """The one session whose stream may be on a UNet."""
    return _live


def open_session(session: Session) -> Session:
    """Make `session` the live one; what was live is closed."""
    global _live
    close_session()
    _live = session
    return session


def close_session() -> None:
    """Close the live session, if any."""
    global _live, _last
    if _live is not None:
        _last = _live.report() or _last
        _live.close()
    _live = None

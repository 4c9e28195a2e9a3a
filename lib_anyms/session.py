"""One generation's life: prepare once, begin and end each sampling pass, close. At most one session is live.

Nothing is stored on the host's objects; what an earlier failure left is cleared by the next job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch

from lib_anyms.errors import AnyMSError, Refused, SteppedAside
from lib_anyms.fields import REQUEST_FIELDS
from lib_anyms.geometry import WHOLE
from lib_anyms.hosts.base import Host
from lib_anyms.image_stream import ImageStream, UNetCall, arm_refusal, compiled
from lib_anyms.ip_adapter.encoder import Encoder
from lib_anyms.ip_adapter.key_values import KeyValues, project_key_values
from lib_anyms.ip_adapter.tokens import image_tokens
from lib_anyms.job_report import JobReport, PassReport, report_pass
from lib_anyms.layer_map import cross_attention_layers
from lib_anyms.layout import Layout
from lib_anyms.model_files import ModelPair, choose_pair
from lib_anyms.request import Request

log = logging.getLogger("anyms")


class Session:
    """One job of `host`; `job` is the host's own object for it, told apart by identity."""

    def __init__(self, host: Host, job: object) -> None:
        self.host = host
        self.job = job
        self.request: Request | None = None
        self.stream: ImageStream | None = None
        self.pair: ModelPair | None = None
        self.frame = WHOLE  # of the pass `stream` is for
        self._keys_values: KeyValues | None = None
        self._sampling = False  # between the host's announcement of one of our steps and the next
        self._disarm: Callable[[], None] | None = None
        self.outcome = ""  # the cause of what stopped it
        self._passes: list[PassReport] = []
        self._reported: ImageStream | None = None
        self._steps = 0
        self._began = time.monotonic()
        self._encoding = 0.0

    def begin_pass(self, request: Request) -> None:
        """Before each sampling (a hires fix has two): attach to the UNet as it is now, with the layout placed into what this
        pass shows. Calling it twice changes nothing.

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
        unet, frame = self.host.unet(), self.host.frame()
        if self.stream is not None and self.stream.injected and self.stream.unet is unet and self.frame == frame:
            return
        self.finish_pass()
        assert request.layout is not None  # active
        shown = request.layout.seen_in(frame)
        if not shown:
            raise SteppedAside("subjects_elsewhere")
        bypass = self.host.bypassed_by() or compiled(unet)
        if bypass:
            raise SteppedAside("unet_bypassed", got=bypass)
        layers = cross_attention_layers(unet)
        if not layers:
            raise SteppedAside("no_unet", got=type(unet).__name__)
        pair = choose_pair(self.host.folders(), unet, layers, request.adapter, request.encoder)
        if self._keys_values is None or pair != self.pair:
            self.pair, self._keys_values = pair, self._prepare(pair, request)
        sets, layout = self._keys_values.of_subjects(tuple(shown)), Layout(tuple(shown.values()))
        self.stream = ImageStream(unet, layers, sets, layout, request.scale, request.mode, self._read_call)
        self.frame = frame
        self.stream.inject()

    def begin_step(self, step: Any) -> None:
        """At the host's callback before the UNet calls of one denoiser step. Raises SteppedAside, with the stream ejected."""
        if self.stream is None or not self.stream.injected:
            return
        self._check_previous_step()
        self.host.begin_step(step)
        if self.host.unet() is not self.stream.unet:
            self.end_pass()
            raise SteppedAside("unet_replaced", progress=f"{self.host.progress():.0%}")
        self.stream.step_calls = 0
        self._sampling = True
        self._steps += 1

    def pause(self) -> None:
        """Another job samples: its UNet calls are not ours."""
        self._sampling = False

    def refuse(self, error: Refused) -> None:
        """Let go, and make the UNet's next call raise `error`: hosts only log what a callback raises."""
        self.end_pass()
        self.outcome = error.cause
        self._disarm = arm_refusal(self.host.unet(), error)

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
            if self.stream is not None and self.stream.injected:
                self._check_previous_step()
        finally:
            self.end_pass()

    def close(self) -> None:
        """The generation is over: forget everything."""
        self.end_pass()
        if self._disarm is not None:
            self._disarm()
        self.stream = self._reported = self._keys_values = self._disarm = None

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
        )

    def _check_previous_step(self) -> None:
        if self._sampling and self.stream is not None and not self.stream.step_calls:
            self.end_pass()
            raise SteppedAside("unet_not_called")

    def _read_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> UNetCall | None:
        if not self._sampling:
            return None
        return UNetCall(self.host.rows(args, kwargs), self.host.progress())

    def _prepare(self, pair: ModelPair, request: Request) -> KeyValues:
        """Encode and project all subjects; the encoder is gone when this returns."""
        began = time.monotonic()
        device, dtype = self.host.device(), self.host.dtype()
        self.host.make_room(pair.encoder.path.stat().st_size)
        precise = torch.float64 if dtype == torch.float64 else torch.float32
        encoder = Encoder(pair.encoder, device, precise if device.type == "cpu" else torch.float16)
        tokens = image_tokens(pair.adapter, encoder, request.pictures, request.fit, request.combine)
        del encoder
        keys_values = project_key_values(pair.adapter, tokens, device, dtype, request.unconditional == "trained")
        self._encoding = time.monotonic() - began
        log.info("%d subjects encoded by %s: %.1f MiB", len(tokens.subjects), pair.adapter.path.name, keys_values.bytes / 2**20)
        return keys_values


_live: Session | None = None
_last: JobReport | None = None


def last_report() -> JobReport | None:
    """Of the job under way, else of the last one that had to do with AnyMS."""
    return (_live.report() if _live is not None else None) or _last


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

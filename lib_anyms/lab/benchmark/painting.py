"""Make one picture of a scene in one mode, with its seconds and its peak memory."""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.lab.bench.memory import peak_mib
from lib_anyms.lab.benchmark.scenes import Sample
from lib_anyms.lab.evaluation.pictures import DiffusersPainter, Files, Peer, Settings, WebUIPainter
from lib_anyms.lab.evaluation.suites import BASE, MODES, PEER
from lib_anyms.layout.fields import AUTO
from lib_anyms.standalone.generate import pick_device, pick_dtype
from lib_anyms.standalone.pipeline import load_pipeline

_NATIVE = 1024  # pixels of SDXL
MIB = 2**20


@dataclass(frozen=True)
class HostFiles:
    """What a WebUI gets in place of files: names that it finds itself, and the picture's side."""

    adapters: Mapping[str, Path]
    encoder: Path
    side: int
    checkpoint: str = ""  # the one that the WebUI has loaded

    def hashes(self) -> dict[str, str]:
        """The names: the files are on another machine."""
        names = {f"adapter-{kind}": path.name for kind, path in self.adapters.items()}
        return {"checkpoint": self.checkpoint, "encoder": self.encoder.name, **names}


def host_files(adapter: Path | None, encoder: Path | None, size: int | None, checkpoint: str = "") -> HostFiles:
    """Without names the WebUI chooses adapter and encoder for the checkpoint that it has loaded."""
    return HostFiles({BASE: adapter or Path(AUTO)}, encoder or Path(AUTO), size or _NATIVE, checkpoint)


@dataclass(frozen=True)
class Cost:
    """Of one picture. mib: peak memory of the GPU in all, else the process's growth; None where it is not known."""

    seconds: float
    mib: float | None
    device: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class BenchPainter:
    """One pipeline at a time: a small GPU has no room for AnyMS's and the peer's UNet together."""

    def __init__(self, files: Files, settings: Settings) -> None:
        self._files, self._settings = files, settings
        self._painter: DiffusersPainter | Peer | None = None
        self.device = pick_device(settings.device)

    @property
    def adapter(self) -> str:
        return next(iter(self._files.adapters))

    def paint(self, sample: Sample, mode: str) -> tuple[Image.Image, Cost]:
        """Raises Refused and SteppedAside."""
        painter = self._for(mode)
        if isinstance(painter, Peer):
            return measured(lambda: painter.paint(sample, self._settings, self._files.side), self.device)
        adapter = self.adapter if MODES[mode].adapter else None
        return measured(lambda: painter.paint(sample, mode, adapter), self.device)

    def _for(self, mode: str) -> DiffusersPainter | Peer:
        if self._painter is None or isinstance(self._painter, Peer) != (mode == PEER):
            self._painter = None
            release()
            self._painter = self._load(mode)
        return self._painter

    def _load(self, mode: str) -> DiffusersPainter | Peer:
        if mode != PEER:
            return DiffusersPainter(self._files, self._settings)
        dtype = pick_dtype(self._settings.dtype, self.device)
        pipeline = load_pipeline(self._files.checkpoint, self.device, dtype)
        return Peer(pipeline, self._files, self.adapter, copied=False)


def release() -> None:
    """Give memory of unused models back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def measured(act: Callable[[], Image.Image], device: torch.device) -> tuple[Image.Image, Cost]:
    """The picture with its seconds and peak memory."""
    pictures: list[Image.Image] = []
    start = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        pictures.append(act())
        mib = torch.cuda.max_memory_allocated(device) / MIB
    else:
        mib = peak_mib(lambda: pictures.append(act()))
    return pictures[0], Cost(round(time.perf_counter() - start, 3), round(mib, 1), str(device))


Job = tuple[Sample, str]  # a sample and its mode
Painted = tuple[Job, Image.Image, Cost]
Say = Callable[[str], None]


def on_hosts(
    hosts: Sequence[str], files: HostFiles, settings: Settings, jobs: Sequence[Job], say: Say
) -> Iterator[Painted]:
    """Each WebUI makes one picture at a time and takes the next job when it is free.

    A WebUI that fails hands its job to the others and takes no more. Raises the last failure once none is left.
    """
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    ready: queue.SimpleQueue[Painted | _Failure] = queue.SimpleQueue()
    stop = threading.Event()
    for host in hosts:
        threading.Thread(target=_serve, args=(host, files, settings, waiting, ready, stop), daemon=True).start()
    left, working = len(jobs), set(hosts)
    try:
        while left:
            item = ready.get()
            if isinstance(item, _Failure):
                working.discard(item.host)
                say(f"{item.host} takes no more pictures: {item.refusal}")
                if not working:
                    raise item.refusal
                if item.job is not None:
                    waiting.put(item.job)
                continue
            left -= 1
            yield item
    finally:
        stop.set()


@dataclass(frozen=True)
class _Failure:
    """A WebUI's refusal, and the job that another one must take."""

    host: str
    job: Job | None
    refusal: Refused


def _serve(host: str, files: HostFiles, settings: Settings, waiting: Any, ready: Any, stop: threading.Event) -> None:
    """One WebUI's thread."""
    job: Job | None = None
    try:
        painter = WebUIPainter(files, replace(settings, host=host))
        while not stop.is_set():
            job = None
            with suppress(queue.Empty):
                job = waiting.get(timeout=0.1)
            if job is not None:
                ready.put((job, *_served(painter, host, files, job)))
    except Refused as refusal:
        ready.put(_Failure(host, job, refusal))


def _served(painter: WebUIPainter, host: str, files: HostFiles, job: Job) -> tuple[Image.Image, Cost]:
    sample, mode = job
    start = time.perf_counter()
    adapter = next(iter(files.adapters)) if MODES[mode].adapter else None
    picture = painter.paint(sample, mode, adapter)
    return picture, Cost(round(time.perf_counter() - start, 3), None, host)

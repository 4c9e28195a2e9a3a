"""Whole jobs and the profiler: what a call computes on the device, and the seconds and the memory of all steps of a
picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from lib_anyms.lab.bench.memory import peak_mib
from lib_anyms.lab.bench.streams import layout_of, stream_for
from lib_anyms.lab.bench.timing import Row, interleaved, row
from lib_anyms.lab.bench.whole import PLAIN, Bench, sharing

JOBS, TOKENS, CALLS = 3, 16, 3  # jobs of each kind, tokens a subject, profiled calls
Step = Callable[[torch.Tensor, int], torch.Tensor]


@torch.inference_mode()
def job_rows(bench: Bench, subjects: tuple[int, ...], steps: int, traces: Path | None = None) -> Iterator[Row]:
    """For none and for each number of subjects: seconds (`ms`) and peak (`mib`) of a job, and the device's time of a
    call.

    traces: where the profiler's files go, to be opened in a trace viewer; none are written where it is None.
    """
    unet = bench.unet()
    jobs = {PLAIN: _step(unet, bench)}
    for number in subjects:
        stream = stream_for(sharing(unet), layout_of(number), TOKENS, bench.like)
        stream.inject()
        jobs[f"AnyMS {number}"] = _step(stream.unet, bench)
    device = bench.like.device.type
    whole = {name: _whole(step, bench, steps) for name, step in jobs.items()}
    peaks = {name: _peak(job, device) for name, job in whole.items()}  # and the job that is not timed
    times = interleaved(whole, JOBS, 1, device, uncounted=0)
    computed = {name: [device_seconds(step, bench, name, traces) for _ in range(JOBS)] for name, step in jobs.items()}
    for name in jobs:
        number = int(name.rpartition(" ")[2]) if name != PLAIN else 0
        yield row(f"{bench.name}, {steps} steps", number, TOKENS, times, name, PLAIN, peaks[name])
        yield row(f"{bench.name}, computed by the device", number, TOKENS, computed, name, PLAIN)


def _step(unet: torch.nn.Module, bench: Bench) -> Step:
    """One step: all rows of the batch predicted, the guided half taken from the latent."""
    given = bench.inputs()
    del given["sample"], given["timestep"]

    def step(latent: torch.Tensor, time: int) -> torch.Tensor:
        uncond, cond = unet(torch.cat((latent, latent)), torch.tensor(time, device=latent.device), **given)[0].chunk(2)
        return latent - 0.01 * (uncond + 5 * (cond - uncond))

    return step


def _whole(step: Step, bench: Bench, steps: int) -> Callable[[], object]:
    def run() -> torch.Tensor:
        latent: torch.Tensor = bench.inputs()["sample"].chunk(2)[0]
        for number in range(steps):
            latent = step(latent, 999 - 999 * number // steps)
        return latent

    return run


def device_seconds(step: Step, bench: Bench, name: str, traces: Path | None) -> float:
    """What the profiler adds up of a call: kernels on a GPU, operators on a CPU."""
    on_gpu = bench.like.device.type == "cuda"
    latent = bench.inputs()["sample"].chunk(2)[0]
    step(latent, 500)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as told:
        for _ in range(CALLS):
            step(latent, 500)
    if traces is not None:
        traces.mkdir(parents=True, exist_ok=True)
        told.export_chrome_trace(str(traces / f"{bench.name}, {name}.json".replace(", ", "-").replace(" ", "_")))
    return sum(_own_microseconds(event, on_gpu) for event in told.key_averages()) / CALLS / 1e6


def _own_microseconds(event: Any, on_gpu: bool) -> float:
    if not on_gpu:
        return float(event.self_cpu_time_total)
    return float(
        event.self_device_time_total if hasattr(event, "self_device_time_total") else event.self_cuda_time_total
    )


def _peak(job: Callable[[], object], device: str) -> float:
    """MiB: on a GPU all that was taken, elsewhere what was taken beside what there was."""
    if device != "cuda":
        return peak_mib(job)
    torch.cuda.reset_peak_memory_stats()
    job()
    return torch.cuda.max_memory_allocated() / 2**20

"""Whole jobs: seconds and memory of all steps of an image; and the device time of one call, by the profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from lib_anyms.lab.bench.memory import peak_mib
from lib_anyms.lab.bench.streams import layout_of, stream_for
from lib_anyms.lab.bench.timing import Result, compare, interleaved
from lib_anyms.lab.bench.whole import PLAIN, UNetCase, sharing

JOBS, TOKENS, CALLS = 3, 16, 3  # jobs of each kind, tokens a subject, profiled calls
Step = Callable[[torch.Tensor, int], torch.Tensor]


@torch.inference_mode()
def job_results(case: UNetCase, subjects: tuple[int, ...], steps: int, traces: Path | None = None) -> Iterator[Result]:
    """For none and for each number of subjects: time (`ms`) and peak (`mib`) of a job; device time of a call.

    traces: the folder for the profiler's files (open them in a trace viewer); None writes none.
    """
    unet = case.unet()
    jobs = {PLAIN: _step(unet, case)}
    for number in subjects:
        stream = stream_for(sharing(unet), layout_of(number), TOKENS, case.like)
        stream.inject()
        jobs[f"AnyMS {number}"] = _step(stream.unet, case)
    device = case.like.device.type
    whole = {name: _whole(step, case, steps) for name, step in jobs.items()}
    peaks = {name: _peak(job, device) for name, job in whole.items()}  # also the warm-up
    times = interleaved(whole, JOBS, 1, device, uncounted=0)
    computed = {name: [device_seconds(step, case, name, traces) for _ in range(JOBS)] for name, step in jobs.items()}
    for name in jobs:
        number = int(name.rpartition(" ")[2]) if name != PLAIN else 0
        yield compare(f"{case.name}, {steps} steps", number, TOKENS, times, name, PLAIN, peaks[name])
        yield compare(f"{case.name}, computed by the device", number, TOKENS, computed, name, PLAIN)


def _step(unet: torch.nn.Module, case: UNetCase) -> Step:
    """One step: predict the whole batch, then apply guidance to the latent."""
    inputs = case.inputs()
    del inputs["sample"], inputs["timestep"]

    def step(latent: torch.Tensor, time: int) -> torch.Tensor:
        uncond, cond = unet(torch.cat((latent, latent)), torch.tensor(time, device=latent.device), **inputs)[0].chunk(2)
        return latent - 0.01 * (uncond + 5 * (cond - uncond))

    return step


def _whole(step: Step, case: UNetCase, steps: int) -> Callable[[], object]:
    def run() -> torch.Tensor:
        latent: torch.Tensor = case.inputs()["sample"].chunk(2)[0]
        for number in range(steps):
            latent = step(latent, 999 - 999 * number // steps)
        return latent

    return run


def device_seconds(step: Step, case: UNetCase, name: str, traces: Path | None) -> float:
    """The profiler's sum for a call: kernels on a GPU, operators on a CPU."""
    on_gpu = case.like.device.type == "cuda"
    latent = case.inputs()["sample"].chunk(2)[0]
    step(latent, 500)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        for _ in range(CALLS):
            step(latent, 500)
    if traces is not None:
        traces.mkdir(parents=True, exist_ok=True)
        file = f"{case.name}, {name}.json".replace(", ", "-").replace(" ", "_")
        profiler.export_chrome_trace(str(traces / file))
    return sum(_own_microseconds(event, on_gpu) for event in profiler.key_averages()) / CALLS / 1e6


def _own_microseconds(event: Any, on_gpu: bool) -> float:
    if not on_gpu:
        return float(event.self_cpu_time_total)
    if hasattr(event, "self_device_time_total"):
        return float(event.self_device_time_total)
    return float(event.self_cuda_time_total)  # before torch 2.4


def _peak(job: Callable[[], object], device: str) -> float:
    """MiB: on a GPU all memory in use, elsewhere the increase."""
    if device != "cuda":
        return peak_mib(job)
    torch.cuda.reset_peak_memory_stats()
    job()
    return torch.cuda.max_memory_allocated() / 2**20

"""The doctor's report: a block of text to paste into an issue.

It holds no paths, no prompts, no names of subjects and no pictures.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import metadata

import torch
from torch import nn

from lib_anyms import __version__
from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.hosts.facts import HostFacts
from lib_anyms.job.job_report import JobReport, PassReport, neighbours
from lib_anyms.layout.fields import AUTO
from lib_anyms.layout.layout import Subject
from lib_anyms.models.model_family import input_channels
from lib_anyms.models.model_files import ModelPair
from lib_anyms.webui import update_check

PACKAGES = ("torch", "gradio", "transformers", "safetensors", "numpy", "pillow", "xformers")
KIND_EVIDENCE = {"base": "has image_proj.proj", "plus": "has image_proj.latents and layers"}


def report(host: HostFacts, last: JobReport | None) -> str:
    """All known facts, one a line, within a Markdown fence."""
    lines = [
        *_versions(host),
        *_checkpoint(host.unet),
        *(_job(last) if last else ["last job: none with AnyMS since the WebUI started"]),
    ]
    return "\n".join(["```", *lines, "```"])


def unet_facts(unet: nn.Module | None) -> dict[str, object]:
    """The numbers that decide whether an adapter fits: attn2 layers, their widths, width of the text tokens."""
    layers = cross_attention_layers(unet) if unet is not None else ()
    widths = Counter(str(layer.width) for layer in layers)
    return {"attn2": len(layers), "widths": dict(widths), "context": _contexts(layers)}


def _contexts(layers: Iterable[Layer]) -> list[int]:
    return sorted({layer.context_width for layer in layers})


def _versions(host: HostFacts) -> Iterator[str]:
    yield f"AnyMS {__version__} ({update_check.SHORT}) in {host.name} {host.version}"
    if update_check.update() is not None:
        yield update_check.restart_sentence()
    yield f"Python {platform.python_version()}, {', '.join(filter(None, map(_package, PACKAGES)))}"
    yield f"system: {platform.system()} {platform.release()} {platform.machine()}; {_device()}"
    yield f"flags: {' '.join(host.flags) or 'none that matter to AnyMS'}"


def _package(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return ""


def _device() -> str:
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return f"{facts.name}, {facts.total_memory / 2**30:.1f} GiB"
    return "Apple GPU" if torch.backends.mps.is_available() else "no GPU seen by torch"


def _checkpoint(unet: nn.Module | None) -> Iterator[str]:
    if unet is None:
        yield "checkpoint: none loaded"
        return
    layers = cross_attention_layers(unet)
    yield f"checkpoint: {_sizes(layers)}, {input_channels(unet)} input channels, {type(unet).__name__}"
    yield f"hooks of others on its UNet now: {'; '.join(neighbours(unet)) or 'none'}"


def _sizes(layers: tuple[Layer, ...]) -> str:
    context = ", ".join(map(str, _contexts(layers)))
    return f"{len(layers)} attn2 ({_counted(layer.width for layer in layers)}), context {context or 'none'}"


def _counted(widths: Iterable[int]) -> str:
    return ", ".join(f"{count} of {width}" for width, count in Counter(widths).items())


def _job(last: JobReport) -> Iterator[str]:
    yield f"last job: {last.outcome or 'ran through'} ({last.host}), {last.steps} steps"
    if last.settings:
        # A file name may be anything a user typed, so it is left out; the pair below says which files were used.
        shown = [
            f"{name} {value}" for name, value in last.settings if name not in ("adapter", "encoder") or value == AUTO
        ]
        yield f"request: {', '.join(shown)}"
    if last.layout is not None:
        for number, subject in enumerate(last.layout.subjects, 1):
            yield _subject(number, subject)
    if last.pair is not None:
        yield from _pair(last.pair)
    for number, result in enumerate(last.passes, 1):
        yield from _pass(number, result)
    for result in last.second_looks:
        yield f"second look of subject {result.subject}: {_calls(result)}"
    if last.notes:
        yield f"notes: {', '.join(last.notes)}"
    total, encoding = last.seconds * 1000, last.encoding_seconds * 1000
    yield f"time: {total:.0f} ms, {encoding:.0f} ms of them encoding; K/V {last.bytes / 2**20:.1f} MiB"


def _subject(number: int, subject: Subject) -> str:
    """Without its name, which may be private."""
    box = " ".join(f"{edge:g}" for edge in (subject.box.x0, subject.box.y0, subject.box.x1, subject.box.y1))
    window = f"{subject.start:g} to {subject.end:g} of the steps"
    return f"subject {number}: {subject.role}, box {box}, weight {subject.weight:g}, {window}, blocks {subject.blocks}"


def _pair(pair: ModelPair) -> Iterator[str]:
    adapter, encoder = pair.adapter, pair.encoder
    widths = _counted(layer.width for layer in adapter.layers)
    yield (
        f"adapter {adapter.path.name}: {adapter.kind} ({KIND_EVIDENCE[adapter.kind]}), {adapter.tokens} tokens, "
        f"{len(adapter.layers)} layers ({widths}), context {adapter.context_width}, "
        f"takes {adapter.encoder_width} from its encoder"
    )
    if encoder is None:
        yield "encoder: none, every subject has a card"
        return
    yield (
        f"encoder {encoder.path.name}: hidden width {encoder.hidden_width}, projected {encoder.projection_width}, "
        f"{encoder.image_size} px; gives {encoder.width_for(adapter.kind)}"
    )


def _calls(result: PassReport) -> str:
    grid = f"{result.grid.width} x {result.grid.height} tokens" if result.grid else "no tokens seen"
    fired = f"{result.layers} of {result.layers} layers in each of {result.calls} UNet calls"
    failure = f", failed: {result.failure}" if result.failure else ""
    return f"{fired}, largest grid {grid}{failure}"


def _pass(number: int, result: PassReport) -> Iterator[str]:
    yield f"pass {number}: {_calls(result)}"
    if result.attention:
        yield f"pass {number} attention: not by {result.attention}"
    owned = [f"{share:.0%} of its box ({of_all:.0%} of the image)" for share, of_all in result.owned]
    yield f"pass {number} owned: {'; '.join(owned) or 'unknown'}"
    if result.windowed:
        yield f"pass {number} windows: boxes placed in {result.windowed} UNet calls on parts of the image"
    for cause, calls in result.left_out:
        yield f"pass {number} left out: {calls} UNet calls, {cause}"
    yield f"pass {number} neighbours: {'; '.join(result.neighbours) or 'none'}"
    skipped = result.skipped
    if skipped.times:
        counts = f"{skipped.steps} steps, {skipped.silent} whole and {skipped.partial} partial UNet calls"
        yield f"pass {number} skipped: {counts}, by {', '.join(skipped.by) or 'something unknown'}"

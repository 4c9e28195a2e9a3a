"""The doctor's report: a block of text to paste into an issue.

No paths, no prompts, no names of subjects, no pictures.
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
from lib_anyms.job.job_report import JobReport, PassResult, neighbours
from lib_anyms.layout.fields import AUTO
from lib_anyms.models.model_family import input_channels
from lib_anyms.models.model_files import ModelPair
from lib_anyms.webui import update_check

PACKAGES = ("torch", "gradio", "transformers", "safetensors", "numpy", "pillow", "xformers")
TOLD_BY = {"base": "told by image_proj.proj", "plus": "told by image_proj.latents and layers"}


def report(host: HostFacts, last: JobReport | None) -> str:
    """All that is known, one fact a line, within a Markdown fence."""
    lines = [
        *_versions(host),
        *_checkpoint(host.unet),
        *(_job(last) if last else ["last job: none with AnyMS since the start"]),
    ]
    return "\n".join(["```", *lines, "```"])


def unet_facts(unet: nn.Module | None) -> dict[str, object]:
    """The numbers by which an adapter fits or not."""
    layers = cross_attention_layers(unet) if unet is not None else ()
    return {
        "attn2": len(layers),
        "widths": {str(width): count for width, count in Counter(layer.width for layer in layers).items()},
        "context": sorted({layer.context_width for layer in layers}),
    }


def _versions(host: HostFacts) -> Iterator[str]:
    yield f"AnyMS {__version__} in {host.name} {host.version}"
    if update_check.update() is not None:
        yield update_check.restart_sentence()
    yield f"Python {platform.python_version()}, {', '.join(filter(None, map(_package, PACKAGES)))}"
    yield f"system: {platform.system()} {platform.release()} {platform.machine()}; {_device()}"
    yield f"flags: {' '.join(host.flags) or 'none that matter'}"


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
    yield f"on its UNet now, not ours: {'; '.join(neighbours(unet)) or 'nothing'}"


def _sizes(layers: tuple[Layer, ...]) -> str:
    context = ", ".join(str(width) for width in sorted({layer.context_width for layer in layers}))
    return f"{len(layers)} attn2 ({_counted(layer.width for layer in layers)}), context {context or 'none'}"


def _counted(widths: Iterable[int]) -> str:
    return ", ".join(f"{count} of {width}" for width, count in Counter(widths).items())


def _job(last: JobReport) -> Iterator[str]:
    yield f"last job: {last.outcome or 'ran through'} ({last.host}), {last.steps} steps"
    if last.settings:
        # a file's name may be anything a user typed; the pair below says what was taken
        told = [
            f"{name} {value}" for name, value in last.settings if name not in ("adapter", "encoder") or value == AUTO
        ]
        yield f"request: {', '.join(told)}"
    if last.layout is not None:
        for number, subject in enumerate(last.layout.subjects, 1):
            box = " ".join(f"{edge:g}" for edge in (subject.box.x0, subject.box.y0, subject.box.x1, subject.box.y1))
            window = f"{subject.start:g} to {subject.end:g} of the steps"
            yield f"subject {number}: {subject.role}, box {box}, weight {subject.weight:g}, {window}, blocks {subject.blocks}"
    if last.pair is not None:
        yield from _pair(last.pair)
    for number, each in enumerate(last.passes, 1):
        yield from _pass(number, each)
    if last.notes:
        yield f"notes: {', '.join(last.notes)}"
    whole, encoding = (seconds * 1000 for seconds in (last.seconds, last.encoding_seconds))
    yield f"time: {whole:.0f} ms, {encoding:.0f} ms of them encoding; K/V {last.bytes / 2**20:.1f} MiB"


def _pair(pair: ModelPair) -> Iterator[str]:
    adapter, encoder = pair.adapter, pair.encoder
    widths = _counted(layer.width for layer in adapter.layers)
    yield (
        f"adapter {adapter.path.name}: {adapter.kind} ({TOLD_BY[adapter.kind]}), {adapter.tokens} tokens, {len(adapter.layers)} "
        f"layers ({widths}), context {adapter.context_width}, "
        f"takes {adapter.encoder_width} from its encoder"
    )
    if encoder is None:
        yield "encoder: none, every subject has a card"
        return
    yield (
        f"encoder {encoder.path.name}: hidden width {encoder.hidden_width}, projected {encoder.projection_width}, "
        f"{encoder.image_size} px; gives {encoder.width_for(adapter.kind)}"
    )


def _pass(number: int, each: PassResult) -> Iterator[str]:
    grid = f"{each.grid.width} x {each.grid.height} tokens" if each.grid else "no tokens seen"
    fired = f"{each.layers} of {each.layers} layers in each of {each.calls} UNet calls"
    yield f"pass {number}: {fired}, largest grid {grid}{f', failed: {each.failure}' if each.failure else ''}"
    owned = [f"{share:.0%} of its box ({of_all:.0%} of the picture)" for share, of_all in each.owned]
    yield f"pass {number} owned: {'; '.join(owned) or 'unknown'}"
    yield f"pass {number} neighbours: {'; '.join(each.neighbours) or 'none'}"

"""What one job did, for the doctor's report: counts, sizes and times, no pictures and no prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from lib_anyms.engine.image_stream import PassResult
from lib_anyms.engine.sdpa import Unfit
from lib_anyms.engine.skipped import NOTHING, Skipped, module_of
from lib_anyms.errors import Noted
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout
from lib_anyms.models.model_files import ModelPair

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_OURS = "lib_anyms"


@dataclass(frozen=True)
class PassReport:
    """One sampling pass.

    layers: cross-attention layers; calls: whole UNet calls; grid: the largest token grid; owned: for each subject there
    the visible share of its box, and its share of the image; failure: the cause of the error the stream raised;
    windowed: calls on parts of the image; left_out: (cause, calls) where AnyMS did not act; attention: the attention
    function that AnyMS did not use, and why; skipped: what a cache or a forecast answered in place of the UNet;
    subject: the number, from 1, of the one subject of a second look.
    """

    layers: int
    calls: int
    grid: TokenGrid | None
    owned: tuple[tuple[float, float], ...]
    failure: str
    neighbours: tuple[str, ...]
    windowed: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    attention: str = ""
    skipped: Skipped = NOTHING
    subject: int = 0


@dataclass(frozen=True)
class JobReport:
    """One job. outcome: the cause that stopped it, or ""; notes: their causes; bytes: of the keys and values.

    second_looks: passes of jobs within this one, each for one subject.
    """

    host: str
    outcome: str
    settings: tuple[tuple[str, Any], ...]
    layout: Layout | None
    pair: ModelPair | None
    passes: tuple[PassReport, ...]
    steps: int
    seconds: float
    encoding_seconds: float
    bytes: int
    notes: tuple[str, ...] = ()
    second_looks: tuple[PassReport, ...] = ()


def report_pass(result: PassResult, unet: nn.Module) -> PassReport:
    """The report of a pass on `unet`, whether our hooks are still attached or not."""
    grid = max(result.grids, key=lambda grid: grid.tokens, default=None)
    return PassReport(
        layers=result.layers,
        calls=result.calls,
        grid=grid,
        owned=_owned(result.layout, grid),
        failure=result.failure,
        neighbours=neighbours(unet),
        windowed=result.windowed,
        left_out=result.left_out,
        attention=f"{result.unfit.module or 'torch'}: {result.unfit.got}" if result.unfit else "",
        skipped=result.skipped,
    )


def notes_of(result: PassResult) -> list[Noted]:
    """What is unusual about a pass so far."""
    notes = []
    if result.unfit is not None:
        notes.append(_attention_note(result.unfit))
    notes += [Noted(cause) for cause, _ in result.left_out]
    if result.foreign_text:
        notes.append(Noted("foreign_text"))
    return notes


def _attention_note(unfit: Unfit) -> Noted:
    """The note on an attention function that AnyMS does not use."""
    if unfit.module:
        return Noted("attention_replaced", module=unfit.module, got=unfit.got)
    return Noted("plain_softmax", got=unfit.got)


def notes_at_end(result: PassResult) -> list[Noted]:
    """What is unusual about a pass that ran through."""
    notes = []
    skipped = result.skipped
    if skipped.times > result.calls:
        by = ", ".join(skipped.by) or "unknown, perhaps a CUDA graph"
        notes.append(Noted("steps_skipped", by=by, skipped=skipped.times, calls=result.calls))
    for subject in result.missed if result.calls else ():
        window = {"start": f"{subject.start:g}", "end": f"{subject.end:g}"}
        notes.append(Noted("window_missed", name=subject.name, calls=result.calls, **window))
    return notes


def _owned(layout: Layout, grid: TokenGrid | None) -> tuple[tuple[float, float], ...]:
    if grid is None:
        return ()
    of_image = [len(tokens) / grid.tokens for tokens in layout.visible_tokens(grid)]
    return tuple(zip(layout.visible_shares(grid), of_image))


def neighbours(unet: nn.Module) -> tuple[str, ...]:
    """Hooks and replaced forwards of other extensions on the UNet, as "module: count kind"."""
    counts = Counter(_foreign(unet))
    return tuple(f"{owner}: {count} {kind}" for (owner, kind), count in sorted(counts.items()))


def _foreign(unet: nn.Module) -> Iterator[tuple[str, str]]:
    for module in unet.modules():
        attached = []
        for kind in _HOOKS:
            attached += [(hook, "hooks") for hook in getattr(module, kind).values()]
        if "forward" in vars(module):
            attached.append((vars(module)["forward"], "replaced forwards"))
        for function, kind in attached:
            owner = module_of(function)
            if owner.partition(".")[0] != _OURS:
                yield owner, kind

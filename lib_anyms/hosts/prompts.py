"""Prompts as the host's own text encoders read them: emphasis, BREAK, schedules, embeddings and clip skip apply."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class PromptSchedule:
    """One prompt over the steps: (last step, context (text tokens, C)), as prompt editing [a:b:0.5] makes it."""

    entries: tuple[tuple[int, torch.Tensor], ...]

    def at(self, step: int) -> torch.Tensor:
        """The context at `step`, chosen as the hosts choose it (prompt_parser.reconstruct_cond_batch)."""
        for last, context in self.entries:
            if step <= last:
                return context
        return self.entries[0][1]


def encode_webui_prompts(p: Any, prompts: Sequence[str], negative: bool) -> list[PromptSchedule]:
    """Encode by the loaded checkpoint's own text encoders, with the steps of the job's current sampling pass."""
    from modules import devices, prompt_parser, shared

    texts = prompt_parser.SdConditioning(list(prompts), negative, p.width, p.height)
    first = int(getattr(p, "firstpass_steps", None) or p.steps)
    hires = _hires_steps(p) if getattr(p, "is_hr_pass", False) else None
    arguments: list[Any] = [p.sd_model, texts, first, hires]
    # Forge Neo has no old scheduling.
    if "use_old_scheduling" in inspect.signature(prompt_parser.get_learned_conditioning).parameters:
        arguments.append(bool(getattr(shared.opts, "use_old_scheduling", False)))
    with torch.no_grad(), devices.autocast():
        schedules = prompt_parser.get_learned_conditioning(*arguments)
    return [_schedule(entries) for entries in schedules]


def _schedule(entries: Sequence[Any]) -> PromptSchedule:
    """The host's ScheduledPromptConditioning entries of one prompt."""
    return PromptSchedule(tuple((entry.end_at_step, _context(entry.cond)) for entry in entries))


def _hires_steps(p: Any) -> int:
    """The model calls of the second pass, as the host counts them."""
    from modules import sd_samplers

    steps = int(getattr(p, "hr_second_pass_steps", 0) or p.steps)
    config = sd_samplers.find_sampler_config(getattr(p, "hr_sampler_name", None) or p.sampler_name)
    return int(config.total_steps(steps)) if config else steps


def _context(cond: Any) -> torch.Tensor:
    tokens: torch.Tensor = cond["crossattn"] if isinstance(cond, dict) else cond
    return tokens


def encode_diffusers_prompts(pipeline: Any, prompts: Sequence[str]) -> list[PromptSchedule]:
    """Encode by the pipeline's text encoders. BREAK starts a new chunk, as in the WebUIs; there are no schedules."""
    schedules = []
    for prompt in prompts:
        chunks = [chunk.strip() for chunk in _BREAK.split(prompt)]
        with torch.no_grad():
            contexts = pipeline.encode_prompt(chunks, device=pipeline.device, do_classifier_free_guidance=False)[0]
        schedules.append(PromptSchedule(((0, contexts.flatten(0, 1)),)))
    return schedules

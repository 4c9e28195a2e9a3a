"""diffusers' StableDiffusionXLPipeline: a batch is [unconditional, conditional], or conditional without guidance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.hosts.prompts import PromptSchedule, encode_diffusers_prompts
from lib_anyms.layout.geometry import WHOLE, Viewport


class Diffusers:
    """One call of `pipeline` with the prompt `prompt`.

    files: adapter and encoder files, or folders of them, to choose from.
    """

    name = "diffusers"

    def __init__(self, pipeline: Any, files: list[Path], prompt: str = "") -> None:
        self._pipeline = pipeline
        self._files = files
        self._prompt = prompt
        self._progress = 0.0

    def unet(self) -> nn.Module:
        return self._pipeline.unet

    def bypassed_by(self) -> str | None:
        return None

    def text_led_by(self) -> str | None:
        return None

    def wrapped_by(self) -> str:
        return ""

    def end_scripts(self) -> None:
        """Nothing to do: there are no scripts."""

    def device(self) -> torch.device:
        return torch.device(self._pipeline.device)

    def dtype(self) -> torch.dtype:
        return self._pipeline.unet.dtype

    def make_room(self, size: int) -> None:
        """Nothing to do: the pipeline stays on its device."""

    def show_status(self, text: str | None) -> str | None:
        """Nothing to do: the pipeline shows no text."""
        return None

    def interrupted(self) -> bool:
        return False

    def folders(self) -> list[Path]:
        return self._files

    def checkpoint(self) -> str:
        return str(getattr(self._pipeline, "name_or_path", "") or "")

    def viewport(self) -> Viewport:
        return WHOLE

    def prompt(self) -> str:
        return self._prompt

    def encode_prompts(self, prompts: Sequence[str], negative: bool) -> list[PromptSchedule]:
        return encode_diffusers_prompts(self._pipeline, prompts)

    def schedule_step(self) -> int:
        """Always the first: diffusers has no schedules."""
        return 0

    def begin_step(self, step: float) -> None:
        """`step`: the share of the steps done, 0..1."""
        self._progress = step

    def progress(self) -> float:
        return self._progress

    def cond_map(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        count = (args[0] if args else kwargs["sample"]).shape[0]
        chunks = (False, True) if self._pipeline.do_classifier_free_guidance else (True,)
        return CondMap.of_chunks(chunks, count // len(chunks))

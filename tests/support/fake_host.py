"""A host with a TinyUNet. The test sets what it answers to Session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.hosts.prompts import PromptSchedule
from lib_anyms.layout.geometry import WHOLE, Viewport
from tests.support.tiny_unet import CONTEXT, inputs


def text_context(prompt: str) -> torch.Tensor:
    """(5, CONTEXT), decided by the prompt alone."""
    make = torch.Generator().manual_seed(sum(prompt.encode()))
    return torch.randn(5, CONTEXT, generator=make)


class FakeHost:
    name = "fake"

    def __init__(self, unet: nn.Module, folder: Path, cond: tuple[bool, ...] = (False, True)) -> None:
        self.current = unet
        self.folder = folder
        self.cond = cond
        self.bypass: str | None = None
        self.text_leader: str | None = None
        self.wrapper = ""
        self.ended = 0
        self.stopped = False
        self.checkpoint_name = ""
        self.words: list[str | None] = [None]
        self.room: list[int] = []
        self.shown = WHOLE
        self.step = SimpleNamespace(progress=0.0)
        self.main_prompt = "a cat and a dog on grass"
        self.encoded: list[tuple[str, bool]] = []  # (prompt, negative) in order

    def unet(self) -> nn.Module:
        return self.current

    def bypassed_by(self) -> str | None:
        return self.bypass

    def text_led_by(self) -> str | None:
        return self.text_leader

    def wrapped_by(self) -> str:
        return self.wrapper

    def end_scripts(self) -> None:
        self.ended += 1

    def device(self) -> torch.device:
        return torch.device("cpu")

    def dtype(self) -> torch.dtype:
        return next(self.current.parameters()).dtype

    def make_room(self, size: int) -> None:
        assert size > 0
        self.room.append(size)

    def show_status(self, text: str | None) -> str | None:
        self.words.append(text)
        return self.words[-2]

    def interrupted(self) -> bool:
        return self.stopped

    def folders(self) -> list[Path]:
        return [self.folder]

    def checkpoint(self) -> str:
        return self.checkpoint_name

    def viewport(self) -> Viewport:
        return self.shown

    def prompt(self) -> str:
        return self.main_prompt

    def encode_prompts(self, prompts: Sequence[str], negative: bool) -> list[PromptSchedule]:
        """Random contexts; a prompt with "->" changes at step 1."""
        schedules = []
        for prompt in prompts:
            self.encoded.append((prompt, negative))
            parts = prompt.split("->")
            schedules.append(PromptSchedule(tuple((step, text_context(part)) for step, part in enumerate(parts))))
        return schedules

    def schedule_step(self) -> int:
        return int(getattr(self.step, "number", 0))

    def begin_step(self, step: Any) -> None:
        self.step = step

    def progress(self) -> float:
        return self.step.progress

    def cond_map(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        return CondMap(self.cond)


@torch.no_grad()
def sample(unet: nn.Module, batch: int = 2) -> torch.Tensor:
    """One UNet call with fixed inputs."""
    return unet(*inputs(batch, 12, 16, next(unet.parameters()).dtype))

"""What AnyMS needs of a host. One object serves one generation and stores nothing on the host's own objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.hosts.prompts import PromptSchedule
from lib_anyms.layout.geometry import Viewport


class Host(Protocol):
    """A program whose UNet we hook."""

    name: str

    def unet(self) -> nn.Module:
        """The current UNet. Raises SteppedAside where there is none."""

    def bypassed_by(self) -> str | None:
        """The name of what runs in place of the UNet's own modules (TensorRT, ...), if anything does."""

    def device(self) -> torch.device:
        """The device the UNet samples on."""

    def dtype(self) -> torch.dtype:
        """The dtype the UNet samples in."""

    def text_led_by(self) -> str | None:
        """The name of what gives each region a text in place of the UNet's own layers, if anything does."""

    def wrapped_by(self) -> str:
        """The Python module of the function that may answer in place of the UNet; "" where there is none."""

    def end_scripts(self) -> None:
        """Let other extensions clean up after sampling. A host does not, where the UNet raises."""

    def make_room(self, size: int) -> None:
        """Free `size` bytes on `device()` for the time of the encoding."""

    def show_status(self, text: str | None) -> str | None:
        """Show `text` at the host's progress bar; returns the text it replaces."""

    def interrupted(self) -> bool:
        """Whether the user has stopped this image."""

    def folders(self) -> list[Path]:
        """Where users of this host keep adapters and image encoders."""

    def checkpoint(self) -> str:
        """The name of the loaded checkpoint and what its metadata call it, as text; "" where it is unknown."""

    def viewport(self) -> Viewport:
        """The crop of the canvas that this sampling pass renders. Raises SteppedAside where it is unknown."""

    def prompt(self) -> str:
        """The main prompt of this sampling pass, without extra networks."""

    def encode_prompts(self, prompts: Sequence[str], negative: bool) -> list[PromptSchedule]:
        """Encode prompts, or negative ones, by the host's own text encoders."""

    def schedule_step(self) -> int:
        """The number of this denoiser step, as prompt schedules count it."""

    def begin_step(self, step: Any) -> None:
        """Read the host's own callback at the start of a denoiser step."""

    def progress(self) -> float:
        """The share of the steps done at this step, 0..1, whatever sampler calls the UNet how often."""

    def cond_map(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        """Which batch entries of this UNet call are conditional, and which part of the image each shows.

        An entry of an unknown text or place has no image stream. Raises Refused where the batch cannot be read.
        """

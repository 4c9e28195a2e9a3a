"""What AnyMS asks of a host. One object lives for one generation and keeps nothing on the host's own objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.layout.geometry import Viewport


class Host(Protocol):
    """A program whose UNet we hook."""

    name: str

    def unet(self) -> nn.Module:
        """The UNet as it is now; raises SteppedAside where there is none."""

    def bypassed_by(self) -> str | None:
        """What runs in place of the UNet's own modules (TensorRT, ...), if anything does."""

    def device(self) -> torch.device:
        """Where the UNet samples."""

    def dtype(self) -> torch.dtype:
        """In what the UNet samples."""

    def tiled_by(self) -> str | None:
        """What feeds the UNet tiles of the picture, if anything does."""

    def make_room(self, size: int) -> None:
        """`size` bytes are about to be used on `device()`, for the time of the encoding."""

    def tell(self, words: str | None) -> str | None:
        """Show `words` at the host's progress bar in place of what is shown there; returns that."""

    def interrupted(self) -> bool:
        """Whether the user has stopped this picture."""

    def folders(self) -> list[Path]:
        """Where users of this host keep adapters and image encoders."""

    def viewport(self) -> Viewport:
        """Which part of the picture the user draws on the sampling that begins shows; raises SteppedAside where it is
        unknown.
        """

    def begin_step(self, step: Any) -> None:
        """Read the host's own callback at the start of a denoiser step."""

    def progress(self) -> float:
        """Share of the steps done, 0..1, at this step."""

    def rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        """Which rows of this UNet call are conditional; raises Refused where that cannot be known."""

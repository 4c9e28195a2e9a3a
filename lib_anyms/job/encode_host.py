"""What encoding needs of a host, and a stand-in for where nothing is sampled."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

CPU = torch.device("cpu")


class EncodeHost(Protocol):
    """The part of `Host` that encoding uses."""

    def device(self) -> torch.device:
        """See `Host.device`."""

    def make_room(self, size: int) -> None:
        """See `Host.make_room`."""

    def show_status(self, text: str | None) -> str | None:
        """See `Host.show_status`."""

    def interrupted(self) -> bool:
        """See `Host.interrupted`."""


class PrepareHost(EncodeHost, Protocol):
    """The part of `Host` that the preparation of a job uses."""

    def unet(self) -> nn.Module:
        """See `Host.unet`."""

    def dtype(self) -> torch.dtype:
        """See `Host.dtype`."""


class CpuHost:
    """An `EncodeHost` on the CPU: uses no GPU memory, shows nothing, is never interrupted."""

    def device(self) -> torch.device:
        return CPU

    def make_room(self, size: int) -> None:
        """Nothing to do: the system has virtual memory."""

    def show_status(self, text: str | None) -> str | None:
        return None

    def interrupted(self) -> bool:
        return False

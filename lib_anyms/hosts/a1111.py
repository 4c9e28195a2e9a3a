"""AUTOMATIC1111's WebUI 1.10: UNet calls take batch entries in the order the denoiser callback announced them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondCursor, CondMap
from lib_anyms.errors import Refused
from lib_anyms.hosts.webui import WebUI

_ENGINES = {"TrtUnet": "TensorRT"}  # class of the UNet's replacement -> the name users know


class A1111(WebUI):
    """One generation `p` in A1111."""

    name = "A1111"

    def __init__(self, p: Any) -> None:
        super().__init__(p)
        self._cursor: CondCursor | None = None

    def unet(self) -> nn.Module:
        from modules import shared

        return shared.sd_model.model.diffusion_model

    def bypassed_by(self) -> str | None:
        from modules import sd_unet

        current = sd_unet.current_unet
        if current is None:
            return None
        name = type(current).__name__
        return _ENGINES.get(name, name)

    def device(self) -> torch.device:
        from modules import devices

        return torch.device(devices.device)

    def dtype(self) -> torch.dtype:
        from modules import devices

        return devices.dtype_unet

    def begin_step(self, step: Any) -> None:
        """The callback lists all conditional entries (AND-expanded), then one unconditional entry per image."""
        super().begin_step(step)
        text = step.text_uncond
        uncond = (text["crossattn"] if isinstance(text, dict) else text).shape[0]
        cond = step.x.shape[0] - uncond
        self._cursor = CondCursor(CondMap((True,) * cond + (False,) * uncond))

    def cond_map(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        count = (args[0] if args else kwargs["x"]).shape[0]
        if self._cursor is None:
            raise Refused("rows_unknown", got=count, expected="a step announced by the sampler")
        return self._cursor.take(count)

"""AUTOMATIC1111's WebUI 1.10: rows are consumed in the order the denoiser callback announced them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondCursor, CondMap
from lib_anyms.errors import Refused
from lib_anyms.hosts.webui import WebUI

_ENGINES = {"TrtUnet": "TensorRT"}  # the class of what runs in the UNet's place -> what users call it


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
        return _ENGINES.get(type(current).__name__, type(current).__name__) if current is not None else None

    def device(self) -> torch.device:
        from modules import devices

        return torch.device(devices.device)

    def dtype(self) -> torch.dtype:
        from modules import devices

        return devices.dtype_unet

    def begin_step(self, step: Any) -> None:
        """The callback lists all conditional rows (AND-expanded), then one unconditional row an image."""
        super().begin_step(step)
        uncond = step.text_uncond["crossattn"] if isinstance(step.text_uncond, dict) else step.text_uncond
        uncond = uncond.shape[0]
        self._cursor = CondCursor(CondMap((True,) * (step.x.shape[0] - uncond) + (False,) * uncond))

    def rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        count = (args[0] if args else kwargs["x"]).shape[0]
        if self._cursor is None:
            raise Refused("rows_unknown", got=count, expected="a step announced by the sampler")
        return self._cursor.take(count)

"""AUTOMATIC1111's WebUI 1.10: UNet calls take batch entries in the order the denoiser callback announced them.

Guidance of extensions (PAG) calls the UNet again within a step, and tilers call it with windows of the latents. The
entries of such calls are known by their texts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondCursor, CondMap
from lib_anyms.errors import Refused
from lib_anyms.hosts.calls import by_text, kinds_of, latents_of, text_of, tokens_of, windows_of
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
        uncond = len(tokens_of(step.text_uncond))
        cond = len(step.x) - uncond
        self._cursor = CondCursor(CondMap((True,) * cond + (False,) * uncond))

    def cond_map(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        latents = latents_of(args, kwargs)
        count, step, cursor = len(latents), self.step, self._cursor
        if cursor is None:
            raise Refused("rows_unknown", got=count, expected="a step announced by the sampler")
        windows = windows_of(latents, step.x[-len(tokens_of(step.text_uncond)) :])
        if not windows and cursor.position == 0 and count == len(cursor.conds.is_cond):
            return cursor.take(count)  # the whole batch: no text needs to be compared, which waits for the GPU
        kinds = kinds_of(text_of(args, kwargs), count, step.text_cond, step.text_uncond)
        expected = cursor.next(count)
        fits = len(expected) == count and all(flag in kind or not kind for flag, kind in zip(expected, kinds))
        return cursor.take(count) if fits and not windows else by_text(kinds, windows)

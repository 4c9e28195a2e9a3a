"""Forge (`backend/`): every UNet call carries `cond_or_uncond`, one flag a chunk of rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.webui import WebUI
from lib_anyms.rows import RowMap


class Forge(WebUI):
    """One generation `p` in Forge."""

    name = "Forge"

    def unet(self) -> nn.Module:
        patcher = getattr(self.p.sd_model.forge_objects, "unet", None)
        unet = getattr(getattr(patcher, "model", None), "diffusion_model", None)
        if unet is None:
            raise SteppedAside("no_unet", got=type(self.p.sd_model).__name__)
        return unet

    def bypassed_by(self) -> str | None:
        return None

    def device(self) -> torch.device:
        from backend import memory_management

        return torch.device(memory_management.get_torch_device())

    def dtype(self) -> torch.dtype:
        patcher = self.p.sd_model.forge_objects.unet
        return getattr(patcher.model, "computation_dtype", torch.float32)

    def make_room(self, size: int) -> None:
        from backend import memory_management

        if self.device().type != "cpu":
            memory_management.free_memory(size, self.device())

    def rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RowMap:
        count = (args[0] if args else kwargs["x"]).shape[0]
        flags = kwargs.get("transformer_options", {}).get("cond_or_uncond")
        if not flags or count % len(flags):
            raise Refused("rows_unknown", got=count, expected=f"a multiple of the {len(flags or ())} chunks named by the host")
        return RowMap.of_chunks((flag == 0 for flag in flags), count // len(flags))

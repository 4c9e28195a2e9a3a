"""The Forge family: every UNet call has `cond_or_uncond`, one flag per chunk of the batch. Here: hosts with `backend/`.

Forge marks further calls of a guidance as conditional, whatever their text: SAG predicts from the negative text once
more and compares that with the unconditional prediction. Predictions from the same text must use the same image tokens,
so the text decides for calls after the step's conditional predictions, and for windows of the latents.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.calls import Kinds, by_text, kinds_of, latents_of, text_of, tokens_of, windows_of
from lib_anyms.hosts.facts import family_name
from lib_anyms.hosts.webui import WebUI


class Forge(WebUI):
    """One generation `p` in Forge or Forge Neo."""

    package = "backend"

    def __init__(self, p: Any) -> None:
        super().__init__(p)
        self.name = family_name(self.package)
        self._conds_left = 0  # conditional chunks of this step that are not predicted yet

    def unet(self) -> nn.Module:
        patcher = getattr(self.p.sd_model.forge_objects, "unet", None)
        unet = getattr(getattr(patcher, "model", None), "diffusion_model", None)
        if unet is None:
            raise SteppedAside("no_unet", got=type(self.p.sd_model).__name__)
        return unet

    def bypassed_by(self) -> str | None:
        """Forge Neo's built-in torch.compile puts a compiled UNet in place for the time of each call."""
        patcher = getattr(self.p.sd_model.forge_objects, "unet", None)
        compiles = getattr(getattr(patcher, "model", None), "_torch_compile_config", None)
        return "torch.compile" if compiles else None

    def begin_step(self, step: Any) -> None:
        """Also check Forge Neo's refiner: it may load its weights into the same UNet object. Raises SteppedAside."""
        super().begin_step(step)
        positive, images = tokens_of(getattr(step, "text_cond", None)), getattr(step, "x", None)
        self._conds_left = 1 if positive is None or images is None else max(1, len(positive) // len(images))
        if getattr(sys.modules.get("modules.sd_samplers_common"), "ORIGINAL_CHECKPOINT", None) is not None:
            raise SteppedAside("unet_replaced", progress=f"{self.progress():.0%}")

    def memory(self) -> Any:
        """The module of the host's memory manager."""
        from backend import memory_management

        return memory_management

    def device(self) -> torch.device:
        return torch.device(self.memory().get_torch_device())

    def dtype(self) -> torch.dtype:
        patcher = self.p.sd_model.forge_objects.unet
        return getattr(patcher.model, "computation_dtype", torch.float32)

    def make_room(self, size: int) -> None:
        if self.device().type != "cpu":
            self.memory().free_memory(size, self.device())

    def cond_map(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        latents = latents_of(args, kwargs)
        count = len(latents)
        flags = kwargs.get("transformer_options", {}).get("cond_or_uncond")
        if not flags or count % len(flags):
            expected = f"a multiple of the {len(flags or ())} chunks named by the host"
            raise Refused("rows_unknown", got=count, expected=expected)
        announced = CondMap.of_chunks((flag == 0 for flag in flags), count // len(flags))
        windows = windows_of(latents, getattr(self.step, "x", None))
        positive, negative = (getattr(self.step, name, None) for name in ("text_cond", "text_uncond"))
        if positive is None or (not windows and self._is_next(flags)):
            return announced  # no text needs to be compared, which waits for the GPU
        kinds = _with_flags(kinds_of(text_of(args, kwargs), count, positive, negative), announced, bool(windows))
        return replace(by_text(kinds, windows), chunk=announced.chunk)

    def _is_next(self, flags: list[int]) -> bool:
        """Whether the conditional chunks of a call are some that the step still has to predict."""
        conditional = flags.count(0)
        self._conds_left -= conditional
        return not conditional or self._conds_left >= 0


def _with_flags(kinds: list[Kinds], announced: CondMap, windows: bool) -> list[Kinds]:
    """The texts' kinds, beside the host's flags.

    Of whole images, what the host calls unconditional is so. In windows a tiler may have repeated the batch, so flags
    count only where they are all equal and the text is unknown.
    """
    flags = announced.is_cond
    if windows:
        return [kind or frozenset(flags) if len(set(flags)) == 1 else kind for kind in kinds]
    return [kind if flag else frozenset((False,)) for kind, flag in zip(kinds, flags)]

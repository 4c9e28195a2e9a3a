"""The Forge family: every UNet call has `cond_or_uncond`, one flag per chunk of the batch. Here: hosts with `backend/`.

Forge marks further calls of a guidance as conditional, whatever their text: SAG predicts from the negative text once
more and compares that with the unconditional prediction. Predictions from the same text must use the same image tokens,
so the text decides for calls after the unconditional prediction.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.hosts.facts import family_name
from lib_anyms.hosts.webui import WebUI


class Forge(WebUI):
    """One generation `p` in Forge or Forge Neo."""

    package = "backend"

    def __init__(self, p: Any) -> None:
        super().__init__(p)
        self.name = family_name(self.package)
        self._texts: tuple[Any, Any] = (None, None)  # of this step: positive, negative
        self._predicted_both = False  # in this step; comparing texts waits for the GPU, so it is done only then

    def unet(self) -> nn.Module:
        patcher = getattr(self.p.sd_model.forge_objects, "unet", None)
        unet = getattr(getattr(patcher, "model", None), "diffusion_model", None)
        if unet is None:
            raise SteppedAside("no_unet", got=type(self.p.sd_model).__name__)
        return unet

    def bypassed_by(self) -> str | None:
        return None

    def begin_step(self, step: Any) -> None:
        """Also check Forge Neo's refiner: it may load its weights into the same UNet object. Raises SteppedAside."""
        super().begin_step(step)
        self._texts = (getattr(step, "text_cond", None), getattr(step, "text_uncond", None))
        self._predicted_both = False
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
        count = (args[0] if args else kwargs["x"]).shape[0]
        flags = kwargs.get("transformer_options", {}).get("cond_or_uncond")
        if not flags or count % len(flags):
            expected = f"a multiple of the {len(flags or ())} chunks named by the host"
            raise Refused("rows_unknown", got=count, expected=expected)
        if any(flags):
            self._predicted_both = True
        elif self._predicted_both and _is_negative(kwargs.get("context"), *self._texts):
            return CondMap.of_chunks((False for _ in flags), count // len(flags))
        return CondMap.of_chunks((flag == 0 for flag in flags), count // len(flags))


def _is_negative(context: torch.Tensor | None, positive: Any, negative: Any) -> bool:
    """Whether a call's text (batch, tokens, width) is the step's negative text and none of its positive texts."""
    negative, positive = _tokens_of(negative), _tokens_of(positive)
    if context is None or negative is None or context.shape != negative.shape:
        return False
    negative, positive = negative.to(context), positive.to(context)
    also_positive = positive.shape[1:] == negative.shape[1:] and (positive == negative[:1]).flatten(1).all(1).any()
    return torch.equal(context, negative) and not also_positive


def _tokens_of(text: Any) -> Any:
    return text["crossattn"] if isinstance(text, dict) else text

"""SDXL's noise schedule, v-prediction, the loss of a UNet call, and a plain sampler for probes.

With alpha^2 + sigma^2 = 1:  x_t = alpha x + sigma e,  v = alpha e - sigma x  (arXiv 2202.00512).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lib_anyms.standalone.pipeline import SCHEDULER

_SCHEDULE: dict[str, Any] = dict(SCHEDULER)
STEPS: int = _SCHEDULE["num_train_timesteps"]
# Above this timestep the layout is decided. Below it a trained UNet sees the figure in the noise itself, so text and
# reference no longer matter.
_DECISIVE = 850
_DECISIVE_SHARE = 0.35  # of the timesteps drawn
_NOISY = 0.65  # exponent for the others: 1 draws all timesteps equally often
Predict = Callable[[Tensor, Tensor], Tensor]  # (x_t, timesteps) -> v


@cache
def _signal_shares() -> Tensor:
    """alpha^2 at every timestep, float64."""
    first, last = _SCHEDULE["beta_start"] ** 0.5, _SCHEDULE["beta_end"] ** 0.5
    return (1 - torch.linspace(first, last, STEPS, dtype=torch.float64).square()).cumprod(0)


def draw_timesteps(count: int) -> Tensor:
    """(count,): a fixed share above `_DECISIVE`, the others more often noisy than not.

    Stratified: one from each of `count` equal parts, shuffled, so batches differ less.
    """
    spread = (torch.arange(count) + torch.rand(count)) / count
    rest = (spread / (1 - _DECISIVE_SHARE)).clamp(max=1)
    decisive = (spread - (1 - _DECISIVE_SHARE)) / _DECISIVE_SHARE
    times = torch.where(rest < 1, STEPS * rest**_NOISY, _DECISIVE + (STEPS - _DECISIVE) * decisive)
    return times[torch.randperm(count)].long().clamp(max=STEPS - 1)


def alpha_sigma(timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 1, 1, 1) each, in the dtype and on the device of `like`."""
    share = _signal_shares()[timesteps.cpu()].view(-1, 1, 1, 1)
    return share.sqrt().to(like), (1 - share).sqrt().to(like)


def v_errors(
    predict: Predict, latents: Tensor, timesteps: Tensor, noise: Tensor, weights: Tensor | float = 1
) -> Tensor:
    """Each image's mean squared error of v, (n,). weights: of the cells, (n, 1, h, w)."""
    alpha, sigma = alpha_sigma(timesteps, latents)
    target = alpha * noise - sigma * latents
    v = predict(alpha * latents + sigma * noise, timesteps).float()
    return ((v - target).square() * weights).mean((1, 2, 3))


def predictor(unet: Any, text: tuple[Tensor, Tensor], pixels: int) -> Predict:
    """The UNet with these texts (context, pooled), and SDXL's sizes of an uncropped image of `pixels` a side."""
    context, pooled = text
    sizes = torch.tensor([pixels, pixels, 0, 0, pixels, pixels], device=pooled.device, dtype=pooled.dtype)
    conditions = {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), -1)}

    def predict(latents: Tensor, timesteps: Tensor) -> Tensor:
        latents = latents.contiguous(memory_format=torch.channels_last)
        return unet(latents, timesteps, context, added_cond_kwargs=conditions, return_dict=False)[0]

    return predict


@torch.no_grad()
def sample(
    conditional: Predict, unconditional: Predict, noise: Tensor, steps: int = 20, guidance: float = 4.0
) -> Tensor:
    """DDIM from pure noise -> latents."""
    latents = noise
    times = torch.linspace(STEPS - 1, 0, steps + 1).round().long()
    for now, later in pairwise(times):
        timesteps = now.expand(len(noise)).to(noise.device)
        uncond = unconditional(latents, timesteps).float()
        v = uncond + guidance * (conditional(latents, timesteps).float() - uncond)
        alpha, sigma = alpha_sigma(now[None], latents)
        clean, rest = alpha * latents - sigma * v, sigma * latents + alpha * v
        alpha, sigma = alpha_sigma(later[None], latents)
        latents = alpha * clean + sigma * rest
    return clean

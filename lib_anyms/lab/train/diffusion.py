"""Noise and its removal: SDXL's betas, v-prediction, the loss of a UNet call, and a plain sampler for looking at a
training.

With alpha^2 + sigma^2 = 1:  x_t = alpha x + sigma e,  v = alpha e - sigma x  (arXiv 2202.00512).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from lib_anyms.standalone.pipeline import SCHEDULER

_SCHEDULE: dict[str, Any] = dict(SCHEDULER)
STEPS: int = _SCHEDULE["num_train_timesteps"]
# Above this timestep it is decided what is where. Below, a trained UNet sees the figure in the noise itself, and what
# text and reference say of it no longer matters.
_DECISIVE = 850
_DECISIVE_SHARE = 0.35  # of the draws
_NOISY = 0.65  # exponent of the others: 1 draws all timesteps equally often
Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (x_t, timesteps) -> v


@cache
def _signal_shares() -> torch.Tensor:
    """alpha^2 at every timestep, float64."""
    first, last = _SCHEDULE["beta_start"] ** 0.5, _SCHEDULE["beta_end"] ** 0.5
    return (1 - torch.linspace(first, last, STEPS, dtype=torch.float64).square()).cumprod(0)


def draw_timesteps(count: int) -> torch.Tensor:
    """(count,): a share of them noisier than `_DECISIVE`, the others more often noisy than not.

    One from each of `count` equal parts, in any order: so batches differ less.
    """
    spread = (torch.arange(count) + torch.rand(count)) / count
    rest = (spread / (1 - _DECISIVE_SHARE)).clamp(max=1)
    decisive = (spread - (1 - _DECISIVE_SHARE)) / _DECISIVE_SHARE
    times = torch.where(rest < 1, STEPS * rest**_NOISY, _DECISIVE + (STEPS - _DECISIVE) * decisive)
    return times[torch.randperm(count)].long().clamp(max=STEPS - 1)


def alpha_sigma(timesteps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 1, 1, 1) each, in the dtype and on the device of `like`."""
    share = _signal_shares()[timesteps.cpu()].view(-1, 1, 1, 1)
    return share.sqrt().to(like), (1 - share).sqrt().to(like)


def v_errors(
    predict: Predict,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    noise: torch.Tensor,
    weights: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Each picture's mean squared error of v, (n,). weights: of the cells, (n, 1, h, w)."""
    alpha, sigma = alpha_sigma(timesteps, latents)
    wanted = alpha * noise - sigma * latents
    found = predict(alpha * latents + sigma * noise, timesteps).float()
    return ((found - wanted).square() * weights).mean((1, 2, 3))


def added(pooled: torch.Tensor, pixels: int) -> dict[str, torch.Tensor]:
    """SDXL's added conditions for an uncropped picture of `pixels` a side."""
    sizes = torch.tensor([pixels, pixels, 0, 0, pixels, pixels], device=pooled.device, dtype=pooled.dtype)
    return {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), -1)}


@torch.no_grad()
def sample(
    conditional: Predict, unconditional: Predict, noise: torch.Tensor, steps: int = 20, guidance: float = 4.0
) -> torch.Tensor:
    """DDIM from pure noise -> latents."""
    latents = noise
    times = torch.linspace(STEPS - 1, 0, steps + 1).round().long()
    for now, later in pairwise(times):
        timesteps = now.expand(len(noise)).to(noise.device)
        plain = unconditional(latents, timesteps).float()
        v = plain + guidance * (conditional(latents, timesteps).float() - plain)
        alpha, sigma = alpha_sigma(now[None], latents)
        picture, rest = alpha * latents - sigma * v, sigma * latents + alpha * v
        alpha, sigma = alpha_sigma(later[None], latents)
        latents = alpha * picture + sigma * rest
    return picture

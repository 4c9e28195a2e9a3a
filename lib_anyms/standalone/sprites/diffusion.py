"""Noise and its removal: SDXL's betas, v-prediction, the loss of a UNet call, and a plain sampler for looking at a training.

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
_SUBJECT = 3.0  # how much more a cell of a sprite counts
_DOUBTFUL = (350, 990)  # timesteps
_NOISY = 0.65  # exponent: 1 draws all timesteps equally often
Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (x_t, timesteps) -> v


@cache
def _signal_shares() -> torch.Tensor:
    """alpha^2 at every timestep, float64."""
    first, last = _SCHEDULE["beta_start"] ** 0.5, _SCHEDULE["beta_end"] ** 0.5
    return (1 - torch.linspace(first, last, STEPS, dtype=torch.float64).square()).cumprod(0)


def draw_timesteps(count: int) -> torch.Tensor:
    """(count,), more of the noisy ones, where it is decided what is where: a fifth lies above 866, a twelfth below 200.

    One from each of `count` equal parts, in any order: batches differ less.
    """
    spread = (torch.randperm(count) + torch.rand(count)) / count
    return (STEPS * spread**_NOISY).long().clamp(max=STEPS - 1)


def draw_doubtful(count: int) -> torch.Tensor:
    """(count,) of the timesteps at which a picture's sprites may still become others."""
    low, high = _DOUBTFUL
    return torch.randint(low, high, (count,))


def subject_weights(covered: torch.Tensor) -> torch.Tensor:
    """Weights of the cells in the loss, of mean 1: a sprite's count more, or the ground would drown them.

    covered: (n, 1, h, w), 1 where a sprite touches the cell.
    """
    weights = 1 + _SUBJECT * covered
    return weights / weights.mean()


def alpha_sigma(timesteps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 1, 1, 1) each."""
    share = _signal_shares()[timesteps.cpu()].view(-1, 1, 1, 1)
    return share.sqrt().to(like), (1 - share).sqrt().to(like)


def noised(
    latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, shown: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x_t, v). `shown`: x_t is made of another picture than the one v leads to."""
    alpha, sigma = alpha_sigma(timesteps, latents)
    inputs = alpha * (latents if shown is None else shown) + sigma * noise
    return inputs, (alpha * inputs - latents) / sigma


def v_loss(
    predict: Predict,
    latents: torch.Tensor,
    timesteps: torch.Tensor,
    noise: torch.Tensor,
    gamma: float = 0.0,
    weights: torch.Tensor | float = 1.0,
    shown: torch.Tensor | None = None,
) -> torch.Tensor:
    """Each picture's mean squared error of v, (n,). gamma > 0: weighted by min(SNR, gamma) / (SNR + 1) (arXiv 2303.09556).

    weights: of the cells, (n, 1, h, w). shown: see `noised`.
    """
    inputs, wanted = noised(latents, noise, timesteps, shown)
    errors = ((predict(inputs, timesteps).float() - wanted).square() * weights).mean((1, 2, 3))
    if gamma:
        share = _signal_shares()[timesteps.cpu()].to(errors)
        errors = errors * torch.minimum(share, gamma * (1 - share))  # min(SNR, gamma) / (SNR + 1) with SNR = share / (1 - share)
    return errors


def added(pooled: torch.Tensor, side: int) -> dict[str, torch.Tensor]:
    """SDXL's added conditions for uncropped pictures of `side` latent cells."""
    pixels = float(side * 8)
    sizes = torch.tensor([pixels, pixels, 0, 0, pixels, pixels], device=pooled.device)
    return {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), -1)}


def predictor(unet: Any, context: torch.Tensor, pooled: torch.Tensor, side: int) -> Predict:
    """The UNet under these texts."""
    conditions = added(pooled, side)

    def predict(inputs: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return unet(inputs, timesteps, encoder_hidden_states=context, added_cond_kwargs=conditions, return_dict=False)[0]

    return predict


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

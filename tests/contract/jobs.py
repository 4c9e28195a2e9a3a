"""The common part of all host stand-ins: the job `p`, texts, noise, samplers, and recorded UNet calls."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from lib_anyms.standalone.structure import SMALL

STRUCTURE = replace(SMALL, res_blocks=1)  # depths 0, 1, 2: 11 cross-attention layers
Denoise = Callable[..., torch.Tensor]  # (x, sigma, step=None) -> the denoised latents
CHUNK = 77


@dataclass(frozen=True)
class Call:
    """One UNet call: inputs, output, which batch entries are conditional, and the share of the steps done."""

    unet: nn.Module
    inputs: dict[str, torch.Tensor]
    is_cond: tuple[bool, ...]
    progress: float
    output: torch.Tensor


@dataclass
class Painted:
    """The results of a job: latents of each iteration, UNet calls, infotext entries and comments."""

    latents: list[torch.Tensor]
    calls: list[Call]
    entries: dict[str, Any]
    comments: list[str]


@dataclass
class Job:
    """A host's `p`. Sizes in latent pixels; `prompt`: the parts that AND joins; chunks of 77 tokens."""

    sd_model: Any = None
    prompt: tuple[str, ...] = ("a cat and a dog",)
    negative: str = "blurry"
    chunks: int = 1
    negative_chunks: int = 1
    seed: int = 7
    height: int = 8
    width: int = 12
    steps: int = 2
    batch_size: int = 1
    n_iter: int = 1
    cfg_scale: float = 2.0
    sampler: str = "Euler"
    hires: tuple[int, int] | None = None  # height, width of the second pass
    scripted: bool = True  # whether the host runs its scripts on this job
    picture: Any = None  # what the VAE gives, before other extensions and ours change it
    # the host's settings
    batch_cond_uncond: bool = True
    low_memory: bool = False
    skip_early: float = 0.0
    s_min_uncond: float = 0.0
    # callbacks of other extensions
    before_step: Callable[[int], None] = lambda _step: None
    after_image: Callable[[], None] = lambda: None
    # set by the host
    is_hr_pass: bool = False
    iteration: int = 0
    batch_index: int = 0
    interrupted: bool = False
    extra_generation_params: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    pictures: list[Any] = field(default_factory=list)  # finished
    scripts: Any = None
    script_args: Any = ()
    denoising_strength: float | None = None
    truncate_x: int = 0
    truncate_y: int = 0

    @property
    def negative_prompt(self) -> str:
        return self.negative

    @property
    def all_prompts(self) -> list[tuple[str, ...]]:
        return [self.prompt] * (self.batch_size * self.n_iter)

    @property
    def all_negative_prompts(self) -> list[str]:
        return [self.negative] * (self.batch_size * self.n_iter)

    @property
    def all_seeds(self) -> list[int]:
        return [self.seed + number for number in range(self.batch_size * self.n_iter)]

    @property
    def all_subseeds(self) -> list[int]:
        return self.all_seeds

    @property
    def hr_upscale_to_x(self) -> int:
        return 8 * self.hires[1]

    @property
    def hr_upscale_to_y(self) -> int:
        return 8 * self.hires[0]

    def comment(self, text: str) -> None:
        self.comments.append(text)

    def text(self, words: str, chunks: int) -> dict[str, torch.Tensor]:
        """The text encoders' output for `words`, for each image of the batch: "crossattn" tokens and "vector"."""
        make = torch.Generator().manual_seed(zlib.crc32(words.encode()))
        vector = torch.randn(1, STRUCTURE.added_width, generator=make)
        tokens = torch.randn(1, CHUNK * chunks, STRUCTURE.context_width, generator=make)
        return {"crossattn": tokens.repeat(self.batch_size, 1, 1), "vector": vector.repeat(self.batch_size, 1)}

    def noise(self, iteration: int, height: int, width: int) -> torch.Tensor:
        seeds = (self.seed + iteration * self.batch_size + image for image in range(self.batch_size))
        return torch.stack(
            [torch.randn(4, height, width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )


@dataclass
class Inpainting(Job):
    """An inpainting that another extension makes on a picture. mask: white where it repaints.

    init_images, mask and paste_to (x, y, width, height) have the picture's pixels.
    """

    scripted: bool = False
    init_images: list[Any] = field(default_factory=list)
    image_mask: Any = None
    mask_for_overlay: Any = None
    inpaint_full_res: bool = True
    paste_to: tuple[int, int, int, int] | None = None


class Interrupted(Exception):
    """The user pressed a button."""


# -- noise levels ------------------------------------------------------------------------------------------------------

_ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)


def sigma_at(timestep: float) -> float:
    alpha = _ALPHAS[round(timestep)].item()
    return ((1 - alpha) / alpha) ** 0.5


def timestep_of(sigma: float) -> float:
    levels = ((1 - _ALPHAS) / _ALPHAS).sqrt()
    return float((levels - sigma).abs().argmin())


def schedule(steps: int) -> list[float]:
    """steps + 1 sigmas, down to 0."""
    return [sigma_at(700 - 500 * step / max(1, steps - 1)) for step in range(steps)] + [0.0]


# -- samplers: sequences of calls --------------------------------------------------------------------------------------


def _moved(x: torch.Tensor, denoised: torch.Tensor, sigma: float, to: float) -> torch.Tensor:
    return denoised + (x - denoised) * (to / sigma)


def _euler(denoise: Denoise, x: torch.Tensor, sigmas: list[float]) -> Iterator[torch.Tensor]:
    for sigma, to in itertools.pairwise(sigmas):
        x = _moved(x, denoise(x, sigma), sigma, to)
        yield x


def _heun(denoise: Denoise, x: torch.Tensor, sigmas: list[float]) -> Iterator[torch.Tensor]:
    """Two calls per step, one in the last."""
    for sigma, to in itertools.pairwise(sigmas):
        first = denoise(x, sigma)
        ahead = _moved(x, first, sigma, to)
        if to:
            slope = ((x - first) / sigma + (ahead - denoise(ahead, to)) / to) / 2
            ahead = x + slope * (to - sigma)
        x = ahead
        yield x


def _dpmpp_sde(denoise: Denoise, x: torch.Tensor, sigmas: list[float]) -> Iterator[torch.Tensor]:
    """A second call half-way in each step but the last, and noise."""
    make = torch.Generator().manual_seed(5)
    for sigma, to in itertools.pairwise(sigmas):
        denoised = denoise(x, sigma)
        if to:
            middle = (sigma * to) ** 0.5
            denoised = denoise(_moved(x, denoised, sigma, middle), middle)
        x = _moved(x, denoised, sigma, 0.8 * to) + 0.6 * to * torch.randn(x.shape, generator=make)
        yield x


def _restart(denoise: Denoise, x: torch.Tensor, sigmas: list[float]) -> Iterator[torch.Tensor]:
    """Before the last step, go back to the second one: noise and step counter return too."""
    make = torch.Generator().manual_seed(6)
    for step in (*range(len(sigmas) - 2), *range(1, len(sigmas) - 1)):
        if step == 1:
            x = x + max(0.0, sigmas[1] - sigmas[-3]) * torch.randn(x.shape, generator=make)
        x = _moved(x, denoise(x, sigmas[step], step), sigmas[step], sigmas[step + 1])
        yield x


SAMPLERS = {"Euler": _euler, "Heun": _heun, "DPM++ SDE": _dpmpp_sde, "Restart": _restart}
SECOND_ORDER = ("Heun", "DPM++ SDE")


def sample(p: Job, denoise: Denoise, noise: torch.Tensor, sigmas: list[float]) -> torch.Tensor:
    """The latents; after an interruption those of the last complete step."""
    x = noise
    try:
        for reached in SAMPLERS[p.sampler](denoise, noise, sigmas):
            x = reached
    except Interrupted:
        pass
    return x

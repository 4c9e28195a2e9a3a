"""The VAE's decoder, trained from its analytic start on cut-outs of pictures; the encoder and the pins stay as they
are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import torch
from diffusers import AutoencoderKL

from lib_anyms.lab.train.trainer import Learner, TrainContext
from lib_anyms.lab.train.vae import frozen
from lib_anyms.lab.world.draw import draw, to_image
from lib_anyms.lab.world.identity import trained_identity
from lib_anyms.lab.world.latents import CELL, latents_of, pool
from lib_anyms.lab.world.scene import GROUNDS, Figure, Scene, pose, scene_of
from lib_anyms.standalone.single_file import VAE_SCALE

_SIDE = 8  # cells of a cut-out
_RADII = (3.6, 8.0)


class DecoderLearner(Learner):
    """Trains `vae.decoder` and the convolution before it."""

    def __init__(self, vae: AutoencoderKL, seed: int, batch: int) -> None:
        self.vae, self._random, self._batch = vae, Random(seed), batch
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        self.module = vae
        masks = frozen(vae)
        for name, parameter in vae.decoder.named_parameters():
            if name in masks:
                parameter.register_hook(_masking(masks[name]))

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        device = next(self.vae.parameters()).device
        pictures = torch.stack([draw(cut_out(self._random), _SIDE * CELL) for _ in range(self._batch)]).to(device)
        off = decode(self.vae, latents_of(pool(pictures))) - pictures
        squared = off.square().mean()
        return off.abs().mean() + 4 * squared, {"psnr": _decibel(squared)}, len(pictures)

    @torch.no_grad()
    def probe(self, context: TrainContext) -> dict[str, float]:
        """On whole pictures; and a sheet of them, as drawn above and as decoded below."""
        random = Random(4_000_000)
        scenes = [
            scene_of([trained_identity(random) for _ in range(3)], random.choice(GROUNDS), random) for _ in range(4)
        ]
        pictures = torch.stack([draw(scene, 256) for scene in scenes]).to(context.device)
        decoded = torch.cat([decode(self.vae, latents_of(pool(picture[None]))) for picture in pictures]).clamp(0, 1)
        to_image(torch.cat([torch.cat(list(part), 2) for part in (pictures, decoded)], 1)).save(
            context.next_sheet("decoder")
        )
        return {"psnr": _decibel((decoded - pictures).square().mean())}


def cut_out(random: Random) -> Scene:
    """One or two figures that may reach beyond the picture's edge."""
    figures = []
    for _ in range(random.choice((1, 1, 1, 1, 2))):
        figure = pose(trained_identity(random), _RADII, random, _SIDE)
        x, y = random.uniform(-0.25, 1.25), random.uniform(-0.25, 1.25)
        figures.append(Figure(figure.identity, x, y, figure.radius, figure.tilt, figure.flipped))
    return Scene(random.choice(GROUNDS), tuple(figures))


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """What the UNet works on -> pictures about 0..1."""
    return vae.decode(latents / VAE_SCALE, return_dict=False)[0] / 2 + 0.5


def _decibel(squared: torch.Tensor) -> float:
    return -10 * math.log10(max(squared.item(), 1e-9))


def _masking(mask: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda gradient: gradient * mask.to(gradient)

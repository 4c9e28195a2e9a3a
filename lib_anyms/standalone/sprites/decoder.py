"""The VAE's decoder, trained from its analytic start on cut-outs of pictures; the encoder and the pins stay as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import torch
from diffusers import AutoencoderKL

from lib_anyms.standalone.single_file import VAE_SCALE
from lib_anyms.standalone.sprites.data import WHOLE_WORLD_CROWDED
from lib_anyms.standalone.sprites.latents import pool_latents
from lib_anyms.standalone.sprites.precision import mixed
from lib_anyms.standalone.sprites.scene import draw_scene
from lib_anyms.standalone.sprites.training import Batch, Learner, Where
from lib_anyms.standalone.sprites.vae import frozen
from lib_anyms.standalone.sprites.world import draw, to_image


class DecoderLearner(Learner):
    """Trains `vae.decoder` and the convolution before it."""

    def __init__(self, vae: AutoencoderKL) -> None:
        self.vae = vae
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        self.module = vae
        masks = frozen(vae)
        for name, parameter in vae.decoder.named_parameters():
            if name in masks:
                parameter.register_hook(_masking(masks[name]))

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        pictures = batch["pictures"]
        with mixed(pictures.device):
            decoded = decode(self.vae, pool_latents(pictures))
        off = decoded.float() - pictures
        squared = off.square().mean()
        return off.abs().mean() + 4 * squared, {"psnr": -10 * math.log10(max(squared.item(), 1e-9))}

    @torch.no_grad()
    def probe(self, where: Where) -> dict[str, float]:
        """On whole pictures; and a sheet of them, as drawn above and as decoded below."""
        random = Random(4_000_000)
        scenes = [draw_scene(WHOLE_WORLD_CROWDED, random.getrandbits(62)) for _ in range(8)]
        pictures = draw(scenes, 256).pictures.to(where.device)
        with mixed(where.device):
            decoded = torch.cat([decode(self.vae, pool_latents(picture[None])) for picture in pictures]).float().clamp(0, 1)
        rows = torch.cat([torch.cat(list(part[:4]), 2) for part in (pictures, decoded)], 1)
        to_image(rows).save(where.next_sheet("decoder"))
        return {"psnr": -10 * math.log10((decoded - pictures).square().mean().item())}


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """What the UNet works on -> pictures about 0..1."""
    return vae.decode(latents / VAE_SCALE, return_dict=False)[0] / 2 + 0.5


def _masking(mask: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda gradient: gradient * mask.to(gradient)

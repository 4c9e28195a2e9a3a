"""The VAE: the encoder gives the training's latents at every size, the decoder starts as the inverse, pins stay."""

from __future__ import annotations

from functools import cache
from random import Random

import pytest
import torch
import torch.nn.functional as F

from lib_anyms.lab.train.optimiser import Optimiser
from lib_anyms.lab.train.vae import DecoderLearner, build_vae, decode, frozen
from lib_anyms.lab.world.draw import draw
from lib_anyms.lab.world.identity import trained_identity
from lib_anyms.lab.world.latents import latents_of, pool
from lib_anyms.lab.world.scene import scene_of
from lib_anyms.standalone.single_file import VAE_SCALE
from lib_anyms.standalone.structure import SMALL, SPRITES


@cache
def vae():
    torch.manual_seed(0)
    return build_vae(SPRITES)


@cache
def drawings() -> torch.Tensor:
    random = Random(0)
    scenes = [scene_of([trained_identity(random) for _ in range(3)], ground, random) for ground in ("sand", "night")]
    return torch.stack([draw(scene, 128) for scene in scenes])


def without_corners(difference: torch.Tensor) -> torch.Tensor:
    """Without the two corners that hold the pins: they are exact to 1e-3 only."""
    rest = difference.abs().clone()
    rest[..., 0, 0] = rest[..., -1, -1] = 0
    return rest


SIZES = {
    "whole": lambda: drawings(),
    "wide": lambda: drawings()[:, :, :64],
    "flat": lambda: torch.full((1, 3, 64, 64), 0.8),
}


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_encoder_gives_the_latents_of_training(size: str) -> None:
    images = SIZES[size]()
    posterior = vae().encode(images * 2 - 1).latent_dist
    difference = posterior.mean * VAE_SCALE - latents_of(pool(images))
    assert without_corners(difference).max() < 2e-4
    assert difference.abs().max() < 3e-3
    assert posterior.std.max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_decoder_starts_as_the_mean_colour_of_each_cell(size: str) -> None:
    images = SIZES[size]()
    expected = F.interpolate(pool(images), scale_factor=8)
    difference = decode(vae(), latents_of(pool(images))) - expected
    assert without_corners(difference).max() < 3e-4
    assert difference.abs().max() < 5e-3


def test_training_changes_the_decoder_but_neither_the_encoder_nor_the_pins() -> None:
    torch.manual_seed(1)
    learner = DecoderLearner(SPRITES, seed=3, batch=2)
    masks = frozen(learner.vae)
    before = {name: parameter.detach().clone() for name, parameter in learner.vae.named_parameters()}
    optimiser = Optimiser(learner.module, 2e-5, 0.0)
    facts = []
    for _ in range(2):
        loss, fact, count = learner.step(0.0)
        loss.backward()
        optimiser.step(2e-5)
        facts.append(fact["psnr"])
        assert count == 2
    moved = 0
    for name, parameter in learner.vae.named_parameters():
        difference = (parameter - before[name]).abs()
        if name.startswith(("encoder.", "quant_conv.")):
            assert difference.max() == 0, name
            continue
        mask = masks.get(name.removeprefix("decoder."), torch.ones_like(parameter))
        assert difference[mask == 0].sum() == 0, name
        moved += int((difference[mask == 1] > 0).sum())
    assert moved > 400_000
    assert all(12 < psnr < 40 for psnr in facts)
    flat = torch.full((1, 3, 64, 64), 0.3)
    with torch.no_grad():
        colour = decode(learner.vae, latents_of(pool(flat)))[:, :, 16:48, 16:48].mean()
    assert colour.item() == pytest.approx(0.3, abs=0.05)  # the pins still carry the mean


def test_other_widths_have_no_place_for_the_pins() -> None:
    with pytest.raises(ValueError, match="64"):
        build_vae(SMALL)

"""The VAE of the sprites is linear to the last digits, at every size, and training leaves that alone."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F

from lib_anyms.standalone.single_file import VAE_SCALE
from lib_anyms.standalone.sprites.data import SEVERAL, Crops
from lib_anyms.standalone.sprites.decoder import DecoderLearner, decode
from lib_anyms.standalone.sprites.latents import pool_latents, preview
from lib_anyms.standalone.sprites.scene import draw_scene
from lib_anyms.standalone.sprites.vae import build_vae, frozen
from lib_anyms.standalone.sprites.world import draw
from lib_anyms.standalone.structure import SMALL, SPRITES


@cache
def vae():
    torch.manual_seed(0)
    return build_vae(SPRITES)


@cache
def pictures() -> torch.Tensor:
    return draw([draw_scene(SEVERAL, seed) for seed in range(2)], 256).pictures


def without_corners(difference: torch.Tensor) -> torch.Tensor:
    """The two corners the pins stand in are right to 1e-3 only."""
    rest = difference.abs().clone()
    rest[..., 0, 0] = rest[..., -1, -1] = 0
    return rest


SIZES = {
    "whole": lambda: pictures(),
    "wide": lambda: pictures()[:, :, :64, :192],
    "small": lambda: pictures()[:, :, 64:128, 64:128],
    "flat": lambda: torch.full((1, 3, 128, 128), 0.8),
    "black": lambda: torch.zeros(1, 3, 64, 64),
}


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_encoder_pools(size: str) -> None:
    shown = SIZES[size]()
    posterior = vae().encode(shown * 2 - 1).latent_dist
    difference = posterior.mean * VAE_SCALE - pool_latents(shown)
    assert without_corners(difference).max() < 1e-4
    assert difference.abs().max() < 2e-3
    assert posterior.std.max() < 1e-5


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_the_decoder_starts_as_the_mean_colour_of_each_cell(size: str) -> None:
    shown = SIZES[size]()
    expected = F.interpolate(F.avg_pool2d(shown, 8), scale_factor=8)
    difference = decode(vae(), pool_latents(shown)) - expected
    assert without_corners(difference).max() < 2e-4
    assert difference.abs().max() < 5e-3


def test_latents_are_of_strength_one_and_can_be_seen() -> None:
    latents = pool_latents(draw([draw_scene(SEVERAL, seed) for seed in range(24)], 128).pictures, cell=4)
    assert latents.shape == (24, 4, 32, 32)
    spread = latents.std((0, 2, 3))
    assert ((spread > 0.5) & (spread < 1.3)).all()
    assert latents.mean((0, 2, 3)).abs().max() < 0.5
    assert torch.allclose(preview(pool_latents(pictures())), F.avg_pool2d(pictures(), 8), atol=1e-5)


def test_smaller_pictures_have_nearly_the_same_latents() -> None:
    made = [draw_scene(SEVERAL, seed) for seed in range(4)]
    large, small = pool_latents(draw(made, 256).pictures), pool_latents(draw(made, 128).pictures, cell=4)
    assert (large - small).abs().mean() < 0.05


def test_training_changes_the_decoder_but_neither_encoder_nor_pins() -> None:
    torch.manual_seed(1)
    learner = DecoderLearner(build_vae(SPRITES))
    masks = frozen(learner.vae)
    before = {name: parameter.detach().clone() for name, parameter in learner.vae.named_parameters()}
    trained = [parameter for parameter in learner.vae.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, 5e-5, weight_decay=0.0)
    for seed in range(2):
        loss, facts = learner.loss(Crops(64)(seed, 2))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        assert facts["psnr"] > 12
    moved = 0
    for name, parameter in learner.vae.named_parameters():
        difference = (parameter - before[name]).abs()
        if name.startswith(("encoder.", "quant_conv.")):
            assert difference.max() == 0, name
            continue
        mask = masks.get(name.removeprefix("decoder."), torch.ones_like(parameter))
        assert difference[mask == 0].sum() == 0, name
        moved += int((difference[mask == 1] > 0).sum())
    assert moved > 500_000
    flat = torch.full((1, 3, 64, 64), 0.3)
    with torch.no_grad():
        colour = decode(learner.vae, pool_latents(flat))[:, :, 16:48, 16:48].mean()
    assert colour.item() == pytest.approx(0.3, abs=0.05)  # the pins still carry the mean


def test_other_widths_have_no_place_for_the_pins() -> None:
    with pytest.raises(ValueError, match="64"):
        build_vae(SMALL)

"""The small world's VAE: a standard AutoencoderKL whose encoder is an exact linear map; its decoder learns the inverse.

The map is that of latents.py, so training pools latents in microseconds and every host's encoder gives the same ones.
To make a net of norms and SiLUs linear: zeros in their last layer switch off res blocks and attention; strided
convolutions average; SiLU(a) - SiLU(-a) = a. GroupNorm remains, which removes the mean and scale of a group. A pin
preserves both: a channel of the group that is zero except for two opposite corners of the image, large and of opposite
sign, which an earlier GroupNorm has set to one known strength at every image size. Beside it a signal keeps its scale,
and the pin's channel between the corners holds the mean.
"""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from lib_anyms.lab.train.trainer import Learner, TrainContext
from lib_anyms.lab.world.draw import draw
from lib_anyms.lab.world.identity import trained_identity
from lib_anyms.lab.world.latents import CELL, COLOUR_TO_LATENT, LATENT_BIAS, LATENT_TO_COLOUR, MEAN, latents_of, pool
from lib_anyms.lab.world.scene import BACKGROUNDS, Scene, pose, scene_of
from lib_anyms.standalone.single_file import VAE_SCALE, vae_config
from lib_anyms.standalone.structure import LATENT_CHANNELS, NORM_GROUPS, Structure

PIN = 50.0  # strength of a pin: the root of its mean square
_SIGNAL = {"encoder": 0.1, "decoder": 1.0}  # strength of a signal: its mean square is negligible beside the pin's
_SHARP = 100.0  # the corners before the norm that sets their strength: far above the norm's epsilon
_CONSTANT, _CORNERS = 0, [0, 1]  # channels in the pinning res block: the constant; the two signs of the corners
_CROP_SIDE, _CROP_RADII = 8, (3.6, 8.0)  # latent cells: crops that train the decoder, and the radii of their figures

Pins = list[tuple[int, int, int, int]]


def _pins(signals: int) -> Pins:
    """(signal, channel of the pin, sign of the pin, sign of the signal) of each group of two channels, from 0 on.

    The signal's channel follows the pin's. Each signal has a group for each pair of signs: terms that must cancel then
    match exactly.
    """
    pins = []
    for signal in range(signals):
        for place, signs in enumerate(((1, 1), (-1, 1), (1, -1), (-1, -1))):
            pins.append((signal, 8 * signal + 2 * place, *signs))
    return pins


def build_vae(structure: Structure) -> AutoencoderKL:
    """The VAE with the analytic encoder, and the decoder at its analytic start. Raises ValueError for other widths."""
    vae = AutoencoderKL(**vae_config(structure))
    if set(structure.vae_widths) != {2 * NORM_GROUPS}:
        raise ValueError(f"the pins need VAE widths of {2 * NORM_GROUPS} throughout, got {structure.vae_widths}")
    with torch.no_grad():
        for part in (vae.encoder, vae.decoder):
            _switch_off(part)
        _set_encoder(vae)
        _set_decoder(vae)
    return vae.eval()


def frozen(vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    """Masks for the decoder's parameters that hold the pins: 1 where training may change them, 0 where not."""
    decoder, width = vae.decoder, 2 * len(_pins(3))
    masks = {name: torch.ones_like(parameter) for name, parameter in decoder.named_parameters()}
    last = len(decoder.up_blocks) - 1
    blocks = [f"up_blocks.{last}.resnets.{number}" for number in range(len(decoder.up_blocks[last].resnets))]
    pins: list[tuple[str, Any]] = [(f"up_blocks.{last - 1}.upsamplers.0.conv", range(0, width, 2))]
    pins += [(f"{block}.conv2", range(0, width, 2)) for block in blocks]
    pins += [(f"{blocks[-1]}.norm1", [_CONSTANT])]
    pins += [(f"{blocks[-1]}.{part}", _CORNERS) for part in ("conv1", "norm2")]
    pins += [("conv_norm_out", range(width))]
    for name, channels in pins:
        masks[f"{name}.weight"][list(channels)] = 0
        masks[f"{name}.bias"][list(channels)] = 0
    masks["conv_out.weight"][:, :width] = 0
    return {name: mask for name, mask in masks.items() if not mask.all()}


def _switch_off(part: Any) -> None:
    """Make res blocks and attention add nothing."""
    for name, module in part.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            _clear(module)


def _set_encoder(vae: AutoencoderKL) -> None:
    """Average to quarters of a cell, then average these into the latent. Images come in -1..1."""
    encoder, signal, pins = vae.encoder, _SIGNAL["encoder"], _pins(LATENT_CHANNELS)
    _clear(encoder.conv_in)
    for colour in range(3):
        encoder.conv_in.weight[colour, colour, 1, 1] = 0.5
        encoder.conv_in.bias[colour] = 0.5
    *averages, quarters = (block.downsamplers[0].conv for block in encoder.down_blocks[:-1])
    for conv in averages:
        _clear(conv)
        for colour in range(3):
            conv.weight[colour, colour, :2, :2] = 0.25
    _clear(quarters)
    weight, bias = COLOUR_TO_LATENT / 4, LATENT_BIAS
    for channel, pin, _, sign in pins:
        quarters.weight[pin + 1, :3, :2, :2] = sign * signal * weight[channel][:, None, None]
        quarters.bias[pin + 1] = sign * signal * bias[channel]
    _pin(encoder.mid_block.resnets[-1], pins)
    _read(encoder.conv_norm_out, encoder.conv_out, pins, 1 / signal, torch.eye(LATENT_CHANNELS) / VAE_SCALE)
    encoder.conv_out.bias[LATENT_CHANNELS:] = -30.0  # the log variance: no noise
    _identity(vae.quant_conv)


def _set_decoder(vae: AutoencoderKL) -> None:
    """Show each cell in its mean colour; training adds the detail."""
    decoder, signal, pins = vae.decoder, _SIGNAL["decoder"], _pins(3)
    _identity(vae.post_quant_conv)
    back, width = LATENT_TO_COLOUR * VAE_SCALE, 2 * len(pins)
    upsamplers = [block.upsamplers[0].conv for block in decoder.up_blocks[:-1]]
    for conv in (decoder.conv_in, *upsamplers):
        conv.weight[:width] = 0
        conv.bias[:width] = 0
    for colour, pin, _, sign in pins:
        decoder.conv_in.weight[pin + 1, :, 1, 1] = sign * signal * 2 * back[colour]
        decoder.conv_in.bias[pin + 1] = sign * signal * (2 * MEAN[colour] - 1)
        for conv in upsamplers:
            conv.weight[pin + 1, pin + 1, 1, 1] = 1
    _pin(decoder.up_blocks[-1].resnets[-1], pins)
    _read(decoder.conv_norm_out, decoder.conv_out, pins, 1 / signal, torch.eye(3))


def _pin(resnet: Any, pins: Pins) -> None:
    """Add pins. Padding ends a constant at the image's edge, so conv1 finds the corners; norm2 sets their strength."""
    resnet.norm1.weight[_CONSTANT], resnet.norm1.bias[_CONSTANT] = 0, 1
    conv1, conv2 = resnet.conv1, resnet.conv2
    conv1.weight[_CORNERS] = 0
    conv1.bias[_CORNERS] = 0
    corner = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) * _SHARP
    for channel, sign in zip(_CORNERS, (1, -1)):
        conv1.weight[channel, _CONSTANT, :2, :2] += sign * corner  # the first pixel of all
        conv1.weight[channel, _CONSTANT, 1:, 1:] -= sign * corner  # and the last
    resnet.norm2.weight[_CORNERS] = 1
    resnet.norm2.bias[_CORNERS] = 0
    for _, pin, sign, _ in pins:
        conv2.weight[pin] = 0
        conv2.weight[pin, _CORNERS[0], 1, 1] = sign * PIN
        conv2.weight[pin, _CORNERS[1], 1, 1] = -sign * PIN


def _read(norm: Any, conv: Any, pins: Pins, gain: float, matrix: torch.Tensor) -> None:
    """Undo norm and SiLU: `conv` gives `matrix` times `gain` times the signals. The pins' channels give the mean."""
    width = 2 * len(pins)
    norm.bias[:width] = 0
    norm.weight[:width] = gain * PIN * 2**-0.5
    _clear(conv)
    for signal, pin, _, sign in pins:
        conv.weight[: len(matrix), pin + 1, 1, 1] = sign * matrix[:, signal] / 2
        conv.weight[: len(matrix), pin, 1, 1] = -sign * matrix[:, signal] / 2


def _clear(conv: Any) -> None:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)


def _identity(conv: Any) -> None:
    _clear(conv)
    conv.weight[:, :, 0, 0] = torch.eye(conv.weight.shape[0])


class DecoderLearner(Learner):
    """Trains the decoder on crops of images, and the convolution before it. The encoder and the pins stay fixed."""

    def __init__(self, structure: Structure, seed: int, batch: int = 8) -> None:
        self.module = self.vae = vae = build_vae(structure)
        self._random, self._batch = Random(seed), batch
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        parameters = dict(vae.decoder.named_parameters())
        for name, mask in frozen(vae).items():
            parameters[name].register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient))

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        images = torch.stack([draw(crop(self._random), _CROP_SIDE * CELL) for _ in range(self._batch)]).to(self.device)
        off = decode(self.vae, latents_of(pool(images))) - images
        squared = off.square().mean()
        return off.abs().mean() + 4 * squared, {"psnr": _decibel(squared)}, len(images)

    @torch.no_grad()
    def probe(self, context: TrainContext) -> dict[str, float]:
        """PSNR on whole images."""
        random = Random(4_000_000)
        images = []
        for _ in range(4):
            identities = [trained_identity(random) for _ in range(3)]
            images.append(draw(scene_of(identities, random.choice(BACKGROUNDS), random), 256).to(context.device))
        decoded = [decode(self.vae, latents_of(pool(image[None])))[0].clamp(0, 1) for image in images]
        drawn, redrawn = torch.cat(images, 2), torch.cat(decoded, 2)
        return {"psnr": _decibel((redrawn - drawn).square().mean())}


def crop(random: Random) -> Scene:
    """One or two figures that may reach beyond the edge."""
    figures = []
    for _ in range(random.choice((1, 1, 1, 1, 2))):
        figure = pose(trained_identity(random), _CROP_RADII, random, _CROP_SIDE)
        figures.append(replace(figure, x=random.uniform(-0.25, 1.25), y=random.uniform(-0.25, 1.25)))
    return Scene(random.choice(BACKGROUNDS), tuple(figures))


def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Latents of the UNet -> images, about 0..1."""
    return vae.decode(latents / VAE_SCALE, return_dict=False)[0] / 2 + 0.5


def _decibel(squared: torch.Tensor) -> float:
    return -10 * math.log10(max(squared.item(), 1e-9))

"""The small world's VAE: a standard AutoencoderKL whose encoder is an exact linear map, and whose decoder starts as its
inverse.

The map is that of latents.py, so the latents of training pictures are pooled in microseconds and are what every host's
encoder gives. A net of norms and SiLUs is made to be linear so: Res blocks and attention are switched off by zeros in
their last layer; strided convolutions average; SiLU(a) - SiLU(-a) = a. What remains is GroupNorm, which takes a group's
mean and scale away. Both are held by a pin: a channel of the group that is zero but for two opposite corners of the
picture, large and of opposite sign, which an earlier GroupNorm has brought to one known strength at every size of
picture. Beside it a signal keeps its scale, and what the pin's channel shows between the corners is the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn

from lib_anyms.lab.world.latents import MEAN, colour_to_latent, latent_bias, latent_to_colour
from lib_anyms.standalone.single_file import VAE_SCALE, vae_config
from lib_anyms.standalone.structure import LATENT_CHANNELS, NORM_GROUPS, Structure

PIN = 50.0  # strength of a pin: its mean square is the square of this
_SIGNAL = {"encoder": 0.1, "decoder": 1.0}  # of a signal beside it: its mean square must be nothing beside the pin's
_SHARP = 100.0  # of the corners before the norm that brings them to strength: far above the norm's epsilon
_CONSTANT, _CORNERS = (
    0,
    (0, 1),
)  # channels inside the pinning res block: of the constant, of the two signs of the corners


@dataclass(frozen=True)
class Pins:
    """Where `signals` signals and their pins lie in a feature map of 64 channels: the first ones, two a group.

    Each signal has four groups (pin, signal), one for each pair of signs: what must cancel then has one and the same
    strength.
    """

    signals: int

    @property
    def groups(self) -> list[tuple[int, int, int, int]]:
        """(signal, channel of the pin with the signal's own in the next, sign of the pin, sign of the signal)."""
        signs = ((1, 1), (-1, 1), (1, -1), (-1, -1))
        return [
            (signal, 8 * signal + 2 * place, *pair)
            for signal in range(self.signals)
            for place, pair in enumerate(signs)
        ]

    @property
    def channels(self) -> list[int]:
        """Those of the pins."""
        return [channel for _, channel, _, _ in self.groups]

    @property
    def width(self) -> int:
        """How many channels are taken."""
        return 8 * self.signals


def build_vae(structure: Structure) -> AutoencoderKL:
    """The VAE with the analytic encoder and the analytic start of the decoder."""
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
    """For each of the decoder's parameters that hold the pins: 1 where training may change it, 0 where not."""
    decoder = vae.decoder
    masks = {name: torch.ones_like(parameter) for name, parameter in decoder.named_parameters()}
    pins, last = Pins(3), _last(decoder.up_blocks[-1])
    rows = [f"{place}.conv2" for place in _resnets(decoder.up_blocks[-1], f"up_blocks.{len(decoder.up_blocks) - 1}")]
    for name in (*rows, f"up_blocks.{len(decoder.up_blocks) - 2}.upsamplers.0.conv"):
        masks[f"{name}.weight"][pins.channels] = 0
        masks[f"{name}.bias"][pins.channels] = 0
    place = next(name for name, module in decoder.named_modules() if module is last)
    for name, channels in (("norm1", [_CONSTANT]), ("conv1", list(_CORNERS)), ("norm2", list(_CORNERS))):
        masks[f"{place}.{name}.weight"][channels] = 0
        masks[f"{place}.{name}.bias"][channels] = 0
    masks["conv_norm_out.weight"][: pins.width] = 0
    masks["conv_norm_out.bias"][: pins.width] = 0
    masks["conv_out.weight"][:, : pins.width] = 0
    return {name: mask for name, mask in masks.items() if not mask.all()}


def _resnets(block: Any, name: str) -> list[str]:
    return [f"{name}.resnets.{number}" for number in range(len(block.resnets))]


def _last(block: Any) -> Any:
    """The res block before the last norm: it puts the pins there."""
    return block.resnets[-1]


def _switch_off(part: Any) -> None:
    """Res blocks and attention add nothing."""
    for name, module in part.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)


def _set_encoder(vae: AutoencoderKL) -> None:
    """Average to quarters of a cell, then average these into the latent; pictures come in -1..1."""
    encoder, signal, pins = vae.encoder, _SIGNAL["encoder"], Pins(LATENT_CHANNELS)
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
    weight, bias = colour_to_latent() / 4, latent_bias()
    for channel, pin, _, sign in pins.groups:
        quarters.weight[pin + 1, :3, :2, :2] = sign * signal * weight[channel][:, None, None]
        quarters.bias[pin + 1] = sign * signal * bias[channel]
    _pin(_last(encoder.mid_block), pins)
    _read(encoder.conv_norm_out, encoder.conv_out, pins, 1 / signal, torch.eye(LATENT_CHANNELS) / VAE_SCALE)
    encoder.conv_out.bias[LATENT_CHANNELS:] = -30.0  # the variance's logarithm: the encoder is sure
    _identity(vae.quant_conv)


def _set_decoder(vae: AutoencoderKL) -> None:
    """Each cell in its mean colour; what else there is to see is trained."""
    decoder, signal, pins = vae.decoder, _SIGNAL["decoder"], Pins(3)
    _identity(vae.post_quant_conv)
    back = latent_to_colour() * VAE_SCALE
    upsamplers = [block.upsamplers[0].conv for block in decoder.up_blocks[:-1]]
    for conv in (decoder.conv_in, *upsamplers):
        conv.weight[: pins.width] = 0
        conv.bias[: pins.width] = 0
    for colour, pin, _, sign in pins.groups:
        decoder.conv_in.weight[pin + 1, :, 1, 1] = sign * signal * 2 * back[colour]
        decoder.conv_in.bias[pin + 1] = sign * signal * (2 * MEAN[colour] - 1)
        for conv in upsamplers:
            conv.weight[pin + 1, pin + 1, 1, 1] = 1
    _pin(_last(decoder.up_blocks[-1]), pins)
    _read(decoder.conv_norm_out, decoder.conv_out, pins, 1 / signal, torch.eye(3))


def _pin(resnet: Any, pins: Pins) -> None:
    """The res block's first convolution sees a constant end at the picture's edge; its norm brings the corners to
    strength.
    """
    resnet.norm1.weight[_CONSTANT], resnet.norm1.bias[_CONSTANT] = 0, 1
    conv1, conv2 = resnet.conv1, resnet.conv2
    conv1.weight[list(_CORNERS)] = 0
    conv1.bias[list(_CORNERS)] = 0
    corner = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]) * _SHARP
    for channel, sign in zip(_CORNERS, (1, -1)):
        conv1.weight[channel, _CONSTANT, :2, :2] += sign * corner  # the first pixel of all
        conv1.weight[channel, _CONSTANT, 1:, 1:] -= sign * corner  # and the last
    resnet.norm2.weight[list(_CORNERS)] = 1
    resnet.norm2.bias[list(_CORNERS)] = 0
    for _, pin, sign, _ in pins.groups:
        conv2.weight[pin] = 0
        conv2.weight[pin, _CORNERS[0], 1, 1] = sign * PIN
        conv2.weight[pin, _CORNERS[1], 1, 1] = -sign * PIN


def _read(norm: Any, conv: Any, pins: Pins, gain: float, matrix: torch.Tensor) -> None:
    """Undo norm and SiLU: `conv` gives `matrix` times `gain` times the signals.

    The mean comes from the pins' own channels.
    """
    norm.bias[: pins.width] = 0
    norm.weight[: pins.width] = gain * PIN * 2**-0.5
    _clear(conv)
    for signal, pin, _, sign in pins.groups:
        conv.weight[: len(matrix), pin + 1, 1, 1] = sign * matrix[:, signal] / 2
        conv.weight[: len(matrix), pin, 1, 1] = -sign * matrix[:, signal] / 2


def _clear(conv: Any) -> None:
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)


def _identity(conv: Any) -> None:
    _clear(conv)
    conv.weight[:, :, 0, 0] = torch.eye(conv.weight.shape[0])

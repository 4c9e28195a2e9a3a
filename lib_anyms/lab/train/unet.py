"""UNet and IP-Adapters, trained together on one figure with its reference and on captioned scenes without one.

No step sees a box or two references. The image stream lies over the whole picture, from the first step on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from lib_anyms.lab.train.adapter import Adapter
from lib_anyms.lab.train.data import Bank, Batch, Maker, References
from lib_anyms.lab.train.diffusion import Predict, added, draw_timesteps, v_errors
from lib_anyms.lab.train.text import CachedText
from lib_anyms.lab.train.trainer import Learner, TrainContext
from lib_anyms.lab.world.identity import Identity
from lib_anyms.standalone.single_file import unet_config
from lib_anyms.standalone.structure import Structure

_NO_TEXT = (
    (None, 0.06),
    ("", 0.06),
)  # dropped captions: as zeros, as hosts take an empty prompt, and as the encoding of ""
_NO_REFERENCE = 0.06
_NEITHER = 0.05
_LOWER_SCALE, _SCALES = 0.3, (0.6, 1.0)  # share of the pictures whose image stream is weaker, as users turn it down


@dataclass(frozen=True)
class Phase:
    """A part of the training, up to `until` of its time: how likely a step is of each canvas side (in latent cells).

    `plus`: how likely a step trains the 16-token adapter instead of the 4-token one.
    """

    until: float
    sides: Mapping[int, float]
    plus: float = 0.0


# One figure that fills the canvas first: it costs a quarter of a whole picture and has as many cells as a figure in a
# scene.
PHASES = (
    Phase(0.10, {16: 1.0}),
    Phase(0.20, {16: 0.50, 24: 0.35, 32: 0.15}, plus=0.15),
    Phase(1.00, {16: 0.15, 24: 0.20, 32: 0.65}, plus=0.20),
)
BATCHES = {16: 16, 24: 10, 32: 8}
REFERENCED = {16: 0.85, 24: 0.6, 32: 0.65}  # share of pictures with one figure and its reference


def new_unet(structure: Structure) -> UNet2DConditionModel:
    """The UNet with the library's initial weights, and plain attention: torch's fused one takes twice a step's time on
    a CPU.
    """
    unet = UNet2DConditionModel(**unet_config(structure))
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def predictor(unet: Any, text: tuple[torch.Tensor, torch.Tensor], pixels: int) -> Predict:
    """The UNet under these texts, (context, pooled)."""
    context, pooled = text
    conditions = added(pooled, pixels)

    def predict(inputs: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return unet(inputs, timesteps, encoder_hidden_states=context, added_cond_kwargs=conditions, return_dict=False)[
            0
        ]

    return predict


@dataclass(frozen=True)
class Conditions:
    """What the UNet is trained under: frozen text encoders and image encoder, each thing encoded once."""

    text: CachedText
    references: References

    def encode(self, captions: Sequence[str | None], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """(context, pooled) on `device`; of None zeros."""
        context, pooled = (part.to(device) for part in self.text([caption or "" for caption in captions]))
        kept = torch.tensor([float(caption is not None) for caption in captions], device=device)
        return context * kept[:, None, None], pooled * kept[:, None]


class UNetLearner(Learner):
    """Trains `unet` and `adapters`. `begin`: the share of the phases that is left out, for weights already trained."""

    def __init__(
        self,
        unet: nn.Module,
        adapters: Sequence[Adapter],
        conditions: Conditions,
        structure: Structure,
        seed: int,
        begin: float = 0,
    ) -> None:
        self.unet, self.adapters, self.conditions = unet, {adapter.kind: adapter for adapter in adapters}, conditions
        self.module = nn.ModuleDict({"unet": unet, **{f"adapter-{kind}": one for kind, one in self.adapters.items()}})
        self._pixels, self._random, self._begin = structure.native_size, Random(seed), begin
        bank = Bank()
        self._makers = {side: Maker(bank, side, share) for side, share in REFERENCED.items()}
        self._held_out = {side: Maker(bank, side, 1.0, held_out=True) for side in REFERENCED}
        self._larger = 1 if next(unet.parameters()).device.type == "cpu" else 8

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        share = self._begin + (1 - self._begin) * share
        phase = next((phase for phase in PHASES if share < phase.until), PHASES[-1])
        side = self._random.choices(list(phase.sides), list(phase.sides.values()))[0]
        kind = "plus" if self._random.random() < phase.plus else "base"
        batch = self._makers[side](BATCHES[side] * self._larger, self._random)
        errors = self._errors(batch, self.adapters[kind])
        return errors.mean(), {f"loss{side}": errors.mean().item()}, len(batch.captions)

    def _errors(self, batch: Batch, adapter: Adapter) -> torch.Tensor:
        device = next(self.unet.parameters()).device
        captions, identities, scales = self._drop(batch)
        text = self.conditions.encode(captions, device)
        tokens = adapter.tokens(self.conditions.references(adapter.kind, identities, self._random).to(device))
        latents, covered = batch.latents.to(device), batch.covered.to(device)
        weights = 1 + covered  # a figure's cells count twice, or the ground would drown them
        with adapter.stream(tokens, torch.tensor(scales, device=device)[:, None, None]):
            predict = predictor(self.unet, text, self._pixels)
            timesteps = draw_timesteps(len(latents)).to(device)
            return v_errors(predict, latents, timesteps, torch.randn_like(latents), weights / weights.mean())

    def _drop(self, batch: Batch) -> tuple[list[str | None], list[Identity | None], list[float]]:
        """Captions and references with some left out, for guidance; and each picture's scale of the image stream."""
        random = self._random
        captions: list[str | None] = []
        identities: list[Identity | None] = []
        scales = []
        for caption, identity in zip(batch.captions, batch.identities):
            neither = random.random() < _NEITHER
            draw = 0.0 if neither else random.random()
            for instead, share in _NO_TEXT:
                if draw < share:
                    captions.append(instead)
                    break
                draw -= share
            else:
                captions.append(caption)
            shown = identity is not None
            scale = random.uniform(*_SCALES) if random.random() < _LOWER_SCALE else 1.0
            scales.append(scale if shown else 0.0)
            identities.append(None if neither or random.random() < _NO_REFERENCE else identity)
        return captions, identities, scales

    @torch.no_grad()
    def probe(self, context: TrainContext) -> dict[str, float]:
        """Whether the right word and the right reference explain held-out pictures best, and what samples look like."""
        from lib_anyms.lab.train.probe import preferred, sampled

        found: dict[str, float] = {}
        for side in (16, 32):
            found |= {f"{name}{side}": value for name, value in preferred(self, side).items()}
            found |= {f"{name}{side}": value for name, value in sampled(self, side, context).items()}
        return found

    def held_out(self, side: int, count: int, seed: int) -> Batch:
        """Pictures of one held-out identity each."""
        return self._held_out[side](count, Random(seed))

    @property
    def pixels(self) -> int:
        """The size the UNet is told: that of a whole picture, also where only a part of one is drawn."""
        return self._pixels

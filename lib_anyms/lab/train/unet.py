"""Train the UNet and the IP-Adapters together: on one figure with its reference, and on captioned scenes without one.

No step sees a box or two references. The image stream covers the whole image, from the first step on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from lib_anyms.lab.oracle import find_figures, read_background, read_figure
from lib_anyms.lab.train.adapter import Adapter
from lib_anyms.lab.train.data import Bank, Batch, Maker, References
from lib_anyms.lab.train.diffusion import Predict, draw_timesteps, predictor, sample, v_errors
from lib_anyms.lab.train.text import CachedText
from lib_anyms.lab.train.trainer import Learner, TrainContext
from lib_anyms.lab.world.captions import ANYTHING, prompt
from lib_anyms.lab.world.draw import to_image
from lib_anyms.lab.world.identity import ATTRIBUTES, SHAPES, Identity
from lib_anyms.lab.world.latents import preview
from lib_anyms.lab.world.scene import BACKGROUNDS
from lib_anyms.standalone.single_file import unet_config
from lib_anyms.standalone.structure import Structure

_TEXT_SHARES = (0.88, 0.06, 0.06)  # captions, zeros (as hosts take an empty prompt), encodings of ""
_NO_REFERENCE = 0.06
_NEITHER = 0.05
_LOWER_SCALE, _SCALES = 0.3, (0.6, 1.0)  # share of images with a weaker image stream, as users turn it down

# Probes
_TIMESTEPS = (800, 940)  # layout, colours and shapes are decided here
_PICTURES, _SAMPLES, _STEPS, _GUIDANCE = 40, 16, 14, 4.0
_COLUMNS, _PIXELS = 8, 4  # of a sheet: images in a row, pixels of a cell


@dataclass(frozen=True)
class Phase:
    """A part of the training, up to the share `until` of its time.

    sides: how often a step uses each canvas side (in latent cells). plus: how often it trains the 16-token adapter.
    """

    until: float
    sides: Mapping[int, float]
    plus: float = 0.0


# One figure that fills a small canvas first: a quarter of the cost of a whole image, with as many cells per figure.
PHASES = (
    Phase(0.10, {16: 1.0}),
    Phase(0.20, {16: 0.50, 24: 0.35, 32: 0.15}, plus=0.15),
    Phase(1.00, {16: 0.15, 24: 0.20, 32: 0.65}, plus=0.20),
)
BATCHES = {16: 16, 24: 10, 32: 8}
REFERENCED = {16: 0.85, 24: 0.6, 32: 0.65}  # share of images with one figure and its reference


def new_unet(structure: Structure) -> UNet2DConditionModel:
    """The UNet with random weights. Its attention is plain: torch's fused one takes twice a step's time on a CPU."""
    unet = UNet2DConditionModel(**unet_config(structure))
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Conditions:
    """The frozen text and image encoders, with their caches."""

    text: CachedText
    references: References

    def encode(self, captions: Sequence[str | None], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """(context, pooled) on `device`; zeros for None."""
        context, pooled = (part.to(device) for part in self.text([caption or "" for caption in captions]))
        present = torch.tensor([float(caption is not None) for caption in captions], device=device)
        return context * present[:, None, None], pooled * present[:, None]


class UNetLearner(Learner):
    """Trains `unet` and `adapters`."""

    def __init__(
        self, unet: nn.Module, adapters: Sequence[Adapter], conditions: Conditions, structure: Structure, seed: int
    ) -> None:
        self.unet, self.adapters, self.conditions = unet, {adapter.kind: adapter for adapter in adapters}, conditions
        self.module = nn.ModuleDict({"unet": unet, **{f"adapter-{kind}": one for kind, one in self.adapters.items()}})
        self.pixels = structure.native_size  # the size condition: of a whole image, also on a smaller canvas
        self._random, bank = Random(seed), Bank()
        self._makers = {side: Maker(bank, side, share) for side, share in REFERENCED.items()}
        self.held_out = {side: Maker(bank, side, 1.0, held_out=True) for side in REFERENCED}
        self._larger = 1 if self.device.type == "cpu" else 8

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        phase = next((phase for phase in PHASES if share < phase.until), PHASES[-1])
        side = self._random.choices(list(phase.sides), list(phase.sides.values()))[0]
        kind = "plus" if self._random.random() < phase.plus else "base"
        batch = self._makers[side](BATCHES[side] * self._larger, self._random)
        loss = self._errors(batch, self.adapters[kind]).mean()
        return loss, {f"loss{side}": loss.item()}, len(batch.captions)

    def _errors(self, batch: Batch, adapter: Adapter) -> torch.Tensor:
        device = self.device
        captions, identities, scales = self._drop(batch)
        text = self.conditions.encode(captions, device)
        tokens = adapter.tokens(self.conditions.references(adapter.kind, identities, self._random).to(device))
        latents, covered = batch.latents.to(device), batch.covered.to(device)
        weights = 1 + covered  # a figure's cells count twice: the background is larger and easy
        with adapter.stream(tokens, torch.tensor(scales, device=device)[:, None, None]):
            predict = predictor(self.unet, text, self.pixels)
            timesteps = draw_timesteps(len(latents)).to(device)
            return v_errors(predict, latents, timesteps, torch.randn_like(latents), weights / weights.mean())

    def _drop(self, batch: Batch) -> tuple[list[str | None], list[Identity | None], list[float]]:
        """Captions and references, some dropped for guidance; and each image's scale of the image stream."""
        random = self._random
        captions: list[str | None] = []
        identities: list[Identity | None] = []
        scales = []
        for caption, identity in zip(batch.captions, batch.identities):
            neither = random.random() < _NEITHER
            captions.append(None if neither else random.choices((caption, None, ""), _TEXT_SHARES)[0])
            scale = random.uniform(*_SCALES) if random.random() < _LOWER_SCALE else 1.0
            scales.append(0.0 if identity is None else scale)
            identities.append(None if neither or random.random() < _NO_REFERENCE else identity)
        return captions, identities, scales

    @torch.no_grad()
    def probe(self, context: TrainContext) -> dict[str, float]:
        """See `preferred` and `sampled`."""
        values: dict[str, float] = {}
        for side in (16, 32):
            results = preferred(self, side) | sampled(self, side, context)
            values |= {f"{name}{side}": value for name, value in results.items()}
        return values


def preferred(learner: UNetLearner, side: int) -> dict[str, float]:
    """How often the true word (of shape) or reference (of each attribute) has a smaller error than a changed one.

    Chance is 0.5. Both see the same images, noise and timesteps. `error`: the mean error with everything true.
    """
    batch, random = learner.held_out[side](_PICTURES, Random(77)), Random(78)
    latents = batch.latents.to(learner.device)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(3)).to(latents)
    identities = [identity for identity in batch.identities if identity is not None]
    nothing, anything = [None] * len(identities), [prompt([ANYTHING])] * len(identities)

    def errors(captions: Sequence[str], references: Sequence[Identity | None]) -> torch.Tensor:
        predict = _streamed(learner, captions, references, float(references[0] is not None))
        times = [torch.full((len(latents),), time, device=learner.device) for time in _TIMESTEPS]
        return torch.stack([v_errors(predict, latents, time, noise) for time in times]).mean(0)

    named = errors([prompt([identity.shape]) for identity in identities], nothing)
    others = [random.choice([shape for shape in SHAPES if shape != identity.shape]) for identity in identities]
    renamed = errors([prompt([shape]) for shape in others], nothing)
    referenced = errors(anything, identities)
    values = {"error": referenced.mean().item(), "word": (named < renamed).float().mean().item()}
    for attribute in ATTRIBUTES:
        changed = errors(anything, [identity.near_miss(attribute, random) for identity in identities])
        values[f"ref_{attribute}"] = (referenced < changed).float().mean().item()
    return values


def sampled(learner: UNetLearner, side: int, context: TrainContext) -> dict[str, float]:
    """Sample single figures with the stream everywhere -> share the oracle reads right by attribute. Saves a sheet."""
    random = Random(81)
    held_out = [one for one in learner.held_out[side](_SAMPLES, Random(80)).identities if one is not None]
    identities = [replace(one, shape=SHAPES[number % len(SHAPES)]) for number, one in enumerate(held_out)]
    backgrounds = [random.choice(BACKGROUNDS) for _ in identities]
    captions = [prompt([identity.shape], name) for identity, name in zip(identities, backgrounds)]
    nothing = [None] * len(captions)
    conditional = _streamed(learner, captions, identities, 1.0)
    unconditional = _streamed(learner, nothing, nothing, 1.0)
    noise = torch.randn(len(captions), 4, side, side, generator=torch.Generator().manual_seed(5)).to(learner.device)
    images = preview(sample(conditional, unconditional, noise, _STEPS, _GUIDANCE)).cpu()
    to_image(_sheet(images)).save(context.next_sheet(f"single{side}"))
    right = dict.fromkeys((*ATTRIBUTES, "identity"), 0)
    for image, identity, background in zip(images, identities, backgrounds):
        figures = find_figures(image, read_background(image, []))
        result = read_figure(image, background, figures[0].box).identity if figures else None
        right["identity"] += result == identity
        for attribute in ATTRIBUTES:
            right[attribute] += result is not None and getattr(result, attribute) == getattr(identity, attribute)
    return {f"got_{name}": count / len(identities) for name, count in right.items()}


def _streamed(
    learner: UNetLearner, captions: Sequence[str | None], references: Sequence[Identity | None], scale: float
) -> Predict:
    """The UNet with these captions and the 4-token stream of these references over the whole image."""
    adapter = learner.adapters["base"]
    tokens = adapter.tokens(learner.conditions.references("base", references, Random(79)).to(learner.device))
    plain = predictor(learner.unet, learner.conditions.encode(captions, learner.device), learner.pixels)

    def predict(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        with adapter.stream(tokens, scale):
            return plain(latents, timesteps)

    return predict


def _sheet(images: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, h, w) side by side in lines of eight."""
    large = images.repeat_interleave(_PIXELS, 2).repeat_interleave(_PIXELS, 3)
    lines = [torch.cat(list(line), 2) for line in large.split(_COLUMNS)]
    return torch.cat(lines, 1)

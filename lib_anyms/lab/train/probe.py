"""What a training has learnt so far, on held-out identities: which words and references explain pictures; what samples
show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import torch

from lib_anyms.lab.oracle import find_figures, read_figure, read_ground
from lib_anyms.lab.train.diffusion import Predict, sample, v_errors
from lib_anyms.lab.train.trainer import TrainContext
from lib_anyms.lab.world.captions import ANYTHING, prompt
from lib_anyms.lab.world.draw import to_image
from lib_anyms.lab.world.identity import ATTRIBUTES, SHAPES, Identity
from lib_anyms.lab.world.latents import preview
from lib_anyms.lab.world.scene import GROUNDS

if TYPE_CHECKING:
    from lib_anyms.lab.train.unet import UNetLearner

_TIMESTEPS = (800, 940)  # where layout, colours and shapes are decided
_PICTURES, _SAMPLES, _STEPS, _GUIDANCE = 40, 16, 14, 4.0
_COLUMNS = 8


def preferred(learner: UNetLearner, side: int) -> dict[str, float]:
    """How often the true word (of shape) or the true reference (of each attribute) has a smaller error than a changed
    one.

    Chance is 0.5. The same pictures, noise and timesteps for both. `error`: the mean error with everything true.
    """
    from lib_anyms.lab.train.unet import predictor

    batch, random = learner.held_out(side, _PICTURES, 77), Random(78)
    device = next(learner.unet.parameters()).device
    latents = batch.latents.to(device)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(3)).to(device)
    identities = [identity for identity in batch.identities if identity is not None]
    adapter = learner.adapters["base"]

    def errors(captions: Sequence[str], shown: Sequence[Identity | None]) -> torch.Tensor:
        text = learner.conditions.encode(captions, device)
        tokens = adapter.tokens(learner.conditions.references("base", shown, Random(79)).to(device))
        with adapter.stream(tokens, float(shown[0] is not None)):
            predict = predictor(learner.unet, text, learner.pixels)
            times = [torch.full((len(latents),), time, device=device) for time in _TIMESTEPS]
            return torch.stack([v_errors(predict, latents, time, noise) for time in times]).sum(0)

    def share(right: torch.Tensor, wrong: torch.Tensor) -> float:
        return (right < wrong).float().mean().item()

    nothing = [None] * len(identities)
    named = errors([prompt([identity.shape]) for identity in identities], nothing)
    renamed = errors([prompt([_other(identity.shape, random)]) for identity in identities], nothing)
    anything = [prompt([ANYTHING])] * len(identities)
    shown = errors(anything, identities)
    found = {"error": shown.mean().item() / len(_TIMESTEPS), "word": share(named, renamed)}
    for attribute in ATTRIBUTES:
        changed = [identity.near_miss(attribute, random) for identity in identities]
        found[f"ref_{attribute}"] = share(shown, errors(anything, changed))
    return found


def _other(shape: str, random: Random) -> str:
    return random.choice([other for other in SHAPES if other != shape])


def sampled(
    learner: UNetLearner, side: int, context: TrainContext, scale: float = 1.0, guidance: float = 4.0
) -> dict[str, float]:
    """Sampled single figures, the stream everywhere, read by the oracle -> share right by attribute; and a sheet of
    them.
    """
    identities = [identity for identity in learner.held_out(side, _SAMPLES, 80).identities if identity is not None]
    random = Random(81)
    identities = [replace(identity, shape=SHAPES[n % len(SHAPES)]) for n, identity in enumerate(identities)]
    grounds = [random.choice(GROUNDS) for _ in identities]
    pictures = sample_singles(learner, identities, grounds, side)
    to_image(_sheet(pictures)).save(context.next_sheet(f"single{side}"))
    right = dict.fromkeys((*ATTRIBUTES, "identity"), 0)
    for picture, identity, ground in zip(pictures, identities, grounds):
        figures = find_figures(picture, read_ground(picture, []))
        found = read_figure(picture, ground, figures[0].box).identity if figures else None
        for attribute in ATTRIBUTES:
            right[attribute] += found is not None and getattr(found, attribute) == getattr(identity, attribute)
        right["identity"] += found == identity
    return {f"got_{name}": count / len(identities) for name, count in right.items()}


def sample_singles(
    learner: UNetLearner, identities: Sequence[Identity], grounds: Sequence[str], side: int, scale: float = 1.0
) -> torch.Tensor:
    """Pictures (n, 3, side, side) of cells in 0..1, with the 4-token stream everywhere at this scale."""
    device = next(learner.unet.parameters()).device
    adapter = learner.adapters["base"]
    captions = [prompt([identity.shape], ground) for identity, ground in zip(identities, grounds)]
    conditional = _streamed(learner, adapter, captions, identities, scale)
    unconditional = _streamed(learner, adapter, [None] * len(captions), [None] * len(captions), scale)
    noise = torch.randn(len(captions), 4, side, side, generator=torch.Generator().manual_seed(5)).to(device)
    return preview(sample(conditional, unconditional, noise, _STEPS, _GUIDANCE)).cpu()


def _streamed(
    learner: UNetLearner, adapter: Any, captions: Sequence[str | None], shown: Sequence[Identity | None], scale: float
) -> Predict:
    from lib_anyms.lab.train.unet import predictor

    device = next(learner.unet.parameters()).device
    text = learner.conditions.encode(captions, device)
    tokens = adapter.tokens(learner.conditions.references(adapter.kind, shown, Random(82)).to(device))
    inner = predictor(learner.unet, text, learner.pixels)

    def predict(inputs: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        with adapter.stream(tokens, scale):
            return inner(inputs, timesteps)

    return predict


def _sheet(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, h, w) in rows of eight, each cell four pixels."""
    large = pictures.repeat_interleave(4, 2).repeat_interleave(4, 3)
    rows = [torch.cat(list(large[start : start + _COLUMNS]), 2) for start in range(0, len(large), _COLUMNS)]
    return torch.cat(rows, 1)

"""Training pictures as latents, drawn as they are needed from a bank of coverage masks; and what the encoder says of
references.

A latent cell is linear in the coverage of its pixels, so a batch costs milliseconds: ground * (1 - cover) + body * part
of the body + second * part of the second colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch

from lib_anyms.lab.train.vision import normalised
from lib_anyms.lab.world.captions import ANYTHING, caption
from lib_anyms.lab.world.draw import draw_reference, figure_coverage, rgb
from lib_anyms.lab.world.identity import PATTERNS, SHAPES, Identity, held_out_identity, trained_identity
from lib_anyms.lab.world.latents import latents_of
from lib_anyms.lab.world.scene import CELLS, GROUNDS, RADII, place_anywhere, pose

BANK_RADII = (4.2, 7.4)  # latent cells
_LEAST = {16: 5.4, 24: 4.6, 32: 4.2}  # the smallest radius on a canvas of that side: on the small one a figure fills it
_TRIES = 40
_COUNTS = {
    16: ((0, 1), (1, 9)),
    24: ((0, 1, 2), (1, 5, 5)),
    32: ((0, 1, 2, 3, 4), (2, 8, 4, 6, 4)),
}  # of scenes, with weights
# What the caption of a picture with a reference says of its figure. Where nothing is said the image stream alone makes
# the figure appear: that is what later keeps it in its box.
_SAID = (("shape", 0.55), (ANYTHING, 0.20), ("", 0.25))


@dataclass(frozen=True)
class Batch:
    """latents (n, 4, side, side); covered (n, 1, side, side), the share of each cell under a figure.

    identities: of the one figure whose reference is shown, None for a picture without a reference.
    """

    latents: torch.Tensor
    covered: torch.Tensor
    captions: list[str]
    identities: list[Identity | None]


@dataclass(frozen=True)
class _Mask:
    """A figure's coverage in cells, (2, h, w), and its radius."""

    parts: np.ndarray
    radius: float


class Bank:
    """Coverage masks of every shape and pattern in random poses."""

    def __init__(self, poses: int = 200, seed: int = 1) -> None:
        random = Random(seed)
        self._masks = {
            (shape, pattern): [_mask(Identity(shape, "red", "blue", pattern), random) for _ in range(poses)]
            for shape in SHAPES
            for pattern in PATTERNS
        }

    def draw(self, identity: Identity, least: float, most: float, random: Random) -> np.ndarray:
        """A mask (2, h, w) of that shape and pattern, with a radius of `least` to `most` cells."""
        masks = self._masks[identity.shape, identity.pattern]
        while True:
            mask = random.choice(masks)
            if least <= mask.radius <= most:
                return mask.parts


def _mask(identity: Identity, random: Random) -> _Mask:
    figure = place_anywhere(pose(identity, BANK_RADII, random), random)
    return _Mask(figure_coverage(figure, CELLS)[2], figure.radius * CELLS)


@dataclass(frozen=True)
class Maker:
    """Makes batches of pictures of `side` cells. `referenced`: the share that shows one figure, with its reference."""

    bank: Bank
    side: int
    referenced: float
    held_out: bool = False

    def __call__(self, count: int, random: Random) -> Batch:
        cells = np.empty((count, 3, self.side, self.side), np.float32)
        covered = np.zeros((count, 1, self.side, self.side), np.float32)
        captions: list[str] = []
        identities: list[Identity | None] = []
        for number in range(count):
            alone = number < round(self.referenced * count)
            figures = self._place(1 if alone else self._count(random), random)
            ground = random.choice(GROUNDS)
            cells[number] = rgb(ground)[:, None, None]
            for identity, mask, top, left in figures:
                _paint(cells[number], covered[number, 0], identity, mask, top, left)
            names = [identity.shape for identity, *_ in figures]
            if alone:
                said = random.choices([what for what, _ in _SAID], [share for _, share in _SAID])[0]
                names = names if said == "shape" else [said] if said else []
            captions.append(caption(names, ground, random))
            identities.append(figures[0][0] if alone else None)
        return Batch(latents_of(torch.from_numpy(cells)), torch.from_numpy(covered), captions, identities)

    def _count(self, random: Random) -> int:
        counts, weights = _COUNTS[self.side]
        return random.choices(counts, weights)[0]

    def _place(self, count: int, random: Random) -> list[tuple[Identity, np.ndarray, int, int]]:
        """(identity, mask, top, left) of figures whose boxes do not meet."""
        draw = held_out_identity if self.held_out else trained_identity
        least, most = _LEAST[self.side], BANK_RADII[1]
        if count > 1:  # smaller, so that they find room
            most = max(least + 0.5, RADII[count][1] * min(1.0, self.side / CELLS + 0.25))
        while True:
            figures: list[tuple[Identity, np.ndarray, int, int]] = []
            taken = np.zeros((self.side, self.side), bool)
            for _ in range(count):
                identity = draw(random)
                for _ in range(_TRIES):
                    mask = self.bank.draw(identity, least, most, random)
                    height, width = mask.shape[1:]
                    top, left = random.randint(0, self.side - height), random.randint(0, self.side - width)
                    place = taken[top : top + height, left : left + width]
                    if not place.any():
                        place[:] = True
                        figures.append((identity, mask, top, left))
                        break
            if len(figures) == count:
                return figures


def _paint(cells: np.ndarray, covered: np.ndarray, identity: Identity, mask: np.ndarray, top: int, left: int) -> None:
    place = slice(top, top + mask.shape[1]), slice(left, left + mask.shape[2])
    body, second = rgb(identity.body)[:, None, None], rgb(identity.second)[:, None, None]
    patch = cells[:, place[0], place[1]]
    patch *= 1 - mask.sum(0)
    patch += body * mask[0] + second * mask[1]
    covered[place] += mask.sum(0)


class References:
    """What the frozen image encoder says of reference pictures; each identity is drawn in `poses` poses and encoded
    once.

    An adapter of the kind "base" reads the projected embedding (E,), "plus" the penultimate hidden states (patches + 1,
    H).
    """

    def __init__(self, encoder: Any, poses: int = 4, seed: int = 2) -> None:
        self._encoder, self._poses, self._random = encoder, poses, Random(seed)
        self._known: dict[Identity, dict[str, torch.Tensor]] = {}
        device = next(encoder.parameters()).device
        size = encoder.config.image_size
        nothing = self._encode(
            torch.zeros(1, 3, size, size, device=device)
        )  # zeros after normalisation stand for no picture
        self.nothing = {"base": torch.zeros_like(nothing["base"][0]), "plus": nothing["plus"][0]}

    def __call__(self, kind: str, identities: Sequence[Identity | None], random: Random) -> torch.Tensor:
        """(n, ...) in one random pose each; of None what stands for no picture."""
        self._learn([identity for identity in identities if identity is not None])
        rows = [
            self.nothing[kind] if identity is None else self._known[identity][kind][random.randrange(self._poses)]
            for identity in identities
        ]
        return torch.stack(rows).float()

    def _learn(self, identities: Sequence[Identity]) -> None:
        new = [identity for identity in dict.fromkeys(identities) if identity not in self._known]
        if not new:
            return
        drawn = [draw_reference(identity, self._random) for identity in new for _ in range(self._poses)]
        pictures = torch.stack(drawn).to(next(self._encoder.parameters()).device)
        found = self._encode(normalised(pictures))
        for number, identity in enumerate(new):
            own = slice(number * self._poses, (number + 1) * self._poses)
            self._known[identity] = {kind: values[own].half() for kind, values in found.items()}

    @torch.no_grad()
    def _encode(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self._encoder(pixel_values=values, output_hidden_states=True)
        return {"base": output.image_embeds, "plus": output.hidden_states[-2]}

"""Training batches as latents, drawn from a bank of coverage masks; and cached encodings of reference images.

A latent cell is linear in the coverage of its pixels, so a batch costs milliseconds:
background * (1 - coverage) + body * coverage by body + second * coverage by the second colour.
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
from lib_anyms.lab.world.draw import draw_reference, figure_coverage, paint, rgb
from lib_anyms.lab.world.identity import PATTERNS, SHAPES, Identity, held_out_identity, trained_identity
from lib_anyms.lab.world.latents import latents_of
from lib_anyms.lab.world.scene import BACKGROUNDS, CELLS, RADII, place_anywhere, pose

BANK_RADII = (4.2, 7.4)  # latent cells
_LEAST = {16: 5.4, 24: 4.6, 32: 4.2}  # smallest radius by canvas side: on the small canvas one figure fills it
_TRIES = 40
# Numbers of figures in captioned scenes, and their weights, by canvas side.
_COUNTS = {16: ((0, 1), (1, 9)), 24: ((0, 1, 2), (1, 5, 5)), 32: ((0, 1, 2, 3, 4), (2, 8, 4, 6, 4))}
# Copies of the one figure in images with its reference, and their weights. With one figure only, the UNet would learn
# that a stream means one figure, and would leave boxes empty where the stream acts in several.
_COPIES = {16: ((1,), (1,)), 24: ((1, 2), (6, 4)), 32: ((1, 2, 3, 4), (3, 3, 3, 1))}
# How the caption of an image with a reference names its figure, and how often. Without a name the image stream alone
# makes the figure appear: later that keeps the figure in its box.
_NAMED = {"shape": 0.55, ANYTHING: 0.20, "": 0.25}


@dataclass(frozen=True)
class Batch:
    """latents (n, 4, side, side); covered (n, 1, side, side), the share of each cell under a figure.

    identities: of the figure with a reference and of its copies, None for an image without a reference.
    """

    latents: torch.Tensor
    covered: torch.Tensor
    captions: list[str]
    identities: list[Identity | None]


class Bank:
    """Coverage masks (2, h, w) in cells, with their radius, of every shape and pattern in random poses."""

    def __init__(self, poses: int = 200, seed: int = 1) -> None:
        random = Random(seed)
        self._masks: dict[tuple[str, str], list[tuple[np.ndarray, float]]] = {}
        for shape in SHAPES:
            for pattern in PATTERNS:
                identity = Identity(shape, "red", "blue", pattern)
                self._masks[shape, pattern] = [_mask(identity, random) for _ in range(poses)]

    def draw(self, identity: Identity, least: float, most: float, random: Random) -> np.ndarray:
        """A mask (2, h, w) of this shape and pattern, with a radius of `least` to `most` cells."""
        masks = self._masks[identity.shape, identity.pattern]
        while True:
            mask, radius = random.choice(masks)
            if least <= radius <= most:
                return mask


def _mask(identity: Identity, random: Random) -> tuple[np.ndarray, float]:
    figure = place_anywhere(pose(identity, BANK_RADII, random), random)
    return figure_coverage(figure, CELLS)[2], figure.radius * CELLS


Placed = tuple[Identity, np.ndarray, int, int]  # identity, mask, top, left


@dataclass(frozen=True)
class Maker:
    """Makes batches of `side` x `side` cells. referenced: share of images that show one figure, with its reference."""

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
            referenced = number < round(self.referenced * count)
            figures = self._figures(referenced, random)
            background = random.choice(BACKGROUNDS)
            cells[number] = rgb(background)[:, None, None]
            for identity, mask, top, left in figures:
                rows, columns = slice(top, top + mask.shape[1]), slice(left, left + mask.shape[2])
                paint(cells[number, :, rows, columns], identity, mask)
                covered[number, 0, rows, columns] += mask.sum(0)
            names = [identity.shape for identity, *_ in figures]
            if referenced:
                name = random.choices(list(_NAMED), list(_NAMED.values()))[0]
                names = {"shape": names, ANYTHING: [ANYTHING] * len(names), "": []}[name]
            captions.append(caption(names, background, random))
            identities.append(figures[0][0] if referenced else None)
        return Batch(latents_of(torch.from_numpy(cells)), torch.from_numpy(covered), captions, identities)

    def _figures(self, referenced: bool, random: Random) -> list[Placed]:
        """One identity in one or several poses, once where it is held out, for probes; or several identities."""
        if referenced:
            copies = 1 if self.held_out else random.choices(*_COPIES[self.side])[0]
            return self._place([self._identity(random)] * copies, random)
        count = random.choices(*_COUNTS[self.side])[0]
        return self._place([self._identity(random) for _ in range(count)], random)

    def _identity(self, random: Random) -> Identity:
        return held_out_identity(random) if self.held_out else trained_identity(random)

    def _place(self, identities: Sequence[Identity], random: Random) -> list[Placed]:
        """Figures of these identities whose boxes do not meet."""
        count = len(identities)
        least, most = _LEAST[self.side], BANK_RADII[1]
        if count > 1:  # smaller: several figures need room
            most = max(least + 0.5, RADII[count][1] * min(1.0, self.side / CELLS + 0.25))
        while True:
            figures: list[Placed] = []
            taken = np.zeros((self.side, self.side), bool)
            for identity in identities:
                figures += self._placed(identity, taken, (least, most), random)
            if len(figures) == count:
                return figures

    def _placed(
        self, identity: Identity, taken: np.ndarray, radii: tuple[float, float], random: Random
    ) -> list[Placed]:
        """One figure on cells that are not `taken`, marked there; none after too many tries."""
        for _ in range(_TRIES):
            mask = self.bank.draw(identity, *radii, random)
            height, width = mask.shape[1:]
            top, left = random.randint(0, self.side - height), random.randint(0, self.side - width)
            place = taken[top : top + height, left : left + width]
            if not place.any():
                place[:] = True
                return [(identity, mask, top, left)]
        return []


class References:
    """Encodings of reference images by the frozen image encoder. Each identity is encoded once, in `poses` poses.

    An adapter of kind "base" reads the projected embedding (E,), "plus" the penultimate hidden states (patches + 1, H).
    """

    def __init__(self, encoder: Any, poses: int = 4, seed: int = 2) -> None:
        self._encoder, self._poses, self._random = encoder, poses, Random(seed)
        self._device = next(encoder.parameters()).device
        self._cache: dict[Identity, dict[str, torch.Tensor]] = {}
        # As hosts do without an image: "plus" encodes zeros (after normalisation), "base" is zero itself.
        size = encoder.config.image_size
        nothing = self._encode(torch.zeros(1, 3, size, size, device=self._device))
        self.nothing = {"base": torch.zeros_like(nothing["base"][0]), "plus": nothing["plus"][0]}

    def __call__(self, kind: str, identities: Sequence[Identity | None], random: Random) -> torch.Tensor:
        """(n, ...): each identity in a random pose; for None the encoding of no image."""
        new = [one for one in dict.fromkeys(identities) if one is not None and one not in self._cache]
        if new:
            self._add(new)
        encodings = []
        for one in identities:
            poses = self._cache[one][kind] if one is not None else None
            encodings.append(self.nothing[kind] if poses is None else poses[random.randrange(self._poses)])
        return torch.stack(encodings).float()

    def _add(self, new: Sequence[Identity]) -> None:
        """Encode new identities in one batch."""
        images = [draw_reference(identity, self._random) for identity in new for _ in range(self._poses)]
        encoded = self._encode(normalised(torch.stack(images).to(self._device)))
        for number, identity in enumerate(new):
            poses = slice(number * self._poses, (number + 1) * self._poses)
            self._cache[identity] = {kind: values[poses].half() for kind, values in encoded.items()}

    @torch.no_grad()
    def _encode(self, values: torch.Tensor) -> dict[str, torch.Tensor]:
        output = self._encoder(pixel_values=values, output_hidden_states=True)
        return {"base": output.image_embeds, "plus": output.hidden_states[-2]}

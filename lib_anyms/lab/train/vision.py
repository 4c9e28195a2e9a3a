"""Train the image encoder on reference images of single figures: it names their attributes and redraws them.

An embedding holds each attribute's words along orthogonal directions, so a UNet reads them with one linear layer. It
also holds enough to redraw the silhouette, so it distinguishes shapes that training never shows.
"""

from __future__ import annotations

import math
from random import Random

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lib_anyms.ip_adapter.references import MEAN, STD
from lib_anyms.lab.train.trainer import Learner, TrainContext
from lib_anyms.lab.world.draw import draw_reference
from lib_anyms.lab.world.identity import ATTRIBUTES, KNOWN, Identity, held_out_identity, trained_identity
from lib_anyms.standalone.random_sdxl import vision_config
from lib_anyms.standalone.structure import Structure

_WORDS = [len(KNOWN[name]) for name in ATTRIBUTES]
_STARTS = [sum(_WORDS[:number]) for number in range(len(_WORDS))]  # of each attribute's words
_COARSE = 16  # side of the redrawn image
_REUSE = 4  # times an image is shown on average: drawing one costs more than a step
_DIRECTIONS_SEED = 21


def new_encoder(structure: Structure) -> CLIPVisionModelWithProjection:
    """The encoder with random weights. Positions start as sines and cosines: random ones learn far more slowly."""
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision_config(structure.vision)))
    positions = encoder.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        positions.copy_(0.5 * _sines(structure.vision.image_size // structure.vision.patch_size, positions.shape[1]))
    return encoder


def _sines(side: int, width: int) -> torch.Tensor:
    """(side * side + 1, width): zeros for the class token, then sines and cosines of x and y for each patch."""
    frequencies = 2 / 20 ** (torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x, y = x.flatten()[:, None] * frequencies, y.flatten()[:, None] * frequencies
    return F.pad(torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), 1), (0, 0, 1, 0))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, h, w) in 0..1 as CLIP's encoders take them."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    return (images - mean) / std


def attribute_directions(width: int) -> torch.Tensor:
    """(words of all attributes, width): orthogonal; four of them add up to a vector of mean square 1."""
    generator = torch.Generator().manual_seed(_DIRECTIONS_SEED)
    directions, _ = torch.linalg.qr(torch.randn(width, sum(_WORDS), generator=generator))
    return directions.T * math.sqrt(width / len(ATTRIBUTES))


class VisionLearner(Learner):
    """Trains the encoder, with a linear head (not exported) that redraws the image."""

    def __init__(self, structure: Structure, seed: int, batch: int = 32) -> None:
        width = structure.vision.projection
        self.encoder, self._random, self._batch = new_encoder(structure), Random(seed), batch
        self._directions = attribute_directions(width)
        self._pool: list[tuple[Identity, torch.Tensor]] = []
        self.module = nn.ModuleDict({"encoder": self.encoder, "redraw": nn.Linear(width, 3 * _COARSE**2)})

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        images, identities = self._draw()
        images = images.to(self.device)
        embeddings = self.encoder(pixel_values=normalised(images)).image_embeds
        loss, right = self._named(embeddings, identities)
        coarse = F.adaptive_avg_pool2d(images, _COARSE).flatten(1)
        redrawn = F.mse_loss(self.module["redraw"](embeddings), coarse)
        return loss + 10 * redrawn, {"redrawn": redrawn.item(), **right}, len(images)

    def _draw(self) -> tuple[torch.Tensor, list[Identity]]:
        """A batch from the pool, after adding some new images to it."""
        for _ in range(max(self._batch // _REUSE, self._batch * 4 - len(self._pool))):
            identity = trained_identity(self._random)
            self._pool.append((identity, draw_reference(identity, self._random)))
        self._pool = self._pool[-8192:]
        chosen = self._random.sample(self._pool, self._batch)
        return torch.stack([image for _, image in chosen]), [identity for identity, _ in chosen]

    def _named(self, embeddings: torch.Tensor, identities: list[Identity]) -> tuple[torch.Tensor, dict[str, float]]:
        """How well the embeddings name the attributes -> loss, share right by attribute."""
        directions = self._directions.to(embeddings.device)
        numbers = torch.tensor([identity.numbers for identity in identities], device=embeddings.device)
        loss = embeddings.new_zeros(())
        right = {}
        for n, logits in enumerate((embeddings @ directions.T / 4).split(_WORDS, 1)):
            loss = loss + F.cross_entropy(logits, numbers[:, n])
            right[ATTRIBUTES[n]] = (logits.argmax(1) == numbers[:, n]).float().mean().item()
        target = directions[numbers + torch.tensor(_STARTS, device=embeddings.device)].sum(1)
        # The part of an embedding that lies in the attributes' directions is the target; the rest is free.
        inside = embeddings @ directions.T @ directions / directions[0].square().sum()
        return loss + 0.5 * F.mse_loss(inside, target), right

    @torch.no_grad()
    def probe(self, context: TrainContext) -> dict[str, float]:
        """The share right by attribute, on held-out identities."""
        random = Random(77)
        identities = [held_out_identity(random) for _ in range(128)]
        images = torch.stack([draw_reference(identity, random) for identity in identities])
        return self._named(self.encoder(pixel_values=normalised(images.to(self.device))).image_embeds, identities)[1]

"""The image encoder, trained on reference pictures of single figures: it names their attributes and redraws them.

An embedding holds each attribute's words along orthogonal directions, so that a UNet reads them with one linear layer,
and beside them enough to redraw the silhouette, so that shapes no training shows are told too.
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
_COARSE = 16  # side of the redrawn picture
_POOL = 4  # identities drawn anew for each picture that is shown once more: drawing costs more than a step
_DIRECTIONS_SEED = 21


def new_encoder(structure: Structure) -> CLIPVisionModelWithProjection:
    """The encoder with the library's initial weights, and positions as sines and cosines: learnt ones take far longer."""
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision_config(structure.vision)))
    positions = encoder.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        positions.copy_(0.5 * _sines(structure.vision.image_size // structure.vision.patch_size, positions.shape[1]))
    return encoder


def _sines(side: int, width: int) -> torch.Tensor:
    """(side * side + 1, width): zeros for the class token, then row by row sines and cosines of x and y."""
    frequencies = 2 / 20 ** (torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.flatten()[:, None] * frequencies for axis in (x, y)]
    return F.pad(torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1), (0, 0, 1, 0))


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, h, w) in 0..1 as CLIP's encoders take them."""
    mean, std = (torch.tensor(values, device=pictures.device)[:, None, None] for values in (MEAN, STD))
    return (pictures - mean) / std


def attribute_directions(width: int) -> torch.Tensor:
    """(words of all attributes, width): orthogonal; four of them add up to a vector of mean square 1."""
    generator = torch.Generator().manual_seed(_DIRECTIONS_SEED)
    directions, _ = torch.linalg.qr(torch.randn(width, sum(_WORDS), generator=generator))
    return directions.T * math.sqrt(width / len(ATTRIBUTES))


class VisionLearner(Learner):
    """Trains the encoder, with a linear head that redraws the picture and is not kept."""

    def __init__(self, encoder: CLIPVisionModelWithProjection, structure: Structure, seed: int, batch: int) -> None:
        width = structure.vision.projection
        self.encoder, self._random, self._batch = encoder, Random(seed), batch
        self._directions = attribute_directions(width)
        self._pool: list[tuple[Identity, torch.Tensor]] = []
        self.module = nn.ModuleDict({"encoder": encoder, "redraw": nn.Linear(width, 3 * _COARSE**2)})

    def step(self, share: float) -> tuple[torch.Tensor, dict[str, float], int]:
        pictures, identities = self._draw()
        device = next(self.encoder.parameters()).device
        pictures = pictures.to(device)
        embeddings = self.encoder(pixel_values=normalised(pictures)).image_embeds
        named, right = self._named(embeddings, identities)
        whole = F.adaptive_avg_pool2d(pictures, _COARSE).flatten(1)
        redrawn = F.mse_loss(self.module["redraw"](embeddings), whole)
        return named + 10 * redrawn, {"redrawn": redrawn.item(), **right}, len(pictures)

    def _draw(self) -> tuple[torch.Tensor, list[Identity]]:
        """A batch, a part of it new and the rest from pictures drawn before."""
        for _ in range(max(self._batch // _POOL, self._batch * 4 - len(self._pool))):
            identity = trained_identity(self._random)
            self._pool.append((identity, draw_reference(identity, self._random)))
        self._pool = self._pool[-8192:]
        chosen = self._random.sample(self._pool, self._batch)
        return torch.stack([picture for _, picture in chosen]), [identity for identity, _ in chosen]

    def _named(self, embeddings: torch.Tensor, identities: list[Identity]) -> tuple[torch.Tensor, dict[str, float]]:
        """How well the embeddings name the attributes -> loss, share right by attribute."""
        directions = self._directions.to(embeddings.device)
        numbers = torch.tensor([identity.numbers for identity in identities], device=embeddings.device)
        answers = (embeddings @ directions.T / 4).split(_WORDS, 1)
        loss = torch.stack([F.cross_entropy(answer, numbers[:, n]) for n, answer in enumerate(answers)]).sum()
        starts = torch.tensor([0, *_WORDS[:-1]], device=embeddings.device).cumsum(0)
        wanted = directions[numbers + starts].sum(1)
        inside = (
            embeddings @ directions.T @ directions / directions[0].square().sum()
        )  # in the attributes' directions alone
        loss = loss + 0.5 * F.mse_loss(inside, wanted)
        right = {
            name: (answer.argmax(1) == numbers[:, n]).float().mean().item()
            for n, (name, answer) in enumerate(zip(ATTRIBUTES, answers))
        }
        return loss, right

    @torch.no_grad()
    def probe(self, context: TrainContext) -> dict[str, float]:
        """The same on identities that training never shows."""
        random = Random(77)
        identities = [held_out_identity(random) for _ in range(128)]
        pictures = torch.stack([draw_reference(identity, random) for identity in identities])
        device = next(self.encoder.parameters()).device
        return self._named(self.encoder(pixel_values=normalised(pictures.to(device))).image_embeds, identities)[1]


def trained_encoder(structure: Structure, weights: dict[str, torch.Tensor]) -> CLIPVisionModelWithProjection:
    """The encoder out of the vision stage's weights, frozen."""
    encoder = new_encoder(structure)
    encoder.load_state_dict({n.removeprefix("encoder."): w for n, w in weights.items() if n.startswith("encoder.")})
    return encoder.requires_grad_(False).eval()

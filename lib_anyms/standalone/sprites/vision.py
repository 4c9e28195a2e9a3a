"""The image encoder, trained on reference pictures of single sprites: whose picture it is, its attributes, and its looks.

The last makes embedding and patches tell colours and forms of shapes that no training showed. Telling each patch what of it is
sprite and what ground comes first: without, shapes are not learnt in any time there is.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lib_anyms.ip_adapter.references import MEAN, STD
from lib_anyms.standalone.random_sdxl import vision_config
from lib_anyms.standalone.sprites.identity import ATTRIBUTES, KNOWN, VALUES
from lib_anyms.standalone.sprites.precision import mixed
from lib_anyms.standalone.sprites.training import Batch, Learner, Where
from lib_anyms.standalone.structure import Structure, VisionEncoder

_COARSE = 8  # side of the picture the embedding alone must tell
_MASK_CELL = 2  # pixels of the picture a part of a patch is, that is sprite or ground
_CELL = 4  # pixels of the picture a patch must tell its part of: 2 x 2 for a patch of 8


def vision_encoder(structure: Structure) -> CLIPVisionModelWithProjection:
    """The encoder with the library's initial weights."""
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**vision_config(structure.vision)))
    nn.init.normal_(encoder.vision_model.embeddings.position_embedding.weight, std=0.3)  # CLIP's 0.02 drowns in the colours
    return encoder


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures in 0..1 as CLIP's encoders take them."""
    mean, std = (torch.tensor(values, device=pictures.device)[:, None, None] for values in (MEAN, STD))
    return (pictures - mean) / std


class VisionLearner(Learner):
    """Trains the encoder with heads that are thrown away afterwards."""

    def __init__(self, encoder: CLIPVisionModelWithProjection, vision: VisionEncoder) -> None:
        self.encoder = encoder
        cells, parts = (vision.patch_size // _CELL) ** 2, (vision.patch_size // _MASK_CELL) ** 2
        self.module = nn.ModuleDict(
            {
                "encoder": encoder,
                "heads": nn.ModuleDict({name: nn.Linear(vision.projection, len(VALUES[name])) for name in ATTRIBUTES}),
                "coarse": nn.Linear(vision.projection, 3 * _COARSE**2),
                "patches": nn.Linear(vision.hidden, 3 * cells),
                "masks": nn.Linear(vision.hidden, parts),
            }
        )
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.module.register_parameter("sharpness", self.sharpness)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        pictures, numbers = batch["pictures"], batch["numbers"]
        with mixed(pictures.device):
            output = self.encoder(pixel_values=normalised(pictures), output_hidden_states=True)
            embeddings, patches = output.image_embeds, output.hidden_states[-2][:, 1:]
            answers = [self.module["heads"][name](embeddings) for name in ATTRIBUTES]
            seen = self.module["coarse"](embeddings), self.module["patches"](patches), self.module["masks"](patches)
        named = sum(F.cross_entropy(answer.float(), numbers[:, i]) for i, answer in enumerate(answers))
        contrast, top = self._contrast(embeddings.float(), numbers)
        drawn, masked = self._drawn(*seen[:2], pictures), self._masked(seen[2], batch["masks"])
        right = {n: (a.argmax(1) == numbers[:, i]).float().mean().item() for i, (n, a) in enumerate(zip(ATTRIBUTES, answers))}
        facts = {"contrast": contrast.item(), "top": top, "drawn": drawn.item(), "masked": masked.item(), **right}
        return contrast + named + 4 * drawn + 5 * masked, facts

    def _contrast(self, embeddings: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, float]:
        """InfoNCE between the two pictures of an identity -> loss, share whose nearest is the right one."""
        first, second = F.normalize(embeddings, dim=-1).chunk(2)
        scores = (first @ second.T) * self.sharpness.exp().clamp(max=50)
        half = numbers[: len(first)]
        same = (half[:, None] == half[None]).all(-1) & ~torch.eye(len(half), dtype=torch.bool, device=half.device)
        scores = scores.masked_fill(same, -1e4)
        wanted = torch.arange(len(scores), device=scores.device)
        loss = (F.cross_entropy(scores, wanted) + F.cross_entropy(scores.T, wanted)) / 2
        return loss, (scores.argmax(1) == wanted).float().mean().item()

    def _drawn(self, coarse: torch.Tensor, patches: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """How far off the pictures are that the embedding and the patches tell."""
        whole = F.adaptive_avg_pool2d(pictures, _COARSE).flatten(1)
        fine = F.unfold(F.avg_pool2d(pictures, _CELL), 2, stride=2).transpose(1, 2)
        return F.mse_loss(coarse.float(), whole) + F.mse_loss(patches.float(), fine)

    def _masked(self, masks: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """How far off the patches are about what of them is sprite."""
        side = math.isqrt(masks.shape[-1])
        parts = F.unfold(wanted[:, None], side, stride=side).transpose(1, 2)
        return F.binary_cross_entropy_with_logits(masks.float(), parts)

    @torch.no_grad()
    def probe(self, where: Where) -> dict[str, float]:
        """On identities that training never shows; attributes are asked for among those it knows."""
        from random import Random

        from lib_anyms.standalone.sprites.data import reference_pictures
        from lib_anyms.standalone.sprites.identity import held_out_identity

        random = Random(77)
        identities = [held_out_identity(random) for _ in range(128)]
        pictures = reference_pictures(identities, random).to(where.device)
        numbers = torch.tensor([identity.numbers for identity in identities])
        embeddings = self.encoder(pixel_values=normalised(pictures)).image_embeds
        found = {}
        for i, name in enumerate(ATTRIBUTES):
            answer = self.module["heads"][name](embeddings)[:, : len(KNOWN[name])].argmax(1).cpu()
            found[name] = (answer == numbers[:, i]).float().mean().item()
        return found

    @torch.no_grad()
    def finish(self) -> None:
        """Scale the projection to embeddings of mean square 1."""
        from random import Random

        from lib_anyms.standalone.sprites.data import reference_pictures
        from lib_anyms.standalone.sprites.identity import trained_identity

        random = Random(78)
        device = self.encoder.visual_projection.weight.device
        pictures = reference_pictures([trained_identity(random) for _ in range(64)], random).to(device)
        embeddings = self.encoder(pixel_values=normalised(pictures)).image_embeds
        self.encoder.visual_projection.weight.mul_(embeddings.square().mean().rsqrt())


def trained_encoder(structure: Structure, weights: dict[str, torch.Tensor]) -> CLIPVisionModelWithProjection:
    """The encoder out of a vision stage's weights, frozen."""
    encoder = vision_encoder(structure)
    encoder.load_state_dict({n.removeprefix("encoder."): w for n, w in weights.items() if n.startswith("encoder.")})
    return encoder.requires_grad_(False).eval()

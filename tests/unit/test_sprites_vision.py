"""The image encoder learns who is shown, in what colours, and what of a picture is sprite."""

from __future__ import annotations

import pytest
import torch

from lib_anyms.ip_adapter.references import pixel_values
from lib_anyms.standalone.sprites.data import Pairs
from lib_anyms.standalone.sprites.identity import Identity
from lib_anyms.standalone.sprites.scene import reference_scene
from lib_anyms.standalone.sprites.vision import VisionLearner, normalised, vision_encoder
from lib_anyms.standalone.sprites.world import draw, to_image
from lib_anyms.standalone.structure import SPRITES


def test_pictures_are_normalised_as_the_engine_does_it() -> None:
    picture = draw([reference_scene(Identity("star", "red", "yellow", "dots"), 1)], 64).pictures
    assert torch.allclose(normalised(picture), pixel_values([to_image(picture[0])], 64), atol=0.02)


def test_the_encoder_learns_and_ends_at_strength_one() -> None:
    torch.manual_seed(0)
    learner = VisionLearner(vision_encoder(SPRITES), SPRITES.vision)
    optimiser = torch.optim.AdamW(learner.module.parameters(), 1e-3)
    losses = []
    for seed in range(8):
        loss, facts = learner.loss(Pairs()(seed, 16))
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]
    assert {"top", "masked", "drawn", "shape", "body"} < set(facts)
    learner.module.eval()
    learner.finish()
    with torch.no_grad():
        embeddings = learner.encoder(pixel_values=normalised(Pairs()(9, 32)["pictures"])).image_embeds
    assert embeddings.square().mean().item() == pytest.approx(1, rel=0.3)

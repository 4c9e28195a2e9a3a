"""The base model: the UNet learns scenes from captions alone. It never sees a box or a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image

from lib_anyms.standalone.single_file import unet_config
from lib_anyms.standalone.sprites.captions import full_caption
from lib_anyms.standalone.sprites.data import LARGE, SINGLE
from lib_anyms.standalone.sprites.diffusion import draw_timesteps, predictor, sample, subject_weights, v_loss
from lib_anyms.standalone.sprites.identity import ATTRIBUTES
from lib_anyms.standalone.sprites.latents import pool_latents, preview
from lib_anyms.standalone.sprites.precision import mixed
from lib_anyms.standalone.sprites.scene import BACKGROUNDS, Scene, draw_scene
from lib_anyms.standalone.sprites.text import TextPair
from lib_anyms.standalone.sprites.training import Batch, Learner, Where
from lib_anyms.standalone.sprites.world import draw, to_image
from lib_anyms.standalone.structure import Structure

SHOWN = (
    "a red star with yellow dots on grass",
    "a blue cat with orange stripes on snow",
    "a huge pink bunny with purple checks on tiles",
    "a green house with one white ring on sand",
    "a jumping yellow duck with one red half on bricks",
    "an orange fish with black bands on waves",
    "a brown bear with lime dots and a purple ghost with white bands on night",
    "a white rocket with red stripes, an aqua tree with yellow half and a red heart on sky",
)
_PROBED = (350, 600, 800)  # timesteps at which layout, colours and forms are decided


@dataclass(frozen=True)
class Dropping:
    """How often a caption is left out: as zeros, as hosts do it for an empty negative prompt, and as the encoding of nothing."""

    zeros: float = 0.06
    empty: float = 0.06


def new_unet(structure: Structure) -> UNet2DConditionModel:
    """The UNet with the library's initial weights, and plain attention: torch's fused one takes twice a step's time on a CPU."""
    unet = UNet2DConditionModel(**unet_config(structure))
    unet.set_attn_processor(AttnProcessor())
    return unet


def conditions(
    text: TextPair,
    captions: Sequence[str],
    dropping: Dropping = Dropping(0, 0),
    random: Random | None = None,
    needed: Sequence[bool] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(context, pooled) of the captions, some dropped; none of those that are `needed`."""
    draws = [random.random() if random and not (needed and needed[i]) else 1.0 for i in range(len(captions))]
    told = ["" if dropping.zeros <= x < dropping.zeros + dropping.empty else text_ for x, text_ in zip(draws, captions)]
    with torch.no_grad():
        context, pooled = text(told)
    kept = torch.tensor([float(x >= dropping.zeros) for x in draws], device=context.device)
    return context * kept[:, None, None], pooled * kept[:, None]


class BaseLearner(Learner):
    """Trains the UNet; `text` is frozen. `gamma` as in `v_loss`."""

    def __init__(self, unet: UNet2DConditionModel, text: TextPair, side: int, seed: int, gamma: float = 0.0) -> None:
        self.module, self.text, self.side = unet, text, side
        self._random, self._gamma = Random(seed), gamma
        self._called: Any = unet

    def compile(self) -> None:
        """Train a compiled UNet; its weights stay those of `module`."""
        self._called = torch.compile(self.module)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        latents = batch["latents"]
        context, pooled = conditions(self.text, batch["captions"], Dropping(), self._random)
        timesteps = draw_timesteps(len(latents)).to(latents.device)
        with mixed(latents.device):
            predict = predictor(self._called, context, pooled, self.side)
            weights = subject_weights(batch["covered"])
            errors = v_loss(predict, latents, timesteps, torch.randn_like(latents), self._gamma, weights)
        return errors.mean(), {}

    def probe(self, where: Where) -> dict[str, float]:
        show(self.module, self.text, self.side, where)
        return preferred(self.module, self.text, self.side)


@torch.no_grad()
def preferred(unet: Any, text: TextPair, side: int, scenes: int = 48, seed: int = 5_000_000) -> dict[str, float]:
    """For each attribute, and the ground, how often the true caption explains the picture better than one with it changed.

    Pictures of one sprite that training may show; chance is 0.5. The same noise for both captions.
    """
    random, device = Random(seed), next(unet.parameters()).device
    recipe = LARGE if side < 32 else SINGLE
    drawn = [draw_scene(replace(recipe, happenings=0.0), random.getrandbits(62)) for _ in range(scenes)]
    latents = pool_latents(draw(drawn, side * 8).pictures).to(device)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(device)

    def errors(captions: list[str]) -> torch.Tensor:
        context, pooled = conditions(text, captions)
        with mixed(device):
            predict = predictor(unet, context, pooled, side)
            told = [v_loss(predict, latents, torch.full((scenes,), t, device=device), noise) for t in _PROBED]
        return torch.stack(told)

    right = errors([full_caption(scene) for scene in drawn])
    found = {}
    for name in (*ATTRIBUTES, "background"):
        wrong = errors([full_caption(_changed(scene, name, random)) for scene in drawn])
        found[name] = (right < wrong).float().mean().item()
    return found


def _changed(scene: Scene, name: str, random: Random) -> Scene:
    if name == "background":
        return replace(scene, background=random.choice([word for word in BACKGROUNDS if word != scene.background]))
    first = scene.subjects[0]
    return replace(scene, subjects=(replace(first, identity=first.identity.near_miss(name, random)),))


@torch.no_grad()
def show(unet: Any, text: TextPair, side: int, where: Where, captions: Sequence[str] = SHOWN) -> None:
    """Write a sheet of samples, in latent cells, to <out>/sheets."""
    device = next(unet.parameters()).device
    noise = torch.randn(len(captions), 4, side, side, generator=torch.Generator().manual_seed(1)).to(device)
    told, nothing = (predictor(unet, *conditions(text, words), side) for words in (captions, [""] * len(captions)))
    with mixed(device):
        pictures = preview(sample(told, nothing, noise))
    sheet(pictures, 4).save(where.next_sheet("base"))


def sheet(pictures: torch.Tensor, columns: int, height: int = 128) -> Image.Image:
    """Pictures (n, 3, h, w) in rows."""
    images = [to_image(picture).resize((height, height), Image.Resampling.NEAREST) for picture in pictures]
    rows = -(-len(images) // columns)
    whole = Image.new("RGB", (columns * (height + 2), rows * (height + 2)), "white")
    for place, image in enumerate(images):
        whole.paste(image, (place % columns * (height + 2), place // columns * (height + 2)))
    return whole

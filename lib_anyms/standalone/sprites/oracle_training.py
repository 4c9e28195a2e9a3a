"""Training the oracle: on renderings of every identity there is, drawn well and badly, so that it reads a model's pictures too.

It is the judge and takes no part in what is judged, so it may know held-out identities and unseen shapes and colours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import torch
import torch.nn.functional as F

from lib_anyms.standalone.sprites.identity import ALL_COLOURS, ALL_SHAPES, PATTERNS, Identity
from lib_anyms.standalone.sprites.oracle import Oracle, measure
from lib_anyms.standalone.sprites.oracle_net import CELL, GROUNDS, MASK_CELL, SIDE, Finder, Seen
from lib_anyms.standalone.sprites.precision import mixed
from lib_anyms.standalone.sprites.scene import Recipe, Scene, draw_scene, reference_scene
from lib_anyms.standalone.sprites.training import Batch, Learner, Where
from lib_anyms.standalone.sprites.world import draw

_NOBODY = -100  # left out of a loss
_CORE = 0.3  # the middle of a box, in half-sides, whose cells tell its edges


def any_identity(random: Random) -> Identity:
    """Any identity of the world."""
    while True:
        colours = random.choice(ALL_COLOURS), random.choice(ALL_COLOURS)
        drawn = Identity(random.choice(ALL_SHAPES), *colours, random.choice(PATTERNS))
        if drawn.possible:
            return drawn


ANY_SCENE = Recipe(any_identity, counts=(1, 2, 3, 4, 5, 6, 7, 8, 12), weights=(4, 4, 4, 4, 2, 2, 2, 2, 2), overlap=0.3)


@dataclass(frozen=True)
class Judged:
    """Pictures (n, 3, 256, 256), worn, and what there is to see of them.

    owners (n, 64, 64): shares of cells that belong to sprites. grounds (n,). middles (n, 32, 32): the sprite in whose middle a
    cell lies, -1 for none. edges (n, 4, 32, 32).
    """

    def __call__(self, seed: int, count: int) -> Batch:
        random = Random(seed)
        scenes = [self._scene(random) for _ in range(count)]
        drawn = draw(scenes, SIDE)
        pictures = torch.stack([worn(picture, random) for picture in drawn.pictures])
        located = [locate(scene) for scene in scenes]
        return {
            "pictures": pictures,
            "owners": F.avg_pool2d((drawn.owners > 0).float()[:, None], MASK_CELL)[:, 0],
            "grounds": torch.tensor([GROUNDS.index(scene.background) for scene in scenes]),
            "middles": torch.stack([middle for middle, _ in located]),
            "edges": torch.stack([edges for _, edges in located]),
        }

    @staticmethod
    def _scene(random: Random) -> Scene:
        if random.random() < 0.1:
            return reference_scene(any_identity(random), random.getrandbits(62))
        return draw_scene(ANY_SCENE, random.getrandbits(62))


def worn(picture: torch.Tensor, random: Random) -> torch.Tensor:
    """The picture as a small model may give it: blurred, coarsened, noisy, a little off in colour; often as it is."""
    if random.random() < 0.3:
        return picture
    wearing = picture[None]
    if random.random() < 0.6:
        smaller = random.choice((64, 96, 128, 192))
        wearing = F.interpolate(F.interpolate(wearing, (smaller, smaller), mode="area"), picture.shape[-2:], mode="bicubic")
    elif random.random() < 0.5:
        wearing = F.avg_pool2d(F.pad(wearing, (2, 2, 2, 2), mode="replicate"), 5, 1)
    gains = torch.tensor([random.uniform(0.92, 1.08) for _ in range(3)])[None, :, None, None]
    noise = torch.randn(wearing.shape, generator=torch.Generator().manual_seed(random.getrandbits(62)))
    coarse = F.interpolate(noise[..., ::8, ::8], picture.shape[-2:], mode="bilinear")
    wearing = wearing * gains + random.uniform(0, 0.05) * noise + random.uniform(0, 0.06) * coarse
    return wearing[0].clamp(0, 1)


def locate(scene: Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """middles (32, 32), edges (4, 32, 32): for the cells in the middle of each box, the sprite's number and its edges."""
    cells = SIDE // CELL
    axis = (torch.arange(cells) + 0.5) / cells
    middles, edges = torch.full((cells, cells), -1), torch.zeros(4, cells, cells)
    for number, subject in enumerate(scene.subjects):
        box = subject.box
        near = [
            (axis - (a + b) / 2).abs() <= max(_CORE * (b - a) / 2, 0.51 / cells) for a, b in ((box.x0, box.x1), (box.y0, box.y1))
        ]
        here = near[1][:, None] & near[0][None]
        middles[here] = number
        distances = (axis - box.x0)[None], (axis - box.y0)[:, None], (box.x1 - axis)[None], (box.y1 - axis)[:, None]
        for side, distance in enumerate(distances):
            edges[side][here] = distance.expand(cells, cells)[here]
    return middles, edges


class OracleLearner(Learner):
    """Trains the net."""

    def __init__(self) -> None:
        self.net = Finder()
        self.module = self.net

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        with mixed(batch["pictures"].device):
            seen = self.net(batch["pictures"])
        found = finding_losses(seen, batch)
        return torch.stack([*found.values()]).sum(), {name: value.item() for name, value in found.items()}

    @torch.no_grad()
    def probe(self, where: Where) -> dict[str, float]:
        """The ceilings: what the oracle says of renderings as they are."""
        random = Random(9_000_000)
        scenes = [draw_scene(replace(ANY_SCENE, overlap=0.0), random.getrandbits(62)) for _ in range(24)]
        return measure(Oracle(self.net), scenes)


def finding_losses(seen: Seen, batch: Batch) -> dict[str, torch.Tensor]:
    """Of what belongs to sprites, of their middles, edges and the ground."""
    middles, owners = batch["middles"], batch["owners"]
    inside = middles >= 0
    off_edges = (seen.edges.float() - batch["edges"]).abs().sum(1)[inside]
    free = F.max_pool2d(owners[:, None], 2)[:, 0] < 0.5
    wanted = batch["grounds"][:, None, None].expand_as(free).clone()
    wanted[~free] = _NOBODY
    weight = torch.where(inside, 4.0, 1.0)
    return {
        "sprite": F.binary_cross_entropy_with_logits(seen.sprite.float(), owners),
        "centre": F.binary_cross_entropy_with_logits(seen.centre.float(), inside.float(), weight),
        "edges": 5 * off_edges.mean(),
        "ground": F.cross_entropy(seen.ground.float(), wanted, ignore_index=_NOBODY),
    }

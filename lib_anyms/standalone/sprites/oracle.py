"""The oracle: what a picture shows, held against the scene it was asked for. Measured itself on real renderings (`measure`).

Every number is a share, 1 is best but for leakage and missing. Identity is a line-up: which of 20 candidates is it, 8 of them
near misses with one attribute changed. A net finds sprites and grounds; who a sprite is, is read without one (reading.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

from lib_anyms.geometry import Box
from lib_anyms.standalone.sprites.identity import ATTRIBUTES, Identity, held_out_identity
from lib_anyms.standalone.sprites.oracle_net import CELL, GROUNDS, MASK_CELL, SIDE, Finder, Seen
from lib_anyms.standalone.sprites.reading import Reading, fit_box, read_sprite
from lib_anyms.standalone.sprites.scene import Placed, Scene
from lib_anyms.standalone.sprites.world import draw

CANDIDATES, NEAR_MISSES = 20, 2  # in a line-up; near misses for each attribute
CHANCE = 1 / CANDIDATES
_SURE, _SAME = 0.35, 0.55  # a middle that counts; two boxes that are of one sprite
_THERE = 0.25  # common share from which a sprite counts as found in its place
_RASTER, _COVERED = 64, 0.6  # cells a side, on which boxes are held against each other; what share may be covered by others
_WELL = 0.08  # share of a box left unexplained up to which a sprite fits without doubt
_LUMP = 12  # cells that are a lump
_LEAST = 0.04  # and share of the picture, where it may be anywhere
_WHOLE = Box(0, 0, 1, 1)


@dataclass(frozen=True)
class Found:
    """A sprite somewhere in a picture."""

    box: Box
    sureness: float


class Oracle:
    """Judges pictures on the CPU."""

    def __init__(self, net: Finder) -> None:
        self.net = net.eval()

    @classmethod
    def from_file(cls, path: Path) -> Oracle:
        """Out of a file that `export` wrote."""
        net = Finder()
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(str(path)).items()})
        return cls(net)

    @torch.no_grad()
    def judge(self, picture: Image.Image | torch.Tensor, scene: Scene, seed: int = 0, anywhere: bool = False) -> dict[str, float]:
        """The picture, (3, h, w) in 0..1 or an image, against the scene; `anywhere`: its one sprite may be at any place.

        miou, ap50: boxes; absent with `anywhere`. missing: sprites not in their place. identity: line-ups. identity_top: those
        of the sprites that cover another and that none covers; absent where there are none. shape, body, second, pattern,
        action: read right. leakage: attributes that are another sprite's; absent for a single sprite. background, count: right
        or not. ground_inside: of the ground cells within the boxes those that show the right ground; absent where there are none.
        """
        pixels = as_pixels(picture)
        seen = self.net(pixels[None])
        found = fitted(lumps(seen), find(seen), pixels)
        asked = [_WHOLE] if anywhere else [subject.box for subject in scene.subjects]
        least = _LEAST if anywhere else _THERE
        placed = [match(box, found) for box in asked]
        # where it is found, or where it was asked for: whichever a sprite fits better
        starts = [[hit.box] if hit and share >= least else [] for hit, share in placed]
        if not anywhere or not starts[0]:
            starts = [[*start, subject.box] for start, subject in zip(starts, scene.subjects)]
        boxes = [_best_fit(pixels, start) for start in starts]
        facts = {
            "missing": fmean(float(share < least) for _, share in placed),
            "count": float(len(found) == len(scene.subjects)),
            **self._grounds(seen, scene, boxes if anywhere else asked),
            **_names([read_sprite(pixels, box) for box in boxes], scene.subjects, seed),
        }
        if not anywhere:
            facts |= {"miou": fmean(share for _, share in placed), "ap50": average_precision(found, asked)}
        return facts

    @staticmethod
    def _grounds(seen: Seen, scene: Scene, boxes: Sequence[Box]) -> dict[str, float]:
        """background: what the free cells say together. ground_inside: the share of free cells inside boxes that say it."""
        free = F.max_pool2d(seen.sprite[None].sigmoid(), CELL // MASK_CELL)[0, 0] < 0.5
        wanted = GROUNDS.index(scene.background)
        votes = F.log_softmax(seen.ground[0], 0)
        overall = votes[:, free].sum(1) if free.any() else votes.sum((1, 2))
        facts = {"background": float(int(overall.argmax()) == wanted)}
        inside = free & _inside(boxes, len(free))
        if inside.any():
            facts["ground_inside"] = (votes[:, inside].argmax(0) == wanted).float().mean().item()
        return facts


def _names(readings: Sequence[Reading], subjects: Sequence[Placed], seed: int) -> dict[str, float]:
    pairs = list(zip(readings, subjects))
    facts = {n: fmean(float(getattr(r.identity, n) == getattr(s.identity, n)) for r, s in pairs) for n in ATTRIBUTES}
    facts["action"] = fmean(float(reading.action == subject.action) for reading, subject in pairs)
    leakage = _leakage([reading.identity for reading in readings], [subject.identity for subject in subjects])
    if leakage is not None:
        facts["leakage"] = leakage
    rows = [line_up(subject.identity, seed * 100 + number) for number, subject in enumerate(subjects)]
    picked = [float(reading.best(row) == 0) for reading, row in zip(readings, rows)]
    facts["identity"] = fmean(picked)
    if top := on_top([subject.box for subject in subjects]):
        facts["identity_top"] = fmean(picked[number] for number in top)
    return facts


def on_top(boxes: Sequence[Box]) -> list[int]:
    """Of boxes, back to front, those that cover another one and that none covers."""
    meets = [[iou(one, other) > 0 for other in boxes] for one in boxes]
    return [n for n, met in enumerate(meets) if any(met[:n]) and not any(met[n + 1 :])]


def as_pixels(picture: Image.Image | torch.Tensor) -> torch.Tensor:
    """(3, 256, 256) in 0..1."""
    if isinstance(picture, Image.Image):
        picture = torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)
    if picture.shape[-2:] != (SIDE, SIDE):
        picture = F.interpolate(picture[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    return picture.float().clamp(0, 1)


def find(seen: Seen) -> list[Found]:
    """The sprites of the first picture, surest first: boxes told by the cells in their middles, those of one sprite as one."""
    sureness = seen.centre[0].sigmoid()
    rows, columns = (sureness > _SURE).nonzero(as_tuple=True)
    order = sureness[rows, columns].argsort(descending=True).tolist()
    cells = len(sureness)
    told = []
    for i in order:
        row, column = int(rows[i]), int(columns[i])
        x, y = (column + 0.5) / cells, (row + 0.5) / cells
        left, top, right, bottom = seen.edges[0, :, row, column].tolist()
        x0, y0, x1, y1 = max(0.0, x - left), max(0.0, y - top), min(1.0, x + right), min(1.0, y + bottom)
        if x1 > x0 and y1 > y0:
            told.append(Found(Box(x0, y0, x1, y1), float(sureness[row, column])))
    groups: list[list[Found]] = []
    for one in told:
        group = next((group for group in groups if iou(group[0].box, one.box) > _SAME), None)
        groups.append([one]) if group is None else group.append(one)
    return [Found(_mean_box(group), group[0].sureness) for group in groups]


def lumps(seen: Seen) -> list[Found]:
    """Boxes around what hangs together as sprites in the first picture: right for one alone, too large where several meet."""
    inside = seen.sprite[0] > 0
    cells = len(inside)
    labels = torch.arange(1, cells * cells + 1, dtype=torch.float32).view(cells, cells) * inside
    while True:
        grown = F.max_pool2d(labels[None], 3, 1, 1)[0] * inside
        if torch.equal(grown, labels):
            break
        labels = grown
    told = []
    for label in labels.unique().tolist():
        rows, columns = (labels == label).nonzero(as_tuple=True)
        if label and len(rows) >= _LUMP:
            x0, y0, x1, y1 = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
            box = Box(x0 / cells, y0 / cells, x1 / cells, y1 / cells)
            sureness = seen.centre[0].sigmoid()[_inside([box], len(seen.centre[0]))]
            told.append(Found(box, float(sureness.max()) if len(sureness) else 0.0))
    return [one for one in told if one.sureness > _SURE]


def fitted(alone: Sequence[Found], others: Sequence[Found], pixels: torch.Tensor) -> list[Found]:
    """Each box moved to where a sprite fits best, surest first; without those of which the ones that fit better leave little."""
    fits: list[tuple[float, Found]] = []
    explained = torch.zeros(_RASTER, _RASTER, dtype=torch.bool)
    for place, one in enumerate((*alone, *others)):
        if not _covered(one.box, explained):
            box, left = fit_box(pixels, one.box, close=place < len(alone))
            fits.append((left, Found(box, one.sureness)))
            if left < _WELL:
                explained |= _inside([box], _RASTER)
    kept: list[Found] = []
    taken = torch.zeros_like(explained)
    for _, one in sorted(fits, key=lambda fit: fit[0]):
        if not _covered(one.box, taken) and all(iou(one.box, other.box) <= _SAME for other in kept):
            taken |= _inside([one.box], _RASTER)
            kept.append(one)
    return sorted(kept, key=lambda one: -one.sureness)


def _covered(box: Box, taken: torch.Tensor) -> bool:
    cells = _inside([box], _RASTER)
    return bool((cells & taken).sum() > _COVERED * cells.sum())


def _best_fit(pixels: torch.Tensor, starts: Sequence[Box]) -> Box:
    return min((fit_box(pixels, box, close=True) for box in starts), key=lambda fit: fit[1])[0]


def match(box: Box, found: Sequence[Found]) -> tuple[Found | None, float]:
    """(the sprite found nearest to the box, their intersection over union)."""
    best = max(found, key=lambda one: iou(box, one.box), default=None)
    return best, iou(box, best.box) if best else 0.0


def iou(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a.x1 - a.x0) * (a.y1 - a.y0) + (b.x1 - b.x0) * (b.y1 - b.y0) - common)


def average_precision(found: Sequence[Found], boxes: Sequence[Box], share: float = 0.5) -> float:
    """AP of one picture's boxes, each of which may be hit once with at least that share."""
    free, hits, area = list(boxes), 0, 0.0
    for rank, one in enumerate(found, 1):
        best = max(free, key=lambda box: iou(box, one.box), default=None)
        if best is not None and iou(best, one.box) >= share:
            free.remove(best)
            hits += 1
            area += hits / rank
    return area / len(boxes)


def line_up(identity: Identity, seed: int) -> list[Identity]:
    """The identity and 19 others: near misses in each attribute, and identities of the evaluation."""
    random = Random(seed)
    row = [identity]
    for attribute in ATTRIBUTES:
        while sum(_differs_only_in(attribute, identity, other) for other in row) < NEAR_MISSES:
            near = identity.near_miss(attribute, random)
            row += [near] if near not in row else []
    while len(row) < CANDIDATES:
        other = held_out_identity(random)
        row += [other] if other not in row else []
    return row


def measure(
    oracle: Oracle, scenes: Sequence[Scene], through: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> dict[str, float]:
    """What the oracle says of real renderings of the scenes: the ceiling of every score. `through`: e.g. the VAE and back."""
    told: dict[str, list[float]] = {}
    for seed, scene in enumerate(scenes):
        picture = draw([scene], SIDE).pictures
        picture = (through(picture) if through else picture)[0].clamp(0, 1)
        for name, value in oracle.judge(picture, scene, seed).items():
            told.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in told.items()}


def _differs_only_in(attribute: str, one: Identity, other: Identity) -> bool:
    return [name for name in ATTRIBUTES if getattr(one, name) != getattr(other, name)] == [attribute]


def _leakage(shown: Sequence[Identity], identities: Sequence[Identity]) -> float | None:
    """Of the attributes in which a sprite differs from another of the scene, the share that shows that other's."""
    leaks, asked = 0, 0
    for seen, mine in zip(shown, identities):
        for name in ATTRIBUTES:
            others = {getattr(other, name) for other in identities} - {getattr(mine, name)}
            asked += bool(others)
            leaks += getattr(seen, name) in others
    return leaks / asked if asked else None


def _inside(boxes: Sequence[Box], cells: int) -> torch.Tensor:
    """(cells, cells): whose middle lies in a box."""
    axis = (torch.arange(cells) + 0.5) / cells
    inside = torch.zeros(cells, cells, dtype=torch.bool)
    for box in boxes:
        inside |= ((axis > box.y0) & (axis < box.y1))[:, None] & ((axis > box.x0) & (axis < box.x1))[None]
    return inside


def _mean_box(group: Sequence[Found]) -> Box:
    total = sum(one.sureness for one in group)

    def mean(edge: str) -> float:
        return sum(getattr(one.box, edge) * one.sureness for one in group) / total

    return Box(mean("x0"), mean("y0"), mean("x1"), mean("y1"))

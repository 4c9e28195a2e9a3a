"""Training data, drawn as it is needed: makers of batches from seeds, and the processes they run in.

A batch is decided by the seed and its number alone, so a training that was interrupted goes on with new pictures.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.resource_tracker import ensure_running
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lib_anyms.standalone.sprites.captions import FULL, TELLINGS, UNSAID, caption, words_of
from lib_anyms.standalone.sprites.identity import ATTRIBUTES, Identity, painted_identity, trained_identity
from lib_anyms.standalone.sprites.latents import pool_latents
from lib_anyms.standalone.sprites.scene import BACKGROUNDS, REFERENCE_GROUNDS, Placed, Recipe, Scene, draw_scene, reference_scene
from lib_anyms.standalone.sprites.training import Batch
from lib_anyms.standalone.sprites.world import draw

Maker = Callable[[int, int], Batch]  # (seed, how many) -> a batch
_ENDINGS = (signal.SIGINT, signal.SIGTERM)
_BLEND = (0.3, 1.0)  # how much of the mistaken sprite there is, the rest is the right one
_SHAPE_ONLY = 0.65  # share of the mistaken ones that wear the right colours and pattern
_OTHER_GROUND = 0.3  # share of those whose caption tells the ground that lie on another one too, such as a reference's
REFERENCE_SIDE = 64  # pixels, as the image encoder takes them

# One large sprite; then also smaller ones; then several. What the adapters are shown is one sprite of any size.
LARGE = Recipe(painted_identity, counts=(1,), long_sides=(0.5, 0.95))
ANY_SIZE = Recipe(painted_identity, counts=(1,), long_sides=(0.18, 0.9))
SMALLER = Recipe(painted_identity, counts=(1,), long_sides=(0.2, 0.7))
SINGLE = Recipe(painted_identity, counts=(1,))
FEW = Recipe(painted_identity, counts=(2, 3), weights=(1, 1))
APART = Recipe(painted_identity, counts=(2, 3, 4), weights=(1, 2, 1), overlap=0.0, happenings=0.1)
SEVERAL = Recipe(painted_identity)
CROWDED = Recipe(painted_identity, overlap=0.5)
# The same of every word the world has: for the text encoders and the VAE.
WHOLE_WORLD = Recipe(trained_identity)
WHOLE_WORLD_CROWDED = Recipe(trained_identity, overlap=0.5)

# The adapters learn from captions that leave open what the reference shows, often even that anything is there: then the image
# tokens alone say that a sprite is to be drawn, which is what keeps it in its box later.
ADAPTER_TELLINGS = (
    (FULL, 0.12),
    (frozenset({"shape", "body"}), 0.08),
    (frozenset({"shape"}), 0.25),
    (frozenset[str](), 0.20),
    (UNSAID, 0.35),
)
_TOLD = ((FULL, 1.0),)  # of a mistaken picture without a reference: all


@dataclass(frozen=True)
class Scenes:
    """Latents (n, 4, side, side) of scenes, and captions. `cell`: pixels a latent cell is drawn with, 8 as in the pictures.

    covered: (n, 1, side, side), 1 where a sprite touches the cell.
    """

    recipes: tuple[Recipe, ...]
    side: int
    cell: int = 8

    def __call__(self, seed: int, count: int) -> Batch:
        random = Random(seed)
        scenes = [draw_scene(self.recipes[i % len(self.recipes)], random.getrandbits(62)) for i in range(count)]
        return {**_painted(scenes, self.side, self.cell), "captions": [caption(s, random, TELLINGS) for s in scenes]}


@dataclass(frozen=True)
class Referenced:
    """As Scenes, of one sprite each, with a reference picture of it (n, 3, 64, 64): another pose, another ground.

    `plain`: the share of a batch that has no reference, for training the UNet along: its last ones, by the recipes `others`.
    `mistaken`: the share of a batch whose noise is laid on other sprites in the places of its own, and now and then on another
    ground, as if they had been taken for those so far: what they are must then be heard from caption and reference. shown: the
    latents the noise is laid on.
    """

    side: int
    cell: int = 8
    plain: float = 0.0
    mistaken: float = 0.0
    recipe: Recipe = ANY_SIZE
    others: tuple[Recipe, ...] = (SEVERAL,)

    def __call__(self, seed: int, count: int) -> Batch:
        random = Random(seed)
        plain = round(count * self.plain)
        scenes = [draw_scene(self.recipe, random.getrandbits(62)) for _ in range(count - plain)]
        references = reference_pictures([scene.subjects[0].identity for scene in scenes], random)
        scenes += [draw_scene(self.others[i % len(self.others)], random.getrandbits(62)) for i in range(plain)]
        mistaken = torch.tensor([random.random() < self.mistaken for _ in scenes])
        tellings = [ADAPTER_TELLINGS] * len(references) + [_TOLD if one else TELLINGS for one in mistaken[len(references) :]]
        captions = [caption(scene, random, told) for scene, told in zip(scenes, tellings)]
        painted = _painted(scenes, self.side, self.cell)
        shown = painted["latents"].clone()
        # without a reference only shapes are mistaken: the caption tells which colours go with which shape
        shape_only = [place >= len(references) or random.random() < _SHAPE_ONLY for place in range(count)]
        grounds = [random.random() < _OTHER_GROUND and s.background in words_of(told) for s, told in zip(scenes, captions)]
        taken = zip(scenes, shape_only, grounds, mistaken)
        wrong = [mistake(scene, shape, ground, random) for scene, shape, ground, one in taken if one]
        if wrong:
            share = torch.tensor([random.uniform(*_BLEND) for _ in wrong]).view(-1, 1, 1, 1)
            shown[mistaken] = shown[mistaken].lerp(_painted(wrong, self.side, self.cell)["latents"], share)
        return {**painted, "captions": captions, "references": references, "shown": shown, "mistaken": mistaken}


@dataclass(frozen=True)
class Pairs:
    """Two reference pictures each of n / 2 identities, of which every second is a near miss of the one before it.

    pictures: (n, 3, 64, 64), second half as the first; masks: (n, 32, 32), shares of the sprite; numbers: (n, 4), of attributes.
    """

    def __call__(self, seed: int, count: int) -> Batch:
        random = Random(seed)
        identities: list[Identity] = []
        while len(identities) < count // 2:
            known = trained_identity(random)
            near = known.near_miss(random.choice(ATTRIBUTES), random)
            identities += [known, near] if near.trained else []
        identities = identities[: count // 2]
        drawn = draw([reference_scene(identity, random.getrandbits(62)) for identity in 2 * identities], 2 * REFERENCE_SIDE)
        return {
            "pictures": F.avg_pool2d(drawn.pictures, 2),
            "masks": F.avg_pool2d((drawn.owners > 0).float()[:, None], 4)[:, 0],
            "numbers": torch.tensor([identity.numbers for identity in 2 * identities]),
        }


@dataclass(frozen=True)
class Crops:
    """Cut-outs of pictures for the VAE's decoder: (n, 3, side, side), on the grid of the latents."""

    side: int
    picture: int = 256

    def __call__(self, seed: int, count: int) -> Batch:
        random = Random(seed)
        pictures = draw([draw_scene(WHOLE_WORLD_CROWDED, random.getrandbits(62)) for _ in range(count)], self.picture).pictures
        cells = (self.picture - self.side) // 8
        top, left = 8 * random.randint(0, cells), 8 * random.randint(0, cells)
        return {"pictures": pictures[:, :, top : top + self.side, left : left + self.side].contiguous()}


@dataclass(frozen=True)
class Texts:
    """Scenes, and the same with one sprite a near miss of itself: what the text encoders tell apart. No pictures."""

    recipe: Recipe = WHOLE_WORLD

    def __call__(self, seed: int, count: int) -> Batch:
        random = Random(seed)
        captions = []
        for _ in range(count // 2):
            scene, telling = draw_scene(self.recipe, random.getrandbits(62)), random.getrandbits(31)
            captions += [caption(scene, Random(telling), TELLINGS), caption(_altered(scene, random), Random(telling), TELLINGS)]
        return {"captions": captions}


@dataclass(frozen=True)
class Turns:
    """Makers that take turns, batch by batch: (maker, how much larger its batches are). Processes are at the same turn."""

    makers: tuple[tuple[Maker, int], ...]

    def at(self, number: int, seed: int, count: int) -> Batch:
        """Batch `number`."""
        maker, larger = self.makers[number % len(self.makers)]
        return maker(seed, count * larger)

    def __call__(self, seed: int, count: int) -> Batch:
        return self.at(0, seed, count)


def mistake(scene: Scene, shape_only: bool, other_ground: bool, random: Random) -> Scene:
    """The scene with other sprites in the same places: of other shapes, unless `shape_only` often in other colours too.

    `other_ground`: on another ground as well, be it one that only references have.
    """
    if other_ground:
        others = [ground for ground in (*BACKGROUNDS, *REFERENCE_GROUNDS) if ground != scene.background]
        scene = replace(scene, background=random.choice(others))
    return replace(scene, subjects=tuple(_mistaken(subject, shape_only, random) for subject in scene.subjects))


def _mistaken(subject: Placed, shape_only: bool, random: Random) -> Placed:
    while True:
        identity = subject.identity.near_miss("shape", random)
        for attribute in ATTRIBUTES[1:]:
            if not shape_only and random.random() < 0.5:
                identity = identity.near_miss(attribute, random)
        if identity.trained:
            return replace(subject, identity=identity, angle=random.uniform(-30, 30), flipped=random.random() < 0.5)


def _painted(scenes: list[Scene], side: int, cell: int) -> Batch:
    drawn = draw(scenes, side * cell)
    covered = F.max_pool2d((drawn.owners > 0).float()[:, None], cell)
    return {"latents": pool_latents(drawn.pictures, cell), "covered": covered}


def reference_pictures(identities: list[Identity], random: Random) -> torch.Tensor:
    """A reference picture each, (n, 3, 64, 64), reduced from a larger one as a user's is."""
    scenes = [reference_scene(identity, random.getrandbits(62)) for identity in identities]
    return F.avg_pool2d(draw(scenes, 2 * REFERENCE_SIDE).pictures, 2)


def _altered(scene: Scene, random: Random) -> Scene:
    """The scene with one attribute of one sprite changed, or of two sprites exchanged."""
    subjects = list(scene.subjects)
    place, attribute = random.randrange(len(subjects)), random.choice(ATTRIBUTES)
    other = random.randrange(len(subjects))
    mine, its = subjects[place].identity, subjects[other].identity
    swapped = replace(mine, **{attribute: getattr(its, attribute)}), replace(its, **{attribute: getattr(mine, attribute)})
    if mine != its and swapped[0] != mine and random.random() < 0.5 and swapped[0].possible and swapped[1].possible:
        subjects[place], subjects[other] = (replace(subjects[i], identity=s) for i, s in zip((place, other), swapped))
    else:
        subjects[place] = replace(subjects[place], identity=mine.near_miss(attribute, random))
    return replace(scene, subjects=tuple(subjects))


class _Stream(IterableDataset[Batch]):
    """Batch after batch from number `start` on, shared out between the processes."""

    def __init__(self, maker: Maker, count: int, seed: int, start: int) -> None:
        self._maker, self._count, self._seed, self._start = maker, count, seed, start

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, step = (worker.id, worker.num_workers) if worker else (0, 1)
        while True:
            place = self._start + number
            seed = Random(f"{self._seed} {place}").getrandbits(62)
            if isinstance(self._maker, Turns):
                yield self._maker.at(place, seed, self._count)
            else:
                yield self._maker(seed, self._count)
            number += step


def batches(maker: Maker, count: int, seed: int, start: int = 0, workers: int = 1) -> Iterator[Batch]:
    """Endless batches of `count`; made in `workers` other processes, or with 0 in this one, when they are asked for."""
    stream = _Stream(maker, count, seed, start)
    if not workers:
        return iter(stream)
    options: dict[str, Any] = {"num_workers": workers, "multiprocessing_context": "spawn", "prefetch_factor": 4}
    options |= {"collate_fn": _as_arrays, "worker_init_fn": _be_a_worker}
    with _undisturbed():
        arrays = iter(DataLoader(stream, batch_size=None, **options))
    return map(_as_tensors, arrays)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes started meanwhile never hear a request to end, not even while they import torch; this one hears it afterwards.

    Such a request is sent to all processes, and it is for the training: it saves and ends the others.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows sends none
        yield
        return
    ensure_running()  # multiprocessing's own helper: starting it would let the requests through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_arrays(batch: Batch) -> Batch:
    """Arrays go through a pipe; tensors would go through shared memory, of which containers have little."""
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def _as_tensors(batch: Batch) -> Batch:
    return {name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in batch.items()}


def _be_a_worker(_number: int) -> None:
    torch.set_num_threads(1)
    for ending in _ENDINGS:  # Ctrl-C reaches them on Windows too
        signal.signal(ending, signal.SIG_IGN)

"""Score an image by the exact oracle and by an image encoder; statistics over scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.lab.evaluation.pictures import Files
from lib_anyms.lab.evaluation.scenes import Task
from lib_anyms.lab.oracle import Detection, Reading, find_figures, read_background, read_figure
from lib_anyms.lab.world.draw import rgb
from lib_anyms.lab.world.identity import ATTRIBUTES, Identity, held_out_identity
from lib_anyms.lab.world.latents import pool
from lib_anyms.lab.world.scene import common_area
from lib_anyms.layout.geometry import Box

LINE_UP, NEAR_MISSES = 20, 2  # candidates of a line-up; for each attribute, those that differ in it alone
NO_CLIP = "the small world's text and image encoders share no space; name a CLIP with --clip DIR"
_SIDE = 256  # pixels of the image for the oracle
# A figure is not missing from this IoU with its box on, or, if it may be anywhere, from this share of the image on.
_THERE, _THERE_ANYWHERE = 0.25, 0.04
_SAME_GROUND = 0.13  # root mean square distance of two colours
_MIN_CROP = 8  # pixels of a crop's side
_WHOLE = Box(0, 0, 1, 1)


@dataclass(frozen=True)
class Metric:
    """A share of 1 or a cosine. best: of a perfect image. chance: of a blind choice. judged: by the oracle."""

    name: str
    help: str
    best: float = 1.0
    chance: float | None = None
    judged: bool = True

    def share(self, value: float, real: float) -> float | None:
        """`value` as a share of real renderings'; where 0 is best, both are subtracted from 1 first."""
        ours, ceiling = (value, real) if self.best else (1 - value, 1 - real)
        return ours / ceiling if ceiling > 0 else None


_TABLE = (
    Metric("identity", "picked out of a line-up of 20, of which 8 differ in one attribute", chance=1 / LINE_UP),
    Metric("identity_top", "the same, for subjects that cover another and are not covered", chance=1 / LINE_UP),
    Metric("all_right", "every subject has its four attributes in its box, and none is missing"),
    Metric("miou", "IoU of each subject's box and the best detection"),
    Metric("ap50", "average precision of the detected boxes, a hit from an IoU of 0.5"),
    Metric("leakage", "attributes that belong to another subject of the scene", best=0.0),
    Metric("missing", "subjects without a figure in their box", best=0.0),
    Metric("ground_inside", "share of cells with the scene's background, inside the boxes but outside the figures"),
    Metric("background", "the background is the prompt's"),
    Metric("count", "as many figures as the prompt names"),
    Metric("shape", "read right, of all shapes"),
    Metric("body", "main colour read right, of all colours"),
    Metric("second", "second colour read right, of all colours"),
    Metric("pattern", "read right, of all patterns"),
    Metric("clip_i", "cosine of the image encoder's embeddings of box and reference image", judged=False),
    Metric("clip_t", "cosine of CLIP's embeddings of image and prompt", judged=False),
)
METRICS = {metric.name: metric for metric in _TABLE}


class OwnEncoder:
    """The image encoder of the evaluated adapter. It reads no text."""

    def __init__(self, path: Path) -> None:
        self._encoder = Encoder(read_encoder(path), torch.device("cpu"), torch.float32)

    def embed_images(self, images: list[Image.Image]) -> torch.Tensor:
        """(images, E)."""
        return self._encoder.encode(images, "base", "pad")

    def embed_text(self, words: str) -> torch.Tensor | None:
        """None; a CLIP gives (1, E)."""
        return None


class Clip:
    """A whole CLIP in transformers' format. `config` is the model's."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import CLIPModel, CLIPProcessor

        self._model: Any = CLIPModel.from_pretrained(str(folder), local_files_only=True).eval().to(device)
        self._processor: Any = CLIPProcessor.from_pretrained(str(folder), local_files_only=True)
        self.config: Any = self._model.config

    @torch.no_grad()
    def embed_images(self, images: list[Image.Image]) -> torch.Tensor:
        pixels = self._processor(images=images, return_tensors="pt").to(self._model.device)
        return _embedding(self._model.get_image_features(**pixels)).cpu()

    @torch.no_grad()
    def embed_text(self, words: str) -> torch.Tensor | None:
        tokens = self._processor(text=[words], return_tensors="pt", truncation=True).to(self._model.device)
        return _embedding(self._model.get_text_features(**tokens)).cpu()


def _embedding(output: Any) -> torch.Tensor:
    """transformers 5 wraps the tensor."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


class Judge:
    """Scores images. `reasons`: why a metric has no value for these files, by metric."""

    def __init__(self, files: Files) -> None:
        self.reasons = reasons_of(files)
        self._embedder: OwnEncoder | Clip = Clip(files.clip) if files.clip else OwnEncoder(files.encoder)

    def score(self, image: Image.Image, task: Task) -> dict[str, float]:
        """By metric."""
        values = {} if "identity" in self.reasons else judge(image, task)
        values |= self._similarity(image, task)
        return {name: round(values[name], 5) for name in METRICS if name in values}

    def _similarity(self, image: Image.Image, task: Task) -> dict[str, float]:
        places = [_WHOLE] if task.anywhere else [figure.box for figure in task.scene.figures]
        crops = [crop(image, box) for box in places]
        references = [reference for subject in task.references() for reference in subject]
        ours, theirs = self._embedder.embed_images([*crops, *references]).chunk(2)
        values = {"clip_i": fmean(F.cosine_similarity(ours, theirs).tolist())}
        text = self._embedder.embed_text(task.prompt)
        if text is not None:
            values["clip_t"] = F.cosine_similarity(self._embedder.embed_images([image]), text).item()
        return values


def reasons_of(files: Files) -> dict[str, str]:
    """Why a metric has no value in any image of these files."""
    reasons = {} if files.clip else {"clip_t": NO_CLIP}
    if files.unjudged:
        reasons |= {metric.name: files.unjudged for metric in METRICS.values() if metric.judged}
    return reasons


def crop(image: Image.Image, box: Box) -> Image.Image:
    """The part of the image in the box, at least a few pixels a side."""
    width, height = image.size
    left, top = round(box.x0 * width), round(box.y0 * height)
    right, bottom = max(left + _MIN_CROP, round(box.x1 * width)), max(top + _MIN_CROP, round(box.y1 * height))
    return image.crop((left, top, right, bottom))


def judge(image: Image.Image, task: Task) -> dict[str, float]:
    """The oracle's metrics.

    Absent: miou and ap50 where a figure may be anywhere, leakage of a single figure, identity_top where none covers
    another, ground_inside where the boxes hold no background.
    """
    cells, figures = cells_of(image), task.scene.figures
    boxes = [figure.box for figure in figures]
    background = read_background(cells, [] if task.anywhere else boxes)
    detections = find_figures(cells, background)
    values = {"background": float(background == task.scene.background)}
    values["count"] = float(len(detections) == len(figures))
    if task.anywhere:
        largest = max(detections, key=lambda figure: figure.box.area, default=None)
        is_there = [largest is not None and largest.box.area >= _THERE_ANYWHERE]
        boxes = [largest.box if largest else _WHOLE]
    else:
        best = [best_iou(box, detections) for box in boxes]
        is_there = [share >= _THERE for share in best]
        values |= {"miou": fmean(best), "ap50": average_precision(detections, boxes)}
    readings = [read_figure(cells, background, box, boxes[number + 1 :]) for number, box in enumerate(boxes)]
    return {**values, **_ground_inside(cells, task, boxes, detections), **_names(readings, is_there, task)}


class Placed(Protocol):
    """A detection, of the oracle or of a detector."""

    @property
    def box(self) -> Box: ...


def best_iou(box: Box, detections: Sequence[Placed]) -> float:
    """The largest IoU of the box and a detection; 0 without one."""
    return max((iou(box, figure.box) for figure in detections), default=0.0)


def cells_of(image: Image.Image) -> torch.Tensor:
    """(3, 32, 32): the mean colours of the latent cells, in 0..1."""
    sized = image.convert("RGB")
    if sized.size != (_SIDE, _SIDE):
        sized = sized.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return pool(torch.from_numpy(np.asarray(sized, dtype=np.float32) / 255).permute(2, 0, 1)[None])[0]


def _names(readings: Sequence[Reading], is_there: Sequence[bool], task: Task) -> dict[str, float]:
    """Compare the oracle's readings of each figure's box with the scene's identities."""
    truth = [figure.identity for figure in task.scene.figures]
    read = [reading.identity for reading in readings]
    values = {"missing": 1 - fmean(is_there)}
    for name in ATTRIBUTES:
        values[name] = fmean(getattr(one, name, None) == getattr(true, name) for one, true in zip(read, truth))
    values["all_right"] = float(read == truth and all(is_there))
    leakage = _leakage(read, truth)
    if leakage is not None:
        values["leakage"] = leakage
    picked = []
    for number, (reading, identity) in enumerate(zip(readings, truth)):
        picked.append(float(reading.best(line_up(identity, task.number * 100 + number)) == 0))
    values["identity"] = fmean(picked)
    if top := on_top([figure.box for figure in task.scene.figures]):
        values["identity_top"] = fmean(picked[number] for number in top)
    return values


def _leakage(read: Sequence[Identity | None], truth: Sequence[Identity]) -> float | None:
    """Of the attributes in which a figure differs from others of the scene, the share that shows one of theirs."""
    leaks, count = 0, 0
    for name in ATTRIBUTES:
        words = {getattr(identity, name) for identity in truth}
        for one, true in zip(read, truth):
            others = words - {getattr(true, name)}
            count += bool(others)
            leaks += getattr(one, name, None) in others
    return leaks / count if count else None


def _ground_inside(
    cells: torch.Tensor, task: Task, boxes: Sequence[Box], detections: Sequence[Detection]
) -> dict[str, float]:
    inside = torch.zeros(cells.shape[1:], dtype=torch.bool)
    middles = (torch.arange(cells.shape[-1]) + 0.5) / cells.shape[-1]
    for box in boxes:
        rows, columns = (middles > box.y0) & (middles < box.y1), (middles > box.x0) & (middles < box.x1)
        inside |= rows[:, None] & columns
    for figure in detections:  # and a cell around it: that one may be part figure, part background
        inside &= F.max_pool2d(figure.cells.float()[None], 3, 1, 1)[0] == 0
    if not inside.any():
        return {}
    off = cells - torch.from_numpy(rgb(task.scene.background))[:, None, None]
    same = off.square().mean(0).sqrt() < _SAME_GROUND
    return {"ground_inside": same[inside].float().mean().item()}


def line_up(identity: Identity, seed: int) -> list[Identity]:
    """The identity and 19 others: two near misses in each attribute, then held-out identities."""
    random = Random(seed)
    candidates = [identity]
    for attribute in ATTRIBUTES:
        near: list[Identity] = []
        while len(near) < NEAR_MISSES:
            changed = identity.near_miss(attribute, random)
            near += [changed] if changed not in near else []
        candidates += near
    while len(candidates) < LINE_UP:
        other = held_out_identity(random)
        candidates += [other] if other not in candidates else []
    return candidates


def on_top(boxes: Sequence[Box]) -> list[int]:
    """The numbers of the boxes (back to front) that cover another one and that none covers."""
    top = []
    for number, box in enumerate(boxes):
        below, above = boxes[:number], boxes[number + 1 :]
        if any(common_area(box, other) for other in below) and not any(common_area(box, other) for other in above):
            top.append(number)
    return top


def iou(one: Box, other: Box) -> float:
    """Intersection over union."""
    common = common_area(one, other)
    return common / (one.area + other.area - common)


def average_precision(detections: Sequence[Placed], boxes: Sequence[Box], least: float = 0.5) -> float:
    """AP of one image's detections, best first. A box counts as hit once, from an IoU of `least` on."""
    free, hits, total = list(boxes), 0, 0.0
    for rank, figure in enumerate(detections, 1):
        best = max(free, key=lambda box: iou(box, figure.box), default=None)
        if best is not None and iou(best, figure.box) >= least:
            free.remove(best)
            hits += 1
            total += hits / rank
    return total / len(boxes)


Values = Mapping[int, float]  # scene number -> value
RESAMPLES = 2000
_EDGES = (2.5, 97.5)  # percent


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` scenes, and its 95 % interval by the bootstrap over scenes."""

    value: float
    low: float
    high: float
    n: int


def estimate(values: Values, seed: int = 0) -> Estimate | None:
    """The mean over scenes with its interval; None without a scene."""
    if not values:
        return None
    ordered = np.array([values[scene] for scene in sorted(values)], dtype=np.float64)
    low, high = np.percentile(_weights(len(ordered), seed) @ ordered, _EDGES)
    return Estimate(float(ordered.mean()), float(low), float(high), len(ordered))


@lru_cache(maxsize=16)
def _weights(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(RESAMPLES, count): the share of each scene in each resample."""
    draws = np.random.default_rng(seed).multinomial(count, [1 / count] * count, RESAMPLES)
    return draws / count


def difference(ours: Values, theirs: Values) -> dict[int, float]:
    """Ours less theirs, scene by scene, in the scenes that both have."""
    return {scene: ours[scene] - theirs[scene] for scene in ours.keys() & theirs.keys()}


def mean(values: Values) -> float:
    """Over at least one scene."""
    return fmean(values.values())

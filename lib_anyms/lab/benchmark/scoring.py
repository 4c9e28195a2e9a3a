"""Score a picture by the loaded models: columns, each with its metric, model and factor."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from PIL import Image

from lib_anyms.lab.benchmark.models import ClipEmbedder, Detected, Spec
from lib_anyms.lab.benchmark.scenes import Sample
from lib_anyms.lab.evaluation.scoring import average_precision, best_iou, crop, iou
from lib_anyms.layout.geometry import Box

RULES = 1  # increase when a score changes its meaning: older scores are then ignored
_THERE = 0.25  # IoU of a detection and a box from which the subject is there
_DIGITS = 5
Values = dict[str, float]  # metric -> value


@dataclass(frozen=True)
class Kind:
    """A metric. factor: printed numbers are values times it. paper: the letters by which the paper names it."""

    name: str
    title: str
    help: str
    factor: float = 100.0
    paper: str = ""


KINDS = {
    kind.name: kind
    for kind in (
        Kind("miou", "mIoU", "IoU of a subject's box and the best detection with its name", paper="mIoU"),
        Kind("ap50", "AP50", "average precision of a picture's detections, a hit from an IoU of 0.5", paper="AP50"),
        Kind("there", "there", f"subjects with a detection of IoU {_THERE:g} or more with their box"),
        Kind("image_boxes", "image, boxes", "cosine of the picture in a subject's box and its references", paper="I"),
        Kind("image_found", "image, found", "the same for the detected subject; one that is not found counts 0"),
        Kind("text", "text", "cosine of picture and prompt", paper="CLIP-T"),
        Kind("text_2.5", "text", "the same, in the factor of CLIPScore", factor=250.0),
    )
}


@dataclass(frozen=True)
class Score:
    """What one model says of one picture. detections: of a detector, for the report."""

    model: str
    values: Values
    detections: tuple[Detected, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`from_json` is the inverse."""
        boxes = [[one.name, round(one.score, 4), *_edges(one.box)] for one in self.detections]
        return {"model": self.model, "values": self.values, "detections": boxes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Score:
        detections = tuple(Detected(Box(*edges), score, name) for name, score, *edges in data["detections"])
        return cls(data["model"], data["values"], detections)


def _edges(box: Box) -> list[float]:
    return [round(edge, 5) for edge in (box.x0, box.y0, box.x1, box.y1)]


@dataclass(frozen=True)
class Specs:
    """The models of the command line. Encoders look at what the first detector finds."""

    all: tuple[Spec, ...]

    @property
    def detectors(self) -> list[Spec]:
        return [spec for spec in self.all if spec.role == "detector"]

    def id(self, spec: Spec) -> str:
        """A hash of all that decides this model's scores."""
        used = [RULES, spec.role, spec.hash]
        if spec.role != "detector" and self.detectors:
            used.append(self.detectors[0].hash)
        return hashlib.sha256(json.dumps(used).encode()).hexdigest()[:16]


class Scorer:
    """One loaded model. Encoders get the first detector's score of the same picture, if there is a detector."""

    def __init__(self, spec: Spec, device: str) -> None:
        self._role = spec.role
        self._model = spec.load(device)

    def score(self, image: Image.Image, sample: Sample, found_by: Score | None) -> Score:
        """All values of this model for one picture."""
        if self._role == "detector":
            detections = tuple(self._model.detect(image, names_of(sample)))
            return Score(self._model.label, _rounded(placement(detections, sample)), detections)
        values = self._likeness(image, sample, found_by)
        if isinstance(self._model, ClipEmbedder):
            values["text"] = values["text_2.5"] = self._model.text_similarity(image, sample.prompt)
        return Score(self._model.label, _rounded(values))

    def _likeness(self, image: Image.Image, sample: Sample, found_by: Score | None) -> Values:
        values = {"image_boxes": self._mean(image, sample, sample.boxes)}
        if found_by is not None:
            values["image_found"] = self._mean(image, sample, chosen(found_by.detections, sample))
        return values

    def _mean(self, image: Image.Image, sample: Sample, boxes: Sequence[Box | None]) -> float:
        """Over subjects; of one subject over its references. None counts 0."""
        values = []
        for box, references in zip(boxes, sample.references()):
            if box is None:
                values.append(0.0)
            else:
                values.append(self._model.similarities([crop(image, box)], list(references)).mean().item())
        return fmean(values)


def names_of(sample: Sample) -> list[str]:
    """The names to look for, each once."""
    return list(dict.fromkeys(subject.name for subject in sample.scene.subjects))


def placement(detections: Sequence[Detected], sample: Sample) -> Values:
    """mIoU, AP50 and the share of subjects that are there. AP50 is the mean over names, weighted by subjects."""
    subjects = sample.scene.subjects
    best, precisions = [], []
    for name in names_of(sample):
        boxes = [subject.box for subject in subjects if subject.name == name]
        of_name = _named(detections, name)
        best += [best_iou(box, of_name) for box in boxes]
        precisions.append(average_precision(of_name, boxes) * len(boxes))
    if any(not one.name for one in detections):  # a detector without names: all subjects are of one kind
        precisions = [average_precision(detections, sample.boxes) * len(subjects)]
    there = [share >= _THERE for share in best]
    return {"miou": fmean(best), "ap50": sum(precisions) / len(subjects), "there": fmean(there)}


def chosen(detections: Sequence[Detected], sample: Sample) -> list[Box | None]:
    """Where each subject was found: the detection with its name nearest to its box, else the most certain one."""
    boxes: list[Box | None] = []
    for subject in sample.scene.subjects:
        named = _named(detections, subject.name)
        best = max(named, key=lambda one: (iou(one.box, subject.box), one.score), default=None)
        boxes.append(best.box if best else None)
    return boxes


def _named(detections: Sequence[Detected], name: str) -> list[Detected]:
    """Those with the name, best first; a detection without a name counts for any."""
    return sorted((one for one in detections if one.name in (name, "")), key=lambda one: -one.score)


def _rounded(values: Mapping[str, float]) -> Values:
    return {name: round(value, _DIGITS) for name, value in values.items()}

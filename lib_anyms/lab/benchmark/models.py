"""The field's detectors and image encoders, read from folders in transformers' format, with the libraries' processors.

Every model has a `label` that names its variant: a number without it cannot be compared.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.lab.evaluation.pictures import file_hash
from lib_anyms.lab.evaluation.scoring import Clip, cells_of, iou
from lib_anyms.lab.oracle import find_figures, read_background
from lib_anyms.layout.geometry import Box

SMALL_WORLD = "small-world"  # in place of a detector's folder: the oracle's templates
DREAMSIM = "DreamSim ensemble, 1 - distance"
# Scores from which detections count: LAMICBench++ for Grounding DINO, MuDI for OWLv2.
GROUNDING_BOX, GROUNDING_TEXT, OWL = 0.35, 0.25, 0.25
SAME = 0.7  # IoU from which two detections with one name are one
_SIZES = {192: "Ti", 384: "S", 768: "B", 1024: "L", 1280: "H", 1536: "g", 1664: "bigG"}  # by a ViT's width
_SWINS = {96: "tiny", 128: "base", 192: "large"}  # Grounding DINO by its Swin's width
_ARTICLES = ("a ", "an ", "the ")


@dataclass(frozen=True)
class Detected:
    """A detection; `name` is one of the names that were looked for, or "" where the detector knows no names."""

    box: Box
    score: float
    name: str = ""


class Detector(Protocol):
    """Finds subjects by name."""

    label: str

    def detect(self, image: Image.Image, names: Sequence[str]) -> list[Detected]:
        """Best first."""


class Embedder(Protocol):
    """Compares images by the cosine of their embeddings, or by another likeness."""

    label: str

    def similarities(self, images: list[Image.Image], references: list[Image.Image]) -> torch.Tensor:
        """(images, references)."""


class GroundingDino:
    """Grounding DINO. Its phrases are parts of the query: each counts for the name that shares most words."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

        self._processor: Any = GroundingDinoProcessor.from_pretrained(str(folder), local_files_only=True)
        loaded = GroundingDinoForObjectDetection.from_pretrained(str(folder), local_files_only=True)
        self._model: Any = loaded.eval().to(device)
        width = getattr(self._model.config.backbone_config, "embed_dim", 0)
        self.label = f"Grounding DINO {_SWINS.get(width, f'width {width}')}"

    @torch.no_grad()
    def detect(self, image: Image.Image, names: Sequence[str]) -> list[Detected]:
        inputs = self._processor(images=image, text=[[bare(name) for name in names]], return_tensors="pt")
        outputs = self._model(**inputs.to(self._model.device))
        (result,) = self._processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=GROUNDING_BOX,
            text_threshold=GROUNDING_TEXT,
            target_sizes=[(image.height, image.width)],
        )
        labels = [meant(phrase, names) for phrase in result["text_labels"]]
        return _detections(image, result["boxes"], result["scores"], labels)


class Owlv2:
    """OWLv2, with the query "a photo of a NAME"."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import Owlv2ForObjectDetection, Owlv2Processor

        self._processor: Any = Owlv2Processor.from_pretrained(str(folder), local_files_only=True)
        loaded = Owlv2ForObjectDetection.from_pretrained(str(folder), local_files_only=True)
        self._model: Any = loaded.eval().to(device)
        vision = self._model.config.vision_config
        self.label = f"OWLv2 {vit(vision.hidden_size, vision.patch_size)}"

    @torch.no_grad()
    def detect(self, image: Image.Image, names: Sequence[str]) -> list[Detected]:
        queries = [f"a photo of a {bare(name)}" for name in names]
        inputs = self._processor(images=image, text=[queries], return_tensors="pt", truncation=True)
        outputs = self._model(**inputs.to(self._model.device))
        (result,) = self._processor.post_process_grounded_object_detection(
            outputs, threshold=OWL, target_sizes=[(image.height, image.width)]
        )
        return _detections(image, result["boxes"], result["scores"], [names[n] for n in result["labels"].tolist()])


class Templates:
    """The small world's exact templates as a detector. It finds figures, not names."""

    label = "the small world's templates"

    def detect(self, image: Image.Image, names: Sequence[str]) -> list[Detected]:
        cells = cells_of(image)
        figures = find_figures(cells, read_background(cells, []))
        return [Detected(figure.box, 1 / rank) for rank, figure in enumerate(figures, 1)]


def _detections(image: Image.Image, boxes: Any, scores: Any, names: Sequence[str | None]) -> list[Detected]:
    """From pixels; without boxes outside the image, phrases that name nothing, and detections found twice."""
    kept: list[Detected] = []
    rows = zip(boxes.tolist(), scores.tolist(), names)
    for edges, score, name in sorted(rows, key=lambda row: -row[1]):
        x0, y0, x1, y1 = (edge / side for edge, side in zip(edges, (*image.size, *image.size)))
        if name is None or not (x0 < min(x1, 1) and y0 < min(y1, 1) and x1 > 0 and y1 > 0):
            continue
        detected = Detected(Box(x0, y0, x1, y1), score, name)
        if not any(one.name == name and iou(one.box, detected.box) >= SAME for one in kept):
            kept.append(detected)
    return kept


def bare(name: str) -> str:
    """Lower case, without an article and full stops: Grounding DINO separates names by them."""
    text = name.lower().replace(".", " ").strip()
    for article in _ARTICLES:
        text = text.removeprefix(article)
    return text


def meant(phrase: str, names: Sequence[str]) -> str | None:
    """The name that shares the largest part of its words with the phrase; None if none shares any."""
    words = set(phrase.lower().split())

    def share(name: str) -> float:
        own = set(bare(name).split())
        return len(words & own) / len(own | words)

    best = max(names, key=share)
    return best if share(best) else None


class ClipEmbedder:
    """CLIP, for images and for text."""

    def __init__(self, folder: Path, device: str) -> None:
        self.clip = Clip(folder, device)
        vision = self.clip.config.vision_config
        self.label = f"CLIP {vit(vision.hidden_size, vision.patch_size)}"

    def similarities(self, images: list[Image.Image], references: list[Image.Image]) -> torch.Tensor:
        return _cosines(self.clip.embed_images(images), self.clip.embed_images(references))

    def text_similarity(self, image: Image.Image, prompt: str) -> float:
        """The cosine of image and prompt."""
        text = self.clip.embed_text(prompt)
        assert text is not None
        return F.cosine_similarity(self.clip.embed_images([image]), text).item()


class DinoEmbedder:
    """DINO or DINOv2: the class token of the last layer, normalised by the model."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoImageProcessor, AutoModel

        self._processor: Any = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
        options = {"add_pooling_layer": False} if _kind(folder) == "vit" else {}
        loaded = AutoModel.from_pretrained(str(folder), local_files_only=True, **options)
        self._model: Any = loaded.eval().to(device)
        config = self._model.config
        family = "DINO" if config.model_type == "vit" else "DINOv2"
        self.label = f"{family} {vit(config.hidden_size, config.patch_size)}"

    @torch.no_grad()
    def embed(self, images: list[Image.Image]) -> torch.Tensor:
        """(images, E)."""
        pixels = self._processor(images=images, return_tensors="pt").to(self._model.device)
        return self._model(**pixels).last_hidden_state[:, 0].cpu()

    def similarities(self, images: list[Image.Image], references: list[Image.Image]) -> torch.Tensor:
        return _cosines(self.embed(images), self.embed(references))


class DreamSim:
    """1 - DreamSim's distance, if its package is installed. `folder` holds its weights."""

    label = DREAMSIM

    def __init__(self, folder: Path, device: str) -> None:
        from dreamsim import dreamsim

        self._device = device
        self._model, self._prepare = dreamsim(pretrained=True, cache_dir=str(folder), device=device)

    @torch.no_grad()
    def similarities(self, images: list[Image.Image], references: list[Image.Image]) -> torch.Tensor:
        ours, theirs = ([self._prepare(one).to(self._device) for one in each] for each in (images, references))
        rows = [torch.stack([1 - self._model(one, other).squeeze() for other in theirs]) for one in ours]
        return torch.stack(rows).float().cpu()


def _cosines(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    return F.cosine_similarity(ours[:, None].float(), theirs[None].float(), dim=-1)


def vit(width: int, patch: int) -> str:
    """The name of a ViT by its width: "ViT-B/32"."""
    return f"ViT-{_SIZES.get(width, f'width-{width}')}/{patch}"


def _kind(folder: Path) -> str:
    """The model type in a folder's config.json. Raises Refused."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(
            "bench_model", path=folder, expected="a model", got=f"no readable config.json: {error}"
        ) from error


DETECTORS: dict[str, Callable[[Path, str], Detector]] = {"grounding-dino": GroundingDino, "owlv2": Owlv2}
DINOS = ("vit", "dinov2")


@dataclass(frozen=True)
class Spec:
    """A model of the command line, not loaded. role: "detector", "dino", "clip" or "dreamsim"."""

    role: str
    folder: Path

    @property
    def is_templates(self) -> bool:
        return self.role == "detector" and str(self.folder) == SMALL_WORLD

    @cached_property
    def hash(self) -> str:
        """Of the folder's files."""
        return SMALL_WORLD if self.is_templates else file_hash(self.folder)

    def problem(self) -> str:
        """What is missing, without loading the weights; "" if nothing is."""
        if self.is_templates:
            return ""
        if self.role == "dreamsim":
            return "" if importlib.util.find_spec("dreamsim") else "the package dreamsim is not installed"
        if not self.folder.is_dir():
            return "there is no such folder"
        return _incomplete(self.folder, self.role)

    def load(self, device: str) -> Any:
        """The model. Raises Refused."""
        if self.is_templates:
            return Templates()
        if problem := self.problem():
            raise Refused("bench_model", path=self.folder, expected=self.role, got=problem)
        try:
            return self._loader()(self.folder, device)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError) as error:
            raise Refused("bench_model", path=self.folder, expected=self.role, got=error) from error

    def _loader(self) -> Callable[[Path, str], Any]:
        if self.role == "detector":
            return DETECTORS[_kind(self.folder)]
        return {"clip": ClipEmbedder, "dino": DinoEmbedder, "dreamsim": DreamSim}[self.role]


_TYPES = {"detector": tuple(DETECTORS), "clip": ("clip",), "dino": DINOS}
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def _incomplete(folder: Path, role: str) -> str:
    kind = _kind(folder)
    if kind not in _TYPES[role]:
        return f"it is a {kind} (expected {' or '.join(_TYPES[role])})"
    if not any((folder / name).is_file() for name in _WEIGHTS):
        return f"no {_WEIGHTS[0]}"
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        return "no preprocessor_config.json"
    names = ("tokenizer.json", "vocab.json", "vocab.txt")
    if role != "dino" and not any((folder / name).is_file() for name in names):
        return "no tokenizer.json"
    return "OWLv2's processor needs scipy" if kind == "owlv2" and not importlib.util.find_spec("scipy") else ""

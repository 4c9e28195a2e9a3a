"""What a picture is worth: the oracle's word, and how near an image encoder sees boxes and reference pictures."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image

from lib_anyms.geometry import Box
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.standalone.evaluation.files import Files
from lib_anyms.standalone.evaluation.metrics import METRICS
from lib_anyms.standalone.evaluation.scenes import Asked
from lib_anyms.standalone.sprites.oracle import Oracle

NO_CLIP = "the small world's text and image encoders share no space; --clip DIR names a CLIP that does"
_LEAST = 8  # pixels of a box that is looked at


class Eye(Protocol):
    """Sees pictures, and perhaps texts, in one space."""

    def images(self, pictures: list[Image.Image]) -> torch.Tensor:
        """(pictures, E)."""

    def text(self, words: str) -> torch.Tensor | None:
        """(1, E); None if it reads none."""


class OwnEye:
    """The image encoder of the evaluation itself."""

    def __init__(self, path: Path) -> None:
        self._encoder = Encoder(read_encoder(path), torch.device("cpu"), torch.float32)

    def images(self, pictures: list[Image.Image]) -> torch.Tensor:
        return self._encoder.encode(pictures, "base", "pad")

    def text(self, words: str) -> torch.Tensor | None:
        return None


class Clip:
    """A whole CLIP in transformers' format."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self._model: Any = CLIPModel.from_pretrained(str(folder), local_files_only=True).eval()
        self._processor: Any = CLIPProcessor.from_pretrained(str(folder), local_files_only=True)

    @torch.no_grad()
    def images(self, pictures: list[Image.Image]) -> torch.Tensor:
        return _embedding(self._model.get_image_features(**self._processor(images=pictures, return_tensors="pt")))

    @torch.no_grad()
    def text(self, words: str) -> torch.Tensor | None:
        given = self._processor(text=[words], return_tensors="pt", truncation=True)
        return _embedding(self._model.get_text_features(**given))


class Judge:
    """Scores pictures; what cannot be judged is left out, with `reasons` by metric."""

    def __init__(self, files: Files) -> None:
        self.reasons = reasons_of(files)
        oracle = None if files.unjudged else files.oracle
        self._oracle = Oracle.from_file(oracle) if oracle else None
        self._eye: Eye = Clip(files.clip) if files.clip else OwnEye(files.encoder)

    def score(self, picture: Image.Image, asked: Asked) -> dict[str, float]:
        """By metric."""
        told = self._oracle.judge(picture, asked.scene, asked.number, asked.anywhere) if self._oracle else {}
        told |= self._seen(picture, asked)
        return {name: round(told[name], 5) for name in METRICS if name in told}

    def _seen(self, picture: Image.Image, asked: Asked) -> dict[str, float]:
        places = asked.boxes if asked.anywhere else tuple(sprite.box for sprite in asked.scene.subjects)
        shown = [_cut(picture, box) for box in places]
        references = [one for subject in asked.references() for one in subject]
        seen, meant = self._eye.images([*shown, *references]).chunk(2)
        facts = {"clip_i": fmean(F.cosine_similarity(seen, meant).tolist())}
        told = self._eye.text(asked.prompt)
        if told is not None:
            facts["clip_t"] = F.cosine_similarity(self._eye.images([picture]), told).item()
        return facts


def reasons_of(files: Files) -> dict[str, str]:
    """Why a metric has no value in any picture of these files."""
    reasons = {} if files.clip else {"clip_t": NO_CLIP}
    if files.unjudged:
        reasons |= {metric.name: files.unjudged for metric in METRICS.values() if metric.judged}
    return reasons


def _cut(picture: Image.Image, box: Box) -> Image.Image:
    width, height = picture.size
    left, top = round(box.x0 * width), round(box.y0 * height)
    return picture.crop((left, top, max(left + _LEAST, round(box.x1 * width)), max(top + _LEAST, round(box.y1 * height))))


def _embedding(output: Any) -> torch.Tensor:
    """transformers 5 wraps it."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output

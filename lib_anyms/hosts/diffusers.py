"""diffusers' StableDiffusionXLPipeline: rows are [unconditional, conditional] halves, or conditional alone without
guidance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.layout.geometry import WHOLE, Viewport


class Diffusers:
    """One call of `pipeline`; `files` are the adapter and encoder files (or folders of them) to choose from."""

    name = "diffusers"

    def __init__(self, pipeline: Any, files: list[Path]) -> None:
        self._pipeline = pipeline
        self._files = files
        self._progress = 0.0

    def unet(self) -> nn.Module:
        return self._pipeline.unet

    def bypassed_by(self) -> str | None:
        return None

    def tiled_by(self) -> str | None:
        return None

    def device(self) -> torch.device:
        return torch.device(self._pipeline.device)

    def dtype(self) -> torch.dtype:
        return self._pipeline.unet.dtype

    def make_room(self, size: int) -> None:
        """The pipeline stays where it is."""

    def tell(self, words: str | None) -> str | None:
        """The pipeline has no place for words."""
        return None

    def interrupted(self) -> bool:
        return False

    def folders(self) -> list[Path]:
        return self._files

    def viewport(self) -> Viewport:
        return WHOLE

    def begin_step(self, step: float) -> None:
        """`step` is the share of the steps done."""
        self._progress = step

    def progress(self) -> float:
        return self._progress

    def rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CondMap:
        count = (args[0] if args else kwargs["sample"]).shape[0]
        chunks = (False, True) if self._pipeline.do_classifier_free_guidance else (True,)
        return CondMap.of_chunks(chunks, count // len(chunks))

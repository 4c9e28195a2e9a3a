"""How one image is sampled. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """`size` is (width, height) in pixels, multiples of 8; `guidance` is the classifier-free guidance scale.

    `device` is "auto" or a name that torch knows; `dtype` is "auto", "float32", "float16", "bfloat16" or "float64".
    """

    seed: int = 0
    steps: int = 30
    guidance: float = 5.0
    size: tuple[int, int] = (1024, 1024)
    negative: str = ""
    device: str = "auto"
    dtype: str = "auto"

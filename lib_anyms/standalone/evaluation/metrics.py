"""What is measured of a picture, one row each. Every value is a share of 1 or a cosine. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

LINE_UP = 20  # candidates; the oracle's own number, which a test compares


@dataclass(frozen=True)
class Metric:
    """`best` is what a perfect picture has; `chance` what a blind choice has, where that is known."""

    name: str
    help: str
    best: float = 1.0
    chance: float | None = None
    judged: bool = True  # by the oracle, which knows sprites only

    def share(self, value: float, real: float) -> float | None:
        """`value` as a share of what the oracle gives real renderings; of what is best at 0, the shares that are free of it."""
        mine, theirs = (value, real) if self.best else (1 - value, 1 - real)
        return mine / theirs if theirs > 0 else None


_TABLE = (
    Metric("identity", "picked out of a line-up of 20, of which 8 differ in one attribute", chance=1 / LINE_UP),
    Metric("identity_top", "the same, of subjects that cover another and are not covered", chance=1 / LINE_UP),
    Metric("miou", "common area of asked and found box, over the area of both"),
    Metric("ap50", "average precision of the found boxes, right from a common share of 0.5"),
    Metric("leakage", "attributes that are another subject's of the scene", best=0.0),
    Metric("missing", "subjects of which nothing is in their place", best=0.0),
    Metric("ground_inside", "ground inside the boxes but outside the silhouettes that is the scene's"),
    Metric("background", "the ground is the one of the prompt"),
    Metric("count", "as many subjects as the prompt names"),
    Metric("shape", "read right, of all shapes"),
    Metric("body", "main colour read right, of all colours"),
    Metric("second", "second colour read right, of all colours"),
    Metric("pattern", "read right, of all patterns"),
    Metric("clip_i", "cosine of box and reference picture, both as an image encoder sees them", judged=False),
    Metric("clip_t", "cosine of picture and prompt by CLIP", judged=False),
)
METRICS = {metric.name: metric for metric in _TABLE}

from __future__ import annotations

from typing import Any


def setup_img2img_steps(p: Any, steps: int | None = None) -> tuple[int, int]:
    """(steps of the whole schedule, the pass's steps - 1), as the hosts compute them."""
    if steps is not None:
        return int(steps / min(p.denoising_strength, 0.999)), steps - 1
    return p.steps, int(min(p.denoising_strength, 0.999) * p.steps)

from __future__ import annotations

from typing import Any


def fix_seed(p: Any) -> None:
    p.seed = 1234 if p.seed == -1 else p.seed


def process_images(p: Any) -> Any:
    return p.process()

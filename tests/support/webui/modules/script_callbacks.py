from __future__ import annotations

from collections.abc import Callable
from typing import Any

ON_CFG_DENOISER: list[Callable[[Any], None]] = []


def on_cfg_denoiser(callback: Callable[[Any], None]) -> None:
    ON_CFG_DENOISER.append(callback)

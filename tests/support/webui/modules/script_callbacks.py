from __future__ import annotations

from collections.abc import Callable
from typing import Any

ON_CFG_DENOISER: list[Callable[[Any], None]] = []
ON_CFG_AFTER_CFG: list[Callable[[Any], None]] = []
OTHERS: dict[str, list[Callable[..., None]]] = {
    "after_component": [],
    "app_started": [],
    "before_ui": [],
    "ui_settings": [],
}


def on_cfg_denoiser(callback: Callable[[Any], None]) -> None:
    ON_CFG_DENOISER.append(callback)


def on_cfg_after_cfg(callback: Callable[[Any], None]) -> None:
    ON_CFG_AFTER_CFG.append(callback)


def on_after_component(callback: Callable[..., None]) -> None:
    OTHERS["after_component"].append(callback)


def on_app_started(callback: Callable[..., None]) -> None:
    OTHERS["app_started"].append(callback)


def on_before_ui(callback: Callable[..., None]) -> None:
    OTHERS["before_ui"].append(callback)


def on_ui_settings(callback: Callable[..., None]) -> None:
    OTHERS["ui_settings"].append(callback)

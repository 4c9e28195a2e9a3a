"""A bank of few masks, drawn once a run: the training's own takes eight seconds."""

from __future__ import annotations

from functools import cache

from lib_anyms.lab.train.data import Bank


@cache
def bank() -> Bank:
    return Bank(poses=24)

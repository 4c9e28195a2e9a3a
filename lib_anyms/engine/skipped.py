"""What a cache or a forecast answers in place of the UNet, and which extension's code does so.

A cache repeats outputs or features of an earlier call. If every layer fired in that call, they hold the image stream.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import nn

# Packages of the hosts, which replace a UNet's forward too.
HOSTS = frozenset({"modules", "modules_forge", "backend", "ldm_patched", "ldm", "sgm"})


@dataclass(frozen=True)
class Skipped:
    """Counts of one sampling pass, after its first whole UNet call.

    steps: denoiser steps without any UNet call; silent: UNet calls in which no layer fired; partial: those in which
    only some did; by: the Python modules of the functions that skipped them, where they are known.
    """

    steps: int = 0
    silent: int = 0
    partial: int = 0
    by: tuple[str, ...] = ()

    @property
    def times(self) -> int:
        """How often something was skipped."""
        return self.steps + self.silent + self.partial


NOTHING = Skipped()


class SkipCounter:
    """Counts for one `Skipped`."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._by: set[str] = set()

    def add(self, kind: str, by: str) -> None:
        """One more of `kind`, a count of `Skipped`. by: the module of the function, or ""."""
        self._counts[kind] += 1
        if by:
            self._by.add(by)

    @property
    def result(self) -> Skipped:
        return Skipped(**self._counts, by=tuple(sorted(self._by)))


def replaced_by(unet: nn.Module) -> str:
    """The module of an extension's function that replaces the forward of `unet` or of its class, or ""."""
    kind = next(kind for kind in type(unet).__mro__ if "forward" in vars(kind))
    module = module_of(vars(unet).get("forward", vars(kind)["forward"]))
    return "" if module == kind.__module__ or module.partition(".")[0] in HOSTS else module


def module_of(function: object) -> str:
    """The Python module of a function, or of the class of a callable object."""
    return str(getattr(function, "__module__", None) or type(function).__module__)

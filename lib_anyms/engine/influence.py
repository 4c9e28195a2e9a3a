"""Where the image stream acts, for the debug view: the share of each token's update that came from its subject.

Recorded only for a job that requests it. Keeps one sum per token grid, so steps and layers cost no memory.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from lib_anyms.layout.geometry import TokenGrid


class Influence:
    """Shares |s Z_image| / (|Z_text| + |s Z_image|), averaged over layers, steps and conditional batch entries."""

    high = 16  # token grids of one job: two sampling passes have four

    def __init__(self) -> None:
        self._sums: dict[TokenGrid, torch.Tensor] = {}
        self._counts: dict[TokenGrid, int] = {}

    def see(self, grid: TokenGrid, text: torch.Tensor, image: torch.Tensor, scale: float) -> None:
        """Add one layer's streams, both (batch, tokens, channels)."""
        if grid not in self._sums and len(self._sums) >= self.high:
            return
        strength = (scale * image).float().norm(dim=-1)  # -> (batch, tokens)
        share = strength / (strength + text.float().norm(dim=-1)).clamp_min(1e-12)
        total = share.mean(0).detach().cpu()
        self._sums[grid] = self._sums[grid] + total if grid in self._sums else total
        self._counts[grid] = self._counts.get(grid, 0) + 1

    def shares(self, grids: Collection[TokenGrid]) -> tuple[TokenGrid, list[float]] | None:
        """The finest of `grids` that was recorded, with its row-major shares 0..1. None where none was."""
        grid = max((grid for grid in self._sums if grid in grids), key=lambda grid: grid.tokens, default=None)
        return None if grid is None else (grid, (self._sums[grid] / self._counts[grid]).tolist())

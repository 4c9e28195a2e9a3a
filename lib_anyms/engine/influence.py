"""Where the image stream acts, for the debug view: of each token the share of its update that came from its subject.

Recorded only for a job that asks for it. A sum for each token grid is all that is kept, so steps and layers cost no
memory.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from lib_anyms.layout.geometry import TokenGrid


class Influence:
    """Shares |s Z_image| / (|Z_text| + |s Z_image|), averaged over layers, steps and conditional rows; at most `high`
    grids.
    """

    high = 16  # of one job: two passes have four

    def __init__(self) -> None:
        self._sums: dict[TokenGrid, torch.Tensor] = {}
        self._counts: dict[TokenGrid, int] = {}

    def see(self, grid: TokenGrid, text: torch.Tensor, image: torch.Tensor, scale: float) -> None:
        """One layer's streams, both (rows, tokens, channels)."""
        if grid not in self._sums and len(self._sums) >= self.high:
            return
        strength = (scale * image).float().norm(dim=-1)  # -> (rows, tokens)
        share = strength / (strength + text.float().norm(dim=-1)).clamp_min(1e-12)
        total = share.mean(0).detach().cpu()
        self._sums[grid] = self._sums[grid] + total if grid in self._sums else total
        self._counts[grid] = self._counts.get(grid, 0) + 1

    def shares(self, grids: Collection[TokenGrid]) -> tuple[TokenGrid, list[float]] | None:
        """The finest of `grids` that was seen and its row-major shares, 0..1; None where none was."""
        grid = max((grid for grid in self._sums if grid in grids), key=lambda grid: grid.tokens, default=None)
        return None if grid is None else (grid, (self._sums[grid] / self._counts[grid]).tolist())

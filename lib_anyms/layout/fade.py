"""How the overall strength changes over the steps: the early steps place a subject, the later ones draw it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fade:
    """f in Z = Z_text + f * s * Z_image. `rest`: f from the share `start` of the steps on; before, f is 1."""

    rest: float = 1.0
    start: float = 0.25

    @property
    def changes(self) -> bool:
        """Whether any step has another strength than the first."""
        return self.rest != 1.0 and self.start < 1.0

    def at(self, progress: float) -> float:
        """f at `progress`, the share of the steps done, 0..1."""
        return self.rest if progress >= self.start else 1.0


CONSTANT = Fade()

"""Which rows of one UNet call are conditional. Hosts batch, split and skip them; the image stream never guesses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from lib_anyms.errors import Refused


@dataclass(frozen=True)
class RowMap:
    """`is_cond[row]` for each row of the batch the UNet receives."""

    is_cond: tuple[bool, ...]

    @classmethod
    def of_chunks(cls, chunks_cond: Iterable[bool], rows_per_chunk: int) -> RowMap:
        """Equal chunks, one flag each: `cond_or_uncond` of the Forge family, [uncond, cond] of diffusers."""
        return cls(tuple(flag for flag in chunks_cond for _ in range(rows_per_chunk)))

    @cached_property
    def runs(self) -> tuple[tuple[slice, bool], ...]:
        """Neighbouring rows of one kind, as (slice, is_cond); every layer of a call asks for them."""
        starts = [row for row, flag in enumerate(self.is_cond) if row == 0 or flag != self.is_cond[row - 1]]
        ends = [*starts[1:], len(self.is_cond)]
        return tuple((slice(start, end), self.is_cond[start]) for start, end in zip(starts, ends))


@dataclass
class RowCursor:
    """All rows of one denoiser step, consumed in order by the UNet calls of that step, however the host splits them."""

    rows: RowMap
    position: int = 0

    def take(self, count: int) -> RowMap:
        """The next `count` rows; raises Refused when the step has fewer left."""
        if self.position + count > len(self.rows.is_cond):
            raise Refused("rows_unknown", got=count, expected=f"at most {len(self.rows.is_cond) - self.position}")
        self.position += count
        return RowMap(self.rows.is_cond[self.position - count : self.position])

"""Which rows of one UNet call are conditional. Hosts batch, split and skip them; the image stream never guesses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from lib_anyms.errors import Refused


@dataclass(frozen=True)
class CondMap:
    """`is_cond[row]` for each row of the batch the UNet receives; `chunk` rows each are one condition's."""

    is_cond: tuple[bool, ...]
    chunk: int = field(default=1, compare=False)

    @classmethod
    def of_chunks(cls, chunks_cond: Iterable[bool], rows_per_chunk: int) -> CondMap:
        """Equal chunks, one flag each: `cond_or_uncond` of the Forge family, [uncond, cond] of diffusers."""
        return cls(tuple(flag for flag in chunks_cond for _ in range(rows_per_chunk)), rows_per_chunk)

    @cached_property
    def runs(self) -> tuple[tuple[slice, bool], ...]:
        """Neighbouring rows of one kind, as (slice, is_cond); every layer of a call asks for them."""
        starts = [row for row, flag in enumerate(self.is_cond) if row == 0 or flag != self.is_cond[row - 1]]
        ends = [*starts[1:], len(self.is_cond)]
        return tuple((slice(start, end), self.is_cond[start]) for start, end in zip(starts, ends))

    def with_copies(self, count: int) -> Iterator[tuple[CondMap, list[int], bool]]:
        """How these rows may have become `count` in a cross-attention layer that sees one picture with several texts.

        Each conditional chunk stands there several times over, one after the other, and a row of zeros makes the number
        even (Forge Couple); in a call of no conditional rows each chunk may, as the host may have marked it otherwise.
        -> (the rows there, for each the row it is a copy of, whether the last one is of zeros), likelier first.
        """
        several = sum(self.is_cond) or len(self.is_cond)
        others = len(self.is_cond) - several
        for padded in (False, True):
            times, left = divmod(count - padded - others, several)
            if not left and times >= 1 and not (padded and count % 2):
                yield (*self._copied(times, padded), padded)

    def _copied(self, times: int, padded: bool) -> tuple[CondMap, list[int]]:
        flags: list[bool] = []
        sources: list[int] = []
        for start in range(0, len(self.is_cond), self.chunk):
            chunk, first = self.is_cond[start : start + self.chunk], len(flags)
            copies = times if chunk[0] or not any(self.is_cond) else 1
            flags += chunk * copies
            sources += [*range(first, first + len(chunk))] * copies
        if padded:
            flags.append(flags[-1])
            sources.append(len(sources))
        return CondMap(tuple(flags)), sources


@dataclass
class CondCursor:
    """All rows of one denoiser step, consumed in order by the UNet calls of that step, however the host splits them."""

    rows: CondMap
    position: int = 0

    def take(self, count: int) -> CondMap:
        """The next `count` rows; raises Refused when the step has fewer left."""
        if self.position + count > len(self.rows.is_cond):
            raise Refused("rows_unknown", got=count, expected=f"at most {len(self.rows.is_cond) - self.position}")
        self.position += count
        return CondMap(self.rows.is_cond[self.position - count : self.position])

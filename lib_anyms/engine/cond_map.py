"""Which entries of a UNet call's batch are conditional. Hosts batch, split and skip them; we never guess."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from lib_anyms.errors import Refused


@dataclass(frozen=True)
class CondMap:
    """`is_cond[entry]` for each entry of the batch the UNet receives. Each condition has `chunk` entries."""

    is_cond: tuple[bool, ...]
    chunk: int = field(default=1, compare=False)

    @classmethod
    def of_chunks(cls, chunks_cond: Iterable[bool], chunk: int) -> CondMap:
        """Equal chunks, one flag each: `cond_or_uncond` of the Forge family, [uncond, cond] of diffusers."""
        flags: list[bool] = []
        for flag in chunks_cond:
            flags += [flag] * chunk
        return cls(tuple(flags), chunk)

    @cached_property
    def runs(self) -> tuple[tuple[slice, bool], ...]:
        """Neighbouring entries of one kind, as (slice, is_cond). Cached, as every layer of a call needs them."""
        flags = self.is_cond
        starts = [entry for entry, flag in enumerate(flags) if entry == 0 or flag != flags[entry - 1]]
        ends = [*starts[1:], len(flags)]
        return tuple((slice(start, end), flags[start]) for start, end in zip(starts, ends))

    def with_copies(self, count: int) -> Iterator[tuple[CondMap, list[int], bool]]:
        """How this batch may have become `count` entries in a cross-attention layer that gets several texts per image.

        Forge Couple repeats each conditional chunk, and adds an entry of zeros where the number is odd. In a call
        without conditional entries any chunk may be repeated, as the host may have marked it the other way.
        Yields (the map there, for each entry the one it copies, whether the last entry is zeros), most likely first.
        """
        repeated = sum(self.is_cond) or len(self.is_cond)
        others = len(self.is_cond) - repeated
        for padded in (False, True):
            times, remainder = divmod(count - padded - others, repeated)
            if not remainder and times >= 1 and not (padded and count % 2):
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
    """All batch entries of one denoiser step. The UNet calls of that step take them in order, however many each."""

    conds: CondMap
    position: int = 0

    def take(self, count: int) -> CondMap:
        """The next `count` entries. Raises Refused when the step has fewer left."""
        left = len(self.conds.is_cond) - self.position
        if count > left:
            raise Refused("rows_unknown", got=count, expected=f"at most {left}")
        self.position += count
        return CondMap(self.conds.is_cond[self.position - count : self.position])

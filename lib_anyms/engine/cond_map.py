"""Which entries of a UNet call's batch are conditional, and what they show. Hosts batch, split and skip them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lib_anyms.errors import Refused
from lib_anyms.layout.geometry import Viewport


@dataclass(frozen=True)
class CondMap:
    """`is_cond[entry]` for each entry of the batch the UNet receives. Each condition has `chunk` entries.

    windows: the part of the pass's image that each entry shows, None for an entry without an image stream; () where all
    show the whole image. left_out: why an entry has no image stream, a cause of `errors.Noted`.
    """

    is_cond: tuple[bool, ...]
    chunk: int = field(default=1, compare=False)
    windows: tuple[Viewport | None, ...] = ()
    left_out: str = field(default="", compare=False)

    @classmethod
    def of_chunks(cls, chunks_cond: Iterable[bool], chunk: int) -> CondMap:
        """Equal chunks, one flag each: `cond_or_uncond` of the Forge family, [uncond, cond] of diffusers."""
        flags: list[bool] = []
        for flag in chunks_cond:
            flags += [flag] * chunk
        return cls(tuple(flags), chunk)

    @property
    def acts(self) -> bool:
        """Whether any entry has an image stream."""
        return not self.windows or any(window is not None for window in self.windows)

    @cached_property
    def runs(self) -> tuple[tuple[slice, bool], ...]:
        """Neighbouring entries of one kind, as (slice, is_cond). Cached, as every layer of a call needs them."""
        return tuple((entries, self.is_cond[entries.start]) for entries in _runs(self.is_cond))

    @cached_property
    def parts(self) -> tuple[tuple[slice, Viewport, CondMap], ...]:
        """Neighbouring entries that show the same window, with their own map; none without an image stream."""
        parts = []
        for entries in _runs(self.windows):
            window = self.windows[entries.start]
            if window is not None:
                parts.append((entries, window, CondMap(self.is_cond[entries])))
        return tuple(parts)

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


def _runs(values: Sequence[object]) -> list[slice]:
    """The places of neighbouring equal values."""
    starts = [place for place, value in enumerate(values) if place == 0 or value != values[place - 1]]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(values)])]


@dataclass
class CondCursor:
    """All batch entries of one denoiser step. The UNet calls of that step take them in order, however many each."""

    conds: CondMap
    position: int = 0

    def next(self, count: int) -> tuple[bool, ...]:
        """The flags of the next `count` entries; fewer where fewer are left."""
        return self.conds.is_cond[self.position : self.position + count]

    def take(self, count: int) -> CondMap:
        """The next `count` entries. Raises Refused when the step has fewer left."""
        left = len(self.conds.is_cond) - self.position
        if count > left:
            raise Refused("rows_unknown", got=count, expected=f"at most {left}")
        self.position += count
        return CondMap(self.conds.is_cond[self.position - count : self.position])

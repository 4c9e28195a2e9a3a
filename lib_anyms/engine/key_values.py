"""The keys and values K_j, V_j of every subject and layer: computed once per generation, as they do not depend on the
step.

Conditional sets are one per subject; the unconditional set does not depend on the subject, so there is ONE. All sets
of a layer lie side by side in one tensor, the unconditional one last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib_anyms.engine.attention import KeyValue, split_heads

Place = tuple[int, int]  # first and last (exclusive) of a set's tokens among a layer's


class KeyValues:
    """The projected sets, by layer number N of the adapter file.

    everyone: (key, value) of each layer, both (all tokens, channels); places: each subject's in them; uncond: the
    unconditional set's, None for no image stream on unconditional rows.
    """

    def __init__(self, everyone: dict[int, KeyValue], places: Sequence[Place], uncond: Place | None) -> None:
        self.places, self.uncond = tuple(places), uncond
        self._everyone = everyone
        self._views: dict[int, tuple[list[KeyValue], list[KeyValue] | None]] = {}  # conditional, unconditional
        self._by_heads: dict[tuple[int, int], KeyValue] = {}

    def everyone(self, number: int, like: torch.Tensor) -> KeyValue:
        """(key, value) of all sets of a layer, on `like`'s device and in its dtype."""
        key, _ = kept = self._everyone[number]
        if key.device != like.device or key.dtype != like.dtype:
            self._move(like)
            return self._everyone[number]
        return kept

    def by_heads(self, number: int, heads: int, like: torch.Tensor) -> KeyValue:
        """`everyone` for each row of `like`'s batch, both (batch, heads, all tokens, channels / heads): views, made
        once.
        """
        key, value = self.everyone(number, like)
        place = number, like.shape[0]
        if place not in self._by_heads:
            batch = len(like), -1, -1, -1
            self._by_heads[place] = split_heads(key, heads).expand(batch), split_heads(value, heads).expand(batch)
        return self._by_heads[place]

    def of(self, number: int, is_cond: bool, like: torch.Tensor) -> list[KeyValue] | None:
        """(key, value) of each subject, both (tokens, channels), on `like`'s device and dtype; None: no image stream
        there.
        """
        if is_cond:
            return self._viewed(number, like)[0]
        return self._viewed(number, like)[1]

    def _viewed(self, number: int, like: torch.Tensor) -> tuple[list[KeyValue], list[KeyValue] | None]:
        key, value = self.everyone(number, like)
        if number not in self._views:
            places = [*self.places, *([self.uncond] if self.uncond else [])]
            cut = [(key[first:last], value[first:last]) for first, last in places]
            count = len(self.places)
            self._views[number] = cut[:count], (cut[count:] * count if self.uncond else None)
        return self._views[number]

    def of_subjects(self, numbers: tuple[int, ...]) -> KeyValues:
        """The sets of these subjects only, in this order; nothing is copied."""
        return KeyValues(self._everyone, [self.places[number] for number in numbers], self.uncond)

    def _move(self, like: torch.Tensor) -> None:
        """A host may sample on another device or in another dtype than it had announced: all layers follow, once."""
        self._everyone = {number: (key.to(like), value.to(like)) for number, (key, value) in self._everyone.items()}
        self._views.clear()
        self._by_heads.clear()

    @property
    def bytes(self) -> int:
        """Memory of all sets."""
        return sum(tensor.numel() * tensor.element_size() for pair in self._everyone.values() for tensor in pair)


def side_by_side(counts: Sequence[int]) -> list[Place]:
    """The places of sets of so many tokens, one after the other."""
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    return [(end - count, end) for count, end in zip(counts, ends)]

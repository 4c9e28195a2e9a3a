"""The keys and values K_j, V_j of every subject and layer. They do not depend on the step: one set serves a whole job.

Each subject has a conditional set. The unconditional set does not depend on the subject, so there is ONE. All sets of a
layer stand side by side in one tensor, the unconditional one last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib_anyms.engine.attention import KeyValue, split_heads

TokenSpan = tuple[int, int]  # first and last (exclusive) image token of a set, among all sets of a layer


class KeyValues:
    """The projected sets, by layer number N of the adapter file.

    sets: (key, value) of each layer, both (all tokens, channels); spans: each subject's tokens in them; uncond: the
    unconditional tokens, None for no image stream on unconditional batch entries.
    """

    def __init__(self, sets: dict[int, KeyValue], spans: Sequence[TokenSpan], uncond: TokenSpan | None) -> None:
        self.spans, self.uncond = tuple(spans), uncond
        self._sets = sets
        self._views: dict[int, tuple[list[KeyValue], list[KeyValue] | None]] = {}  # conditional, unconditional
        self._by_heads: dict[tuple[int, int], KeyValue] = {}  # by layer number and batch size

    def all_sets(self, number: int, like: torch.Tensor) -> KeyValue:
        """(key, value) of all sets of a layer, on the device and in the dtype of `like`."""
        key, _ = self._sets[number]
        if key.device != like.device or key.dtype != like.dtype:
            self._move(like)
        return self._sets[number]

    def by_heads(self, number: int, heads: int, like: torch.Tensor) -> KeyValue:
        """`all_sets` for each batch entry of `like`, both (batch, heads, all tokens, channels / heads). Cached."""
        key, value = self.all_sets(number, like)
        case = number, like.shape[0]
        if case not in self._by_heads:
            shape = len(like), -1, -1, -1
            self._by_heads[case] = split_heads(key, heads).expand(shape), split_heads(value, heads).expand(shape)
        return self._by_heads[case]

    def of(self, number: int, is_cond: bool, like: torch.Tensor) -> list[KeyValue] | None:
        """(key, value) of each subject, both (tokens, channels), on the device and in the dtype of `like`.

        None: no image stream for these batch entries.
        """
        conditional, unconditional = self._views_of(number, like)
        return conditional if is_cond else unconditional

    def _views_of(self, number: int, like: torch.Tensor) -> tuple[list[KeyValue], list[KeyValue] | None]:
        key, value = self.all_sets(number, like)
        if number not in self._views:
            conditional = [(key[first:last], value[first:last]) for first, last in self.spans]
            unconditional = None
            if self.uncond:
                tokens = slice(*self.uncond)
                unconditional = [(key[tokens], value[tokens])] * len(self.spans)  # one set, whoever the subject is
            self._views[number] = conditional, unconditional
        return self._views[number]

    def of_subjects(self, numbers: tuple[int, ...]) -> KeyValues:
        """The sets of these subjects only, in this order. Copies nothing."""
        return KeyValues(self._sets, [self.spans[number] for number in numbers], self.uncond)

    def on(self, device: torch.device) -> KeyValues:
        """The same sets on `device`. Copies nothing that is there already."""
        sets = {number: (key.to(device), value.to(device)) for number, (key, value) in self._sets.items()}
        return KeyValues(sets, self.spans, self.uncond)

    def _move(self, like: torch.Tensor) -> None:
        """Move all layers at once: a host may sample on another device or in another dtype than it announced."""
        self._sets = {number: (key.to(like), value.to(like)) for number, (key, value) in self._sets.items()}
        self._views.clear()
        self._by_heads.clear()

    @property
    def layers(self) -> list[KeyValue]:
        """(key, value) of all sets, layer by layer."""
        return list(self._sets.values())

    @property
    def bytes(self) -> int:
        """Memory of all sets."""
        return sum(_bytes_of(key) + _bytes_of(value) for key, value in self._sets.values())


def _bytes_of(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def spans_of(counts: Sequence[int]) -> list[TokenSpan]:
    """The spans of sets of so many tokens, one after the other."""
    ends = [sum(counts[: number + 1]) for number in range(len(counts))]
    return [(end - count, end) for count, end in zip(counts, ends)]

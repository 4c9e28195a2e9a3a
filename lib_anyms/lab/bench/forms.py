"""The image stream of one layer in every form tried; docs/performance.md says which ones AnyMS uses, and why.

All take a `Work` and give Z_text + s * Z_image of a batch [unconditional, conditional]. The exception is `floor`, the
yardstick: one attention of all owned query tokens over one subject's image tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from lib_anyms.engine.attention import (
    Crop,
    KeyValue,
    crop_and_merge,
    crops_of,
    image_attention,
    merged_by_weight,
    split_heads,
)
from lib_anyms.engine.fused import FusedCrops, fused_crop_and_merge
from lib_anyms.engine.key_values import spans_of
from lib_anyms.engine.sdpa import attend
from lib_anyms.lab.bench.streams import SCALE
from lib_anyms.layout.geometry import TokenGrid

_CACHED = 2**16  # numbers of one batch entry that a core's cache holds: 256 KiB in float32


@dataclass(frozen=True)
class Work:
    """One layer's tensors; query and text (batch, tokens, channels), the first half of the batch unconditional.

    visible: each subject's token numbers.
    """

    query: torch.Tensor
    text: torch.Tensor
    sets: list[KeyValue]
    uncond: KeyValue
    grid: TokenGrid
    visible: Sequence[Sequence[int]]
    heads: int

    @classmethod
    def random(
        cls,
        visible: Sequence[Sequence[int]],
        grid: TokenGrid,
        width: int,
        heads: int,
        tokens: int,
        batch: int,
        like: torch.Tensor,
    ) -> Work:
        """Random tensors on the device and in the dtype of `like`."""
        make = torch.Generator().manual_seed(0)
        query, text = torch.randn(2, batch, grid.tokens, width, generator=make).to(like)
        *sets, uncond = (
            (key, value) for key, value in torch.randn(len(visible) + 1, 2, tokens, width, generator=make).to(like)
        )
        return cls(query, text, sets, uncond, grid, visible, heads)

    @property
    def half(self) -> int:
        return len(self.query) // 2

    @cached_property
    def crops(self) -> tuple[Crop, ...]:
        return crops_of(self.visible, [1.0] * len(self.sets), self.query.device)

    @cached_property
    def uncond_crops(self) -> tuple[Crop, ...]:
        """Of the unconditional half."""
        return merged_by_weight(self.crops)

    @cached_property
    def token_idx(self) -> torch.Tensor:
        """Of all crops."""
        return torch.cat([crop.token_idx for crop in self.crops])

    @cached_property
    def all_sets(self) -> KeyValue:
        """By heads, for each batch entry."""
        key, value = (split_heads(torch.cat(tensors), self.heads) for tensors in zip(*self.sets, self.uncond))
        return key.expand(len(self.query), -1, -1, -1), value.expand(len(self.query), -1, -1, -1)

    @cached_property
    def fused_crops(self) -> FusedCrops:
        *spans, uncond = spans_of([len(key) for key, _ in (*self.sets, self.uncond)])
        return FusedCrops.of(self.crops, spans, uncond, [False] * self.half + [True] * self.half, self.query)

    @cached_property
    def padded(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Tokens of all subjects padded to the longest, which of them are real, and that length."""
        longest = max(len(crop.token_idx) for crop in self.crops)
        padded, real = [], []
        for number, crop in enumerate(self.crops):
            tokens = crop.token_idx
            padded += [tokens, tokens[:1].expand(longest - len(tokens))]
            real.append(torch.arange(len(tokens), device=tokens.device) + number * longest)
        return torch.cat(padded), torch.cat(real), longest

    @cached_property
    def stacked(self) -> KeyValue:
        keys, values = zip(*(self.sets[crop.subject] for crop in self.crops))
        return torch.stack(keys), torch.stack(values)


def by_subject(work: Work) -> torch.Tensor:
    """In use on CPUs: gather, attend and add in place for each subject, while its tokens are in the cache."""
    half = work.half
    crop_and_merge(work.text[:half], work.query[:half], [work.uncond], work.uncond_crops, work.heads, SCALE)
    crop_and_merge(work.text[half:], work.query[half:], work.sets, work.crops, work.heads, SCALE)
    return work.text


def in_pieces(work: Work) -> torch.Tensor:
    """By subject, and at most as many tokens at a time as a core's cache holds. Every piece waits for all threads."""
    half, longest = work.half, max(1, _CACHED // work.query.shape[-1])
    uncond, cond = _pieces(work.uncond_crops, longest), _pieces(work.crops, longest)
    crop_and_merge(work.text[:half], work.query[:half], [work.uncond], uncond, work.heads, SCALE)
    crop_and_merge(work.text[half:], work.query[half:], work.sets, cond, work.heads, SCALE)
    return work.text


def _pieces(crops: Sequence[Crop], longest: int) -> list[Crop]:
    pieces = []
    for crop in crops:
        pieces += [Crop(crop.subject, tokens, crop.weight) for tokens in crop.token_idx.split(longest)]
    return pieces


def fused(work: Work) -> torch.Tensor:
    """In use on GPUs: one masked attention over the owned tokens."""
    return fused_crop_and_merge(work.text, work.query, work.all_sets, work.fused_crops, work.heads, SCALE)


def sorted_by_owner(work: Work) -> torch.Tensor:
    """Gather the owned tokens once, by owner; one attention per subject on its slice, one for the uncond half."""
    half = work.half
    query = work.query[half:].index_select(1, work.token_idx)
    sizes = [len(crop.token_idx) for crop in work.crops]
    parts = []
    for tokens, crop in zip(query.split(sizes, 1), work.crops):
        parts.append(image_attention(tokens, *work.sets[crop.subject], work.heads))
    _add(work, _unconditional(work), torch.cat(parts, 1))
    return work.text


def _unconditional(work: Work) -> torch.Tensor:
    return image_attention(work.query[: work.half].index_select(1, work.token_idx), *work.uncond, work.heads)


def _add(work: Work, unconditional: torch.Tensor, conditional: torch.Tensor) -> None:
    work.text[: work.half].index_add_(1, work.token_idx, unconditional, alpha=SCALE)
    work.text[work.half :].index_add_(1, work.token_idx, conditional, alpha=SCALE)


def crop_loop(work: Work) -> torch.Tensor:
    """The paper's loop as written: gather, attend, scatter for each subject and each half, then add."""
    half, parts = work.half, []
    for entries, sets in ((slice(0, half), [work.uncond] * len(work.sets)), (slice(half, None), work.sets)):
        query = work.query[entries]
        merged = torch.zeros_like(query)
        for crop in work.crops:
            merged[:, crop.token_idx] = image_attention(query[:, crop.token_idx], *sets[crop.subject], work.heads)
        parts.append(work.text[entries] + SCALE * merged)
    return torch.cat(parts)


def padded_batch(work: Work) -> torch.Tensor:
    """Regions padded to the largest and batched: one attention, but wasted tokens where boxes differ in size."""
    token_idx, real, longest = work.padded
    half, count = work.half, len(work.crops)
    query = work.query[half:][:, token_idx].unflatten(1, (count, longest)).flatten(0, 1)
    key, value = (split_heads(tensor, work.heads).repeat(half, 1, 1, 1) for tensor in work.stacked)
    image = attend(split_heads(query, work.heads), key, value).transpose(1, 2).flatten(2)
    image = image.unflatten(0, (half, count)).flatten(1, 2)[:, real]
    _add(work, _unconditional(work), image)
    return work.text


def nested(work: Work) -> torch.Tensor:
    """torch's nested tensors: regions of different length in one batch without padding."""
    half = work.half
    image = []
    for entry in range(half, len(work.query)):
        parts = [work.query[entry, crop.token_idx] for crop in work.crops]
        queries = torch.nested.nested_tensor(parts, layout=torch.jagged)
        keys, values = (torch.nested.nested_tensor(list(tensor), layout=torch.jagged) for tensor in work.stacked)
        queries, keys, values = (
            tensor.unflatten(-1, [work.heads, -1]).transpose(1, 2) for tensor in (queries, keys, values)
        )
        image.append(attend(queries, keys, values).transpose(1, 2).flatten(2).values())
    _add(work, _unconditional(work), torch.stack(image))
    return work.text


def masked_sum(work: Work) -> torch.Tensor:
    """As other implementations: every subject attends over the whole image, is masked and added."""
    total = work.text
    for crop in work.crops:
        mask = work.query.new_zeros(work.grid.tokens, 1)
        mask[crop.token_idx] = SCALE
        pairs = work.uncond, work.sets[crop.subject]
        image = [image_attention(query, *pair, work.heads) for query, pair in zip(work.query.chunk(2), pairs)]
        total = total + mask * torch.cat(image)
    return total


def floor(work: Work) -> torch.Tensor:
    """The yardstick: one attention of all owned query tokens over one subject's keys and values."""
    return image_attention(work.query.index_select(1, work.token_idx), *work.sets[0], work.heads)


FORMS: dict[str, Callable[[Work], torch.Tensor]] = {
    "by subject": by_subject,
    "at once": fused,
    "in pieces": in_pieces,
    "sorted by owner": sorted_by_owner,
    "crop loop": crop_loop,
    "padded batch": padded_batch,
    "nested tensors": nested,
    "masked sum": masked_sum,
}
KEPT = ("by subject", "at once")  # in use

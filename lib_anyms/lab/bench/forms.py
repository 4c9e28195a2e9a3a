"""The image stream of one layer in every form that was tried; docs/performance.md says which were kept, and why not the
others.

All take a `Work` and give Z_text + s * Z_image, of rows [unconditional, conditional]; but `floor`, the yardstick: one
attention of all owned rows against one subject's tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from lib_anyms.engine.attention import Crop, KeyValue, crop_and_merge, crops_of, image_attention, one_set, split_heads
from lib_anyms.engine.fused import FusedCrops, fused_crop_and_merge
from lib_anyms.engine.key_values import side_by_side
from lib_anyms.engine.sdpa import attend
from lib_anyms.lab.bench.streams import SCALE
from lib_anyms.layout.geometry import TokenGrid

_CACHED = 2**16  # numbers of one row of the batch: 256 KiB in float32


@dataclass(frozen=True)
class Work:
    """One layer's tensors; query and text (batch, tokens, channels), the first half of the batch unconditional;
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
        """`like` gives device and dtype."""
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
    def whole(self) -> tuple[Crop, ...]:
        """Of unconditional rows."""
        return one_set(self.crops)

    @cached_property
    def rows(self) -> torch.Tensor:
        """Of all crops."""
        return torch.cat([crop.rows for crop in self.crops])

    @cached_property
    def everyone(self) -> KeyValue:
        """By heads, for each row of the batch."""
        key, value = (split_heads(torch.cat(tensors), self.heads) for tensors in zip(*self.sets, self.uncond))
        return key.expand(len(self.query), -1, -1, -1), value.expand(len(self.query), -1, -1, -1)

    @cached_property
    def together(self) -> FusedCrops:
        *places, uncond = side_by_side([len(key) for key, _ in (*self.sets, self.uncond)])
        return FusedCrops.of(self.crops, places, uncond, [False] * self.half + [True] * self.half, self.query)

    @cached_property
    def padded(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Rows of all subjects filled up to the longest, which of them are real, and how long that is."""
        each = [crop.rows for crop in self.crops]
        longest = max(map(len, each))
        rows = torch.cat([torch.cat((rows, rows[:1].expand(longest - len(rows)))) for rows in each])
        real = [torch.arange(len(rows), device=rows.device) + number * longest for number, rows in enumerate(each)]
        return rows, torch.cat(real), longest

    @cached_property
    def stacked(self) -> KeyValue:
        keys, values = zip(*(self.sets[crop.subject] for crop in self.crops))
        return torch.stack(keys), torch.stack(values)


def by_subject(work: Work) -> torch.Tensor:
    """Kept, for CPUs: for each subject gather, attend and add in place, while what was gathered is in the cache."""
    half = work.half
    crop_and_merge(work.text[:half], work.query[:half], [work.uncond], work.whole, work.heads, SCALE)
    crop_and_merge(work.text[half:], work.query[half:], work.sets, work.crops, work.heads, SCALE)
    return work.text


def in_pieces(work: Work) -> torch.Tensor:
    """By subject, and no more rows at a time than a core's cache holds.

    With several threads each piece waits for all of them.
    """
    half, longest = work.half, max(1, _CACHED // work.query.shape[-1])
    nobodys, own = (
        [Crop(crop.subject, rows, crop.weight) for crop in crops for rows in crop.rows.split(longest)]
        for crops in (work.whole, work.crops)
    )
    crop_and_merge(work.text[:half], work.query[:half], [work.uncond], nobodys, work.heads, SCALE)
    crop_and_merge(work.text[half:], work.query[half:], work.sets, own, work.heads, SCALE)
    return work.text


def fused(work: Work) -> torch.Tensor:
    """Kept, for GPUs: one masked attention over the owned rows."""
    return fused_crop_and_merge(work.text, work.query, work.everyone, work.together, work.heads, SCALE)


def sorted_by_owner(work: Work) -> torch.Tensor:
    """Owned rows gathered once, sorted by owner, one attention a subject on its slice and one for the unconditional
    half.
    """
    half = work.half
    query = work.query[half:].index_select(1, work.rows)
    sizes = [len(crop.rows) for crop in work.crops]
    parts = [
        image_attention(own, *work.sets[crop.subject], work.heads)
        for own, crop in zip(query.split(sizes, 1), work.crops)
    ]
    _add(work, _unconditional(work), torch.cat(parts, 1))
    return work.text


def _unconditional(work: Work) -> torch.Tensor:
    return image_attention(work.query[: work.half].index_select(1, work.rows), *work.uncond, work.heads)


def _add(work: Work, unconditional: torch.Tensor, conditional: torch.Tensor) -> None:
    work.text[: work.half].index_add_(1, work.rows, unconditional, alpha=SCALE)
    work.text[work.half :].index_add_(1, work.rows, conditional, alpha=SCALE)


def crop_loop(work: Work) -> torch.Tensor:
    """The paper's loop as it is written: gather, attend, scatter for each subject and each half, then add."""
    half, parts = work.half, []
    for rows, sets in ((slice(0, half), [work.uncond] * len(work.sets)), (slice(half, None), work.sets)):
        query = work.query[rows]
        merged = torch.zeros_like(query)
        for crop in work.crops:
            merged[:, crop.rows] = image_attention(query[:, crop.rows], *sets[crop.subject], work.heads)
        parts.append(work.text[rows] + SCALE * merged)
    return torch.cat(parts)


def padded_batch(work: Work) -> torch.Tensor:
    """Regions filled up to the largest and made a batch: one attention, but rows of nothing where boxes differ in size."""
    rows, real, longest = work.padded
    half, count = work.half, len(work.crops)
    query = work.query[half:][:, rows].unflatten(1, (count, longest)).flatten(0, 1)
    key, value = (split_heads(tensor, work.heads).repeat(half, 1, 1, 1) for tensor in work.stacked)
    image = attend(split_heads(query, work.heads), key, value).transpose(1, 2).flatten(2)
    image = image.unflatten(0, (half, count)).flatten(1, 2)[:, real]
    _add(work, _unconditional(work), image)
    return work.text


def nested(work: Work) -> torch.Tensor:
    """torch's nested tensors: regions of different length as one batch without filling up."""
    half = work.half
    image = []
    for row in range(half, len(work.query)):
        parts = [work.query[row, crop.rows] for crop in work.crops]
        queries = torch.nested.nested_tensor(parts, layout=torch.jagged)
        keys, values = (torch.nested.nested_tensor(list(tensor), layout=torch.jagged) for tensor in work.stacked)
        queries, keys, values = (
            tensor.unflatten(-1, [work.heads, -1]).transpose(1, 2) for tensor in (queries, keys, values)
        )
        image.append(attend(queries, keys, values).transpose(1, 2).flatten(2).values())
    _add(work, _unconditional(work), torch.stack(image))
    return work.text


def masked_sum(work: Work) -> torch.Tensor:
    """What peers do: every subject attends over the whole picture, is masked and added."""
    total = work.text
    for crop in work.crops:
        mask = work.query.new_zeros(work.grid.tokens, 1)
        mask[crop.rows] = SCALE
        pairs = work.uncond, work.sets[crop.subject]
        image = [image_attention(query, *pair, work.heads) for query, pair in zip(work.query.chunk(2), pairs)]
        total = total + mask * torch.cat(image)
    return total


def floor(work: Work) -> torch.Tensor:
    """The yardstick: one attention of all owned rows against one subject's keys and values."""
    return image_attention(work.query.index_select(1, work.rows), *work.sets[0], work.heads)


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
KEPT = ("by subject", "at once")

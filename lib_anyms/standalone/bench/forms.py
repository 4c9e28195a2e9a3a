"""The image stream of one layer in every form that was tried; docs/performance.md says which were kept, and why not the others.

All take a `Work` and give Z_text + s * Z_image, of rows [unconditional, conditional]; but `floor`, the yardstick: one
attention of all owned rows against one subject's tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from lib_anyms.attention import Crop, KeyValue, add_image_stream, crop_and_merge, image_attention, split_heads
from lib_anyms.geometry import TokenGrid
from lib_anyms.ip_adapter.key_values import side_by_side
from lib_anyms.layout import Layout
from lib_anyms.one_call import crop_and_merge_at_once, mask_of
from lib_anyms.softmax import attend
from lib_anyms.standalone.bench.streams import SCALE


@dataclass(frozen=True)
class Work:
    """One layer's tensors; query and text (batch, tokens, channels), the first half of the batch unconditional."""

    query: torch.Tensor
    text: torch.Tensor
    sets: list[KeyValue]
    nobody: KeyValue
    grid: TokenGrid
    layout: Layout
    heads: int

    @classmethod
    def random(cls, layout: Layout, grid: TokenGrid, width: int, heads: int, tokens: int, batch: int, like: torch.Tensor) -> Work:
        """`like` gives device and dtype."""
        make = torch.Generator().manual_seed(0)
        query, text = torch.randn(2, batch, grid.tokens, width, generator=make).to(like)
        *sets, nobody = (
            (key, value) for key, value in torch.randn(len(layout.subjects) + 1, 2, tokens, width, generator=make).to(like)
        )
        return cls(query, text, sets, nobody, grid, layout, heads)

    @property
    def half(self) -> int:
        return len(self.query) // 2

    @cached_property
    def crop(self) -> Crop:
        return Crop.of(self.layout.visible_tokens(self.grid), [1.0] * len(self.sets), self.query)

    @cached_property
    def everyone(self) -> KeyValue:
        keys, values = zip(*self.sets, self.nobody)
        return torch.cat(keys), torch.cat(values)

    @cached_property
    def mask(self) -> torch.Tensor:
        *places, nobody = side_by_side([len(key) for key, _ in (*self.sets, self.nobody)])
        return mask_of(self.crop, places, nobody, [False] * self.half + [True] * self.half, self.query)

    @cached_property
    def padded(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Rows of all subjects filled up to the longest, which of them are real, and how long that is."""
        longest = max(last - first for _, first, last in self.crop.spans)
        each = [self.crop.rows[first:last] for _, first, last in self.crop.spans]
        rows = torch.cat([torch.cat((rows, rows[:1].expand(longest - len(rows)))) for rows in each])
        real = [torch.arange(len(rows), device=rows.device) + number * longest for number, rows in enumerate(each)]
        return rows, torch.cat(real), longest

    @cached_property
    def stacked(self) -> KeyValue:
        keys, values = zip(*(self.sets[number] for number, _, _ in self.crop.spans))
        return torch.stack(keys), torch.stack(values)


def by_subject(work: Work) -> torch.Tensor:
    """Kept, for CPUs: owned rows gathered once, sorted by owner, one attention a subject on its slice."""
    half = work.half
    unconditional = image_attention(work.query[:half].index_select(1, work.crop.rows), *work.nobody, work.heads)
    add_image_stream(work.text[:half], unconditional, work.crop, SCALE)
    add_image_stream(work.text[half:], crop_and_merge(work.query[half:], work.sets, work.crop, work.heads), work.crop, SCALE)
    return work.text


def at_once(work: Work) -> torch.Tensor:
    """Kept, for GPUs: one masked attention over the owned rows."""
    image = crop_and_merge_at_once(work.query, work.everyone, work.mask, work.crop, work.heads)
    return add_image_stream(work.text, image, work.crop, SCALE)


def crop_loop(work: Work) -> torch.Tensor:
    """The paper's loop as it is written: gather, attend, scatter for each subject and each half, then add."""
    half, parts = work.half, []
    for rows, sets in ((slice(0, half), [work.nobody] * len(work.sets)), (slice(half, None), work.sets)):
        query = work.query[rows]
        merged = torch.zeros_like(query)
        for number, first, last in work.crop.spans:
            owned = work.crop.rows[first:last]
            merged[:, owned] = image_attention(query[:, owned], *sets[number], work.heads)
        parts.append(work.text[rows] + SCALE * merged)
    return torch.cat(parts)


def padded_batch(work: Work) -> torch.Tensor:
    """Regions filled up to the largest and made a batch: one attention, but rows of nothing where boxes differ in size."""
    rows, real, longest = work.padded
    half, count = work.half, len(work.crop.spans)
    query = work.query[half:][:, rows].unflatten(1, (count, longest)).flatten(0, 1)
    key, value = (split_heads(tensor, work.heads).repeat(half, 1, 1, 1) for tensor in work.stacked)
    image = attend(split_heads(query, work.heads), key, value).transpose(1, 2).flatten(2)
    image = image.unflatten(0, (half, count)).flatten(1, 2)[:, real]
    unconditional = image_attention(work.query[:half].index_select(1, work.crop.rows), *work.nobody, work.heads)
    add_image_stream(work.text[:half], unconditional, work.crop, SCALE)
    add_image_stream(work.text[half:], image, work.crop, SCALE)
    return work.text


def nested(work: Work) -> torch.Tensor:
    """torch's nested tensors: regions of different length as one batch without filling up."""
    half = work.half
    image = []
    for row in range(half, len(work.query)):
        query = work.query[row, work.crop.rows]
        parts = [query[first:last] for _, first, last in work.crop.spans]
        queries = torch.nested.nested_tensor(parts, layout=torch.jagged)
        keys, values = (torch.nested.nested_tensor(list(tensor), layout=torch.jagged) for tensor in work.stacked)
        queries, keys, values = (tensor.unflatten(-1, [work.heads, -1]).transpose(1, 2) for tensor in (queries, keys, values))
        image.append(attend(queries, keys, values).transpose(1, 2).flatten(2).values())
    unconditional = image_attention(work.query[:half].index_select(1, work.crop.rows), *work.nobody, work.heads)
    add_image_stream(work.text[:half], unconditional, work.crop, SCALE)
    add_image_stream(work.text[half:], torch.stack(image), work.crop, SCALE)
    return work.text


def masked_sum(work: Work) -> torch.Tensor:
    """What peers do: every subject attends over the whole picture, is masked and added."""
    total = work.text
    for number, first, last in work.crop.spans:
        mask = work.query.new_zeros(work.grid.tokens, 1)
        mask[work.crop.rows[first:last]] = SCALE
        image = [
            image_attention(query, *pair, work.heads)
            for query, pair in zip(work.query.chunk(2), (work.nobody, work.sets[number]))
        ]
        total = total + mask * torch.cat(image)
    return total


def floor(work: Work) -> torch.Tensor:
    """The yardstick: one attention of all owned rows against one subject's keys and values."""
    return image_attention(work.query.index_select(1, work.crop.rows), *work.sets[0], work.heads)


FORMS: dict[str, Callable[[Work], torch.Tensor]] = {
    "by subject": by_subject,
    "at once": at_once,
    "crop loop": crop_loop,
    "padded batch": padded_batch,
    "nested tensors": nested,
    "masked sum": masked_sum,
}
KEPT = ("by subject", "at once")

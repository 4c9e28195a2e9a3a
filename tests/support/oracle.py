"""An independent second implementation: an owner map and ONE masked attention over the concatenated image tokens.

It shares no code with the engine: it finds each token's owner from the topmost box down, and rounds with Decimal.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

import torch

from lib_anyms.layout.layout import Layout


def half_up(fraction: float, count: int) -> int:
    exact = Decimal(repr(fraction)) * count + Decimal("0.5")
    return int(exact.to_integral_value(ROUND_FLOOR))


def covers(box, row: int, column: int, height: int, width: int) -> bool:
    def within(low: float, high: float, place: int, count: int) -> bool:
        first, last = half_up(low, count), half_up(high, count)
        if first >= last:
            first = min(count - 1, int((Decimal(repr(low)) + Decimal(repr(high))) / 2 * count))
            last = first + 1
        return first <= place < last

    return within(box.x0, box.x1, column, width) and within(box.y0, box.y1, row, height)


def owners(layout: Layout, height: int, width: int) -> torch.Tensor:
    """(height * width) indices: the topmost subject at each token, or -1."""

    def owner(row: int, column: int) -> int:
        for number in reversed(range(len(layout.subjects))):
            if covers(layout.subjects[number].box, row, column, height, width):
                return number
        return -1

    return torch.tensor([owner(row, column) for row in range(height) for column in range(width)])


def image_stream(query, keys_values, owner: torch.Tensor, weights, heads: int) -> torch.Tensor:
    """Softmax over all subjects' tokens, all but the owner's masked; plain arithmetic, no SDPA.

    query (batch, query tokens, width); keys_values: a pair (tokens, width) for each subject; owner (query tokens,).
    """
    keys = torch.cat([key for key, _ in keys_values])
    values = torch.cat([value for _, value in keys_values])
    subject_of_token = torch.cat([torch.full((len(key),), number) for number, (key, _) in enumerate(keys_values)])
    allowed = owner[:, None] == subject_of_token[None, :]
    owned = owner >= 0

    batch, length, width = query.shape
    depth = width // heads
    q = query.reshape(batch, length, heads, depth).permute(0, 2, 1, 3)
    k = keys.reshape(-1, heads, depth).permute(1, 0, 2)
    v = values.reshape(-1, heads, depth).permute(1, 0, 2)
    scores = torch.einsum("bhnd,htd->bhnt", q, k) / depth**0.5
    scores = scores.masked_fill(~allowed & owned[:, None], float("-inf"))
    mixed = torch.einsum("bhnt,htd->bhnd", scores.softmax(-1), v)
    mixed = mixed.permute(0, 2, 1, 3).reshape(batch, length, width)
    weight = torch.tensor([*weights, 0.0], dtype=query.dtype)[owner]
    return mixed * weight[None, :, None]

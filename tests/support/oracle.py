"""An independent second implementation: an owner map and ONE masked attention over the concatenated image tokens.

It shares no code with the engine: it finds each token's owner from the topmost box down, and rounds with Decimal.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from math import ceil, floor

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


def white_subjects(layout: Layout, height: int, width: int) -> list[set[int]]:
    """At each token the subjects without a silhouette, and those whose silhouette is white there by half at least."""
    result = []
    for place in range(height * width):
        numbers: set[int] = set()
        for number, subject in enumerate(layout.subjects):
            mask = subject.silhouette
            if mask is None or white_share(mask, *cell(place, height, width)) >= Fraction(1, 2):
                numbers.add(number)
        result.append(numbers)
    return result


def cell(place: int, height: int, width: int) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Left, top, right and bottom of a token, in fractions of the image."""
    row, column = divmod(place, width)
    return Fraction(column, width), Fraction(row, height), Fraction(column + 1, width), Fraction(row + 1, height)


def white_share(mask, x0: Fraction, y0: Fraction, x1: Fraction, y1: Fraction) -> Fraction:
    """The white share of a part of the mask, in exact arithmetic."""
    total = Fraction(0)
    for row in range(floor(y0 * mask.height), ceil(y1 * mask.height)):
        for column in range(floor(x0 * mask.width), ceil(x1 * mask.width)):
            across = min(x1, Fraction(column + 1, mask.width)) - max(x0, Fraction(column, mask.width))
            down = min(y1, Fraction(row + 1, mask.height)) - max(y0, Fraction(row, mask.height))
            total += across * down if mask.pixels[row * mask.width + column] else 0
    return total / ((x1 - x0) * (y1 - y0))


def owners(layout: Layout, height: int, width: int) -> torch.Tensor:
    """(height * width) indices: the topmost subject at each token, or -1."""
    white = white_subjects(layout, height, width)

    def owner(row: int, column: int) -> int:
        for number in reversed(range(len(layout.subjects))):
            inside = covers(layout.subjects[number].box, row, column, height, width)
            if inside and number in white[row * width + column]:
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

"""`crop_and_merge` of all rows of a UNet call in ONE attention: as many launches for twelve subjects as for one.

All subjects' keys stand side by side, those of nobody with them, and a mask leaves each row its own. That is S + 1 times the
arithmetic, of something below a thousandth of a step; a GPU does that while it waits for the next launch. A CPU does not:
there `attention.crop_and_merge` runs, subject by subject.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib_anyms.attention import Crop, KeyValue, split_heads
from lib_anyms.softmax import attend

_ALIGNED = 16  # fused attention copies a mask whose rows do not lie on such a multiple


def pays(device: torch.device) -> bool:
    """Whether launches cost more there than arithmetic."""
    return device.type != "cpu"


def mask_of(
    crop: Crop, places: Sequence[tuple[int, int]], nobody: tuple[int, int] | None, is_cond: Sequence[bool], like: torch.Tensor
) -> torch.Tensor:
    """What is added to the scores, 0 or -inf: (batch, 1, owned, tokens), on `like`'s device and in its dtype.

    places: (first, last) of each subject's tokens among all; nobody: of the unconditional ones, the last; is_cond: of each row
    of the batch.
    """
    tokens = max(last for _, last in (*places, *([nobody] if nobody else [])))
    owned = len(crop.rows)
    whole = torch.full((len(is_cond), 1, owned, -(-tokens // _ALIGNED) * _ALIGNED), float("-inf"))
    for row, conditional in enumerate(is_cond):
        for number, first, last in crop.spans:
            place = places[number] if conditional or nobody is None else nobody
            whole[row, :, first:last, slice(*place)] = 0
    return whole.to(like)[..., :tokens]


def crop_and_merge_at_once(query: torch.Tensor, everyone: KeyValue, mask: torch.Tensor, crop: Crop, heads: int) -> torch.Tensor:
    """As `attention.crop_and_merge`, of conditional and unconditional rows alike -> (batch, owned, channels).

    query: (batch, tokens, channels); everyone: all keys and all values, (all image tokens, channels); mask: of `mask_of`.
    """
    key, value = (split_heads(tensor, heads).expand(query.shape[0], -1, -1, -1) for tensor in everyone)
    return attend(split_heads(query.index_select(1, crop.rows), heads), key, value, mask).transpose(1, 2).flatten(2)

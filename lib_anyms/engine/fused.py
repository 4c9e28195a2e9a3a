"""`crop_and_merge` of all rows of a UNet call in ONE attention: as many launches for twelve subjects as for one.

All subjects' keys stand side by side, the unconditional ones with them, and a mask leaves each row its own. That is S +
1 times the arithmetic, of something below a thousandth of a step; a GPU does that while it waits for the next launch. A
CPU does not: there `attention.crop_and_merge` runs, subject by subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lib_anyms.engine.attention import Crop, KeyValue, split_heads
from lib_anyms.engine.sdpa import attend

_ALIGNED = 16  # fused attention copies a mask whose rows do not lie on such a multiple


def is_launch_bound(device: torch.device) -> bool:
    """Whether launches cost more there than arithmetic."""
    return device.type != "cpu"


@dataclass(frozen=True)
class FusedCrops:
    """All crops of a feature map as one, for calls of one kind: made once, used by every layer and step.

    rows: (owned,) token numbers, one subject's after another's; weight: the largest w_j; shares: (owned, 1), what of it
    each row's subject has, None if all have it; mask: what is added to the scores, 0 or -inf, (batch, 1, owned, all
    image tokens).
    """

    rows: torch.Tensor
    weight: float
    shares: torch.Tensor | None
    mask: torch.Tensor

    @classmethod
    def of(
        cls,
        crops: Sequence[Crop],
        places: Sequence[tuple[int, int]],
        uncond: tuple[int, int] | None,
        is_cond: Sequence[bool],
        like: torch.Tensor,
    ) -> FusedCrops:
        """places: (first, last) of each subject's tokens among all; uncond: of the unconditional ones, the last;
        is_cond: of each row of the batch. At least one crop. On `like`'s device and in its dtype.
        """
        weight = max(crop.weight for crop in crops)
        shares = torch.cat(
            [torch.full((len(crop.rows), 1), crop.weight / weight, dtype=torch.float64) for crop in crops]
        )
        alike = all(crop.weight == weight for crop in crops)
        rows = torch.cat([crop.rows for crop in crops])
        return cls(rows, weight, None if alike else shares.to(like), _mask(crops, places, uncond, is_cond, like))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What it keeps."""
        return [tensor for tensor in (self.rows, self.shares, self.mask) if tensor is not None]


def _mask(
    crops: Sequence[Crop],
    places: Sequence[tuple[int, int]],
    uncond: tuple[int, int] | None,
    is_cond: Sequence[bool],
    like: torch.Tensor,
) -> torch.Tensor:
    tokens = max(last for _, last in (*places, uncond or (0, 0)))
    owned = sum(len(crop.rows) for crop in crops)
    mask = torch.full((len(is_cond), 1, owned, -(-tokens // _ALIGNED) * _ALIGNED), float("-inf"))
    for row, conditional in enumerate(is_cond):
        first = 0
        for crop in crops:
            last = first + len(crop.rows)
            place = places[crop.subject] if conditional or uncond is None else uncond
            mask[row, :, first:last, slice(*place)] = 0
            first = last
    return mask.to(like)[..., :tokens]


def fused_crop_and_merge(
    text: torch.Tensor, query: torch.Tensor, everyone: KeyValue, together: FusedCrops, heads: int, scale: float
) -> torch.Tensor:
    """As `attention.crop_and_merge`, of conditional and unconditional rows alike, in place.

    text, query: (batch, tokens, channels); everyone: all keys and all values by heads, (batch, heads, all image tokens,
    ...).
    """
    own = split_heads(query.index_select(1, together.rows), heads)
    image = attend(own, *everyone, together.mask).transpose(1, 2).flatten(2)
    if together.shares is not None:
        image = image * together.shares
    return text.index_add_(1, together.rows, image.to(text.dtype), alpha=scale * together.weight)

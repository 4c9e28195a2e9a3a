"""`crop_and_merge` of a whole UNet call in ONE masked attention: twelve subjects take as many launches as one.

The keys of all subjects and of the unconditional set stand side by side. A mask lets each query token attend to its own
set only. With S subjects that is S + 1 times the arithmetic, of less than a thousandth of a step. A GPU does it while
it waits for the next launch. A CPU does not, so there `attention.crop_and_merge` runs, subject by subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lib_anyms.engine.attention import Crop, KeyValue, split_heads
from lib_anyms.engine.key_values import TokenSpan
from lib_anyms.engine.sdpa import attend

_ALIGNMENT = 16  # fused attention copies a mask whose rows do not start at such a multiple


def is_launch_bound(device: torch.device) -> bool:
    """Whether a kernel launch costs more than its arithmetic on `device`."""
    return device.type != "cpu"


@dataclass(frozen=True)
class FusedCrops:
    """All crops of a feature map in one. Every layer and step with the same kinds of batch entries shares it.

    token_idx: (owned,) token numbers, one subject after another; weight: the largest w_j;
    relative_weights: (owned, 1), w_j / weight of each token's subject, None if all are 1;
    mask: 0 or -inf, added to the scores, (batch, 1, owned, all image tokens); batch 1 serves any number of entries.
    """

    token_idx: torch.Tensor
    weight: float
    relative_weights: torch.Tensor | None
    mask: torch.Tensor

    @classmethod
    def of(
        cls,
        crops: Sequence[Crop],
        spans: Sequence[TokenSpan],
        uncond: TokenSpan | None,
        is_cond: Sequence[bool],
        like: torch.Tensor,
    ) -> FusedCrops:
        """At least one crop, on the device and in the dtype of `like`.

        spans: image tokens of each subject; uncond: of the unconditional set, None where every entry is conditional;
        is_cond: of each batch entry; of one, where all are of that kind.
        """
        entry_spans: list[Sequence[TokenSpan]] = []
        for conditional in is_cond:
            entry_spans.append(spans if conditional or uncond is None else [uncond] * len(spans))
        return cls.of_entries(crops, entry_spans, max(last for _, last in (*spans, uncond or (0, 0))), like)

    @classmethod
    def of_entries(
        cls, crops: Sequence[Crop], entry_spans: Sequence[Sequence[TokenSpan]], tokens: int, like: torch.Tensor
    ) -> FusedCrops:
        """The same, with the spans of each subject for each batch entry. An empty span attends to all `tokens`."""
        weight = max(crop.weight for crop in crops)
        relative = None
        if any(crop.weight != weight for crop in crops):
            parts = [torch.full((len(crop.token_idx), 1), crop.weight / weight, dtype=torch.float64) for crop in crops]
            relative = torch.cat(parts).to(like)
        token_idx = torch.cat([crop.token_idx for crop in crops])
        return cls(token_idx, weight, relative, _mask(crops, entry_spans, tokens, like))

    def of_entry(self, entry: int) -> FusedCrops:
        """For any number of entries of the kind that `entry` has: a view."""
        return replace(self, mask=self.mask[entry : entry + 1])

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors it holds."""
        return [tensor for tensor in (self.token_idx, self.relative_weights, self.mask) if tensor is not None]


def _mask(
    crops: Sequence[Crop], entry_spans: Sequence[Sequence[TokenSpan]], tokens: int, like: torch.Tensor
) -> torch.Tensor:
    owned = sum(len(crop.token_idx) for crop in crops)
    aligned = -(-tokens // _ALIGNMENT) * _ALIGNMENT
    mask = torch.full((len(entry_spans), 1, owned, aligned), float("-inf"))
    for entry, spans in enumerate(entry_spans):
        first = 0
        for crop in crops:
            last = first + len(crop.token_idx)
            start, end = spans[crop.subject]
            mask[entry, :, first:last, slice(start, end) if start < end else slice(None)] = 0
            first = last
    return mask.to(like)[..., :tokens]  # a view: its rows keep their aligned starts


def fused_crop_and_merge(
    text: torch.Tensor, query: torch.Tensor, sets: KeyValue, crops: FusedCrops, heads: int, scale: float
) -> torch.Tensor:
    """`attention.crop_and_merge` of conditional and unconditional batch entries alike, in place.

    text, query: (batch, tokens, channels); sets: keys and values of all sets by heads, (batch, heads, tokens, ...).
    """
    image = _fused_attention(query, sets, crops, heads)
    if crops.relative_weights is not None:
        image = image * crops.relative_weights
    return text.index_add_(1, crops.token_idx, image.to(text.dtype), alpha=scale * crops.weight)


def fused_localise_text(
    text: torch.Tensor, query: torch.Tensor, sets: KeyValue, crops: FusedCrops, heads: int, share: float | torch.Tensor
) -> torch.Tensor:
    """`attention.localise_text` of all crops in one attention, in place. Arguments as `fused_crop_and_merge`.

    share: u, or a u for each batch entry and owned token, (batch, owned, 1).
    """
    local = _fused_attention(query, sets, crops, heads)
    host = text.index_select(1, crops.token_idx)
    return text.index_copy_(1, crops.token_idx, torch.lerp(host, local.to(text.dtype), share))


def _fused_attention(query: torch.Tensor, sets: KeyValue, crops: FusedCrops, heads: int) -> torch.Tensor:
    """Each owned token attends to its own set: (batch, owned, channels)."""
    cropped = split_heads(query.index_select(1, crops.token_idx), heads)
    return attend(cropped, *sets, crops.mask).transpose(1, 2).flatten(2)

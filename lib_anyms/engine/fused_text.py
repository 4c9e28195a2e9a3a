"""`attention.localise_text` of a whole UNet call in ONE masked attention, of conditional and unconditional entries.

The texts of both kinds stand side by side, as the image tokens do in fused.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lib_anyms.engine.attention import Crop, KeyValue
from lib_anyms.engine.fused import FusedCrops, fused_localise_text
from lib_anyms.engine.key_values import TokenSpan

Spans = Sequence[TokenSpan]  # the text tokens of each crop number, empty without a text


@dataclass(frozen=True)
class FusedText:
    """All crops of a feature map in one. Every layer and step with the same kinds of batch entries shares it.

    share: u, or a u for each batch entry and owned token, (batch, owned, 1): 0 where the host's text stays.
    """

    crops: FusedCrops
    share: float | torch.Tensor

    @classmethod
    def of(
        cls, owned: Sequence[Crop], entry_spans: Sequence[Spans], tokens: int, share: float, like: torch.Tensor
    ) -> FusedText:
        """At least one crop, on the device and in the dtype of `like`.

        entry_spans: of each batch entry, in the `tokens` of all texts; share: u.
        """
        crops = [crop for crop in owned if any(_length(spans, crop) for spans in entry_spans)] or [*owned]
        fused = FusedCrops.of_entries(crops, entry_spans, tokens, like)
        shares = torch.stack([_shares(crops, spans, share) for spans in entry_spans])
        return cls(fused, shares.to(like) if (shares == 0).any() else share)

    def apply(self, text: torch.Tensor, query: torch.Tensor, keys_values: KeyValue, heads: int) -> None:
        """Make `text` local in place. keys_values: of all texts by heads, both (heads, text tokens, channels)."""
        shape = len(query), -1, -1, -1
        key, value = (tensor.expand(shape) for tensor in keys_values)
        fused_localise_text(text, query, (key, value), self.crops, heads, self.share)


def _shares(crops: Sequence[Crop], spans: Spans, share: float) -> torch.Tensor:
    """Of one batch entry: (owned, 1)."""
    parts = []
    for crop in crops:
        parts.append(torch.full((len(crop.token_idx), 1), share if _length(spans, crop) else 0.0))
    return torch.cat(parts)


def _length(spans: Spans, crop: Crop) -> int:
    first, last = spans[crop.subject]
    return last - first

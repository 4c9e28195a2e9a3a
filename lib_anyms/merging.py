"""Z_text + s * Z_image of one layer in one UNet call, by the mode and in the form that is quickest on the device.

crop-merge: `attention.crop_and_merge`, subject by subject, or `one_call.crop_and_merge_at_once`. The other modes are what it is
compared with. What does not depend on the layer or the step is made once and kept: crops, masks, the boxes of other modes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from lib_anyms.ablations import MERGES
from lib_anyms.attention import Crop, add_image_stream, crop_and_merge, image_attention
from lib_anyms.geometry import TokenGrid
from lib_anyms.influence import Influence
from lib_anyms.ip_adapter.key_values import KeyValues
from lib_anyms.layer_map import Layer
from lib_anyms.layout import Layout
from lib_anyms.one_call import crop_and_merge_at_once, mask_of, pays
from lib_anyms.rows import RowMap

_Weights = tuple[float, ...]
_Place = tuple[TokenGrid, torch.device]


class Merging:
    """The image stream of one layout, apart from the UNet it hangs on."""

    def __init__(self, layout: Layout, keys_values: KeyValues, scale: float, mode: str, layers: Iterable[Layer]) -> None:
        self.layout = layout
        self.influence: Influence | None = None  # records where it acts, for a job that asked
        self.grids: set[TokenGrid] = set()  # it has merged on
        self._keys_values = keys_values
        self._scale = scale
        self._mode = mode
        self._sees = {layer.number: tuple(layer.sees(subject.blocks) for subject in layout.subjects) for layer in layers}
        self._weights: dict[tuple[bool, ...], _Weights] = {}  # w_j in this call, by which subjects a layer sees; () if nobody
        self._strengths: _Weights = ()
        self._crops: dict[tuple[_Place, _Weights, torch.dtype], Crop] = {}
        self._masks: dict[tuple[_Place, _Weights, tuple[bool, ...], torch.dtype], torch.Tensor] = {}
        self._boxes: dict[_Place, list[torch.Tensor]] = {}

    def begin_call(self, progress: float) -> None:
        """A UNet call at this share of the steps, 0..1."""
        strengths = tuple(subject.strength(progress) for subject in self.layout.subjects)
        if strengths == self._strengths:
            return
        self._strengths = strengths
        self._crops.clear()  # what was made for other weights is not needed again
        self._masks.clear()
        for seen in set(self._sees.values()):
            weights = tuple(weight if sees else 0.0 for weight, sees in zip(strengths, seen))
            self._weights[seen] = weights if self._scale and any(weights) else ()

    def acts_on(self, layer: Layer) -> bool:
        """Whether any subject has an image stream in this layer and call."""
        return bool(self._weights[self._sees[layer.number]])

    @property
    def bytes(self) -> int:
        """Of memory: keys and values, and what is kept beside them."""
        crops = [tensor for crop in self._crops.values() for tensor in (crop.rows, crop.shares) if tensor is not None]
        kept = [*crops, *self._masks.values(), *(rows for boxes in self._boxes.values() for rows in boxes)]
        return self._keys_values.bytes + sum(tensor.untyped_storage().nbytes() for tensor in kept)

    def add(self, layer: Layer, grid: TokenGrid, query: torch.Tensor, text: torch.Tensor, rows: RowMap) -> torch.Tensor:
        """Z_text + s * Z_image, (batch, tokens, channels), in place where `text` can be written to."""
        weights = self._weights[self._sees[layer.number]]
        self.grids.add(grid)
        text = text.contiguous()
        before = text.clone() if self.influence is not None else None
        if self._mode != "crop-merge":
            self._add_compared(layer, grid, query, text, rows, weights)
        elif pays(query.device):
            self._add_at_once(layer, grid, query, text, rows, weights)
        else:
            self._add_by_subject(layer, grid, query, text, rows, weights)
        if self.influence is not None and before is not None:
            for part, is_cond in rows.runs:
                if is_cond:
                    self.influence.see(grid, before[part], text[part] - before[part], 1.0)
        return text

    def _add_by_subject(
        self, layer: Layer, grid: TokenGrid, query: torch.Tensor, text: torch.Tensor, rows: RowMap, weights: _Weights
    ) -> None:
        crop = self._crop(grid, weights, query)
        for part, is_cond in rows.runs if crop.spans else ():
            if is_cond:
                sets = self._keys_values.of(layer.number, True, query) or []
                image = crop_and_merge(query[part], sets, crop, layer.heads)
            else:
                nobody = self._keys_values.of_nobody(layer.number, query)
                if nobody is None:
                    continue
                owned = query[part].index_select(1, crop.rows)
                image = image_attention(owned, *nobody, layer.heads)  # one set, whoever owns the row
            add_image_stream(text[part], image, crop, self._scale)

    def _add_at_once(
        self, layer: Layer, grid: TokenGrid, query: torch.Tensor, text: torch.Tensor, rows: RowMap, weights: _Weights
    ) -> None:
        crop = self._crop(grid, weights, query)
        everyone = self._keys_values.everyone(layer.number, query)
        whole = ((slice(None), True),)  # conditional and unconditional rows differ in the mask only
        for part, is_cond in whole if self._keys_values.nobody else rows.runs:
            if is_cond and crop.spans:
                mask = self._mask(grid, weights, rows.is_cond[part], crop, query)
                image = crop_and_merge_at_once(query[part], everyone, mask, crop, layer.heads)
                add_image_stream(text[part], image, crop, self._scale)

    def _add_compared(
        self, layer: Layer, grid: TokenGrid, query: torch.Tensor, text: torch.Tensor, rows: RowMap, weights: _Weights
    ) -> None:
        boxes = self._boxes_on(grid, query.device)
        for part, is_cond in rows.runs:
            sets = self._keys_values.of(layer.number, is_cond, query)
            if sets is not None:
                image = MERGES[self._mode](query[part], sets, boxes, weights, layer.heads)
                text[part].add_(image.to(text.dtype), alpha=self._scale)

    # -- made once --------------------------------------------------------------------------------------------------------

    def _crop(self, grid: TokenGrid, weights: _Weights, like: torch.Tensor) -> Crop:
        key = (grid, like.device), weights, like.dtype
        if key not in self._crops:
            self._crops[key] = Crop.of(self.layout.visible_tokens(grid), weights, like)
        return self._crops[key]

    def _mask(
        self, grid: TokenGrid, weights: _Weights, is_cond: tuple[bool, ...], crop: Crop, like: torch.Tensor
    ) -> torch.Tensor:
        key = (grid, like.device), weights, is_cond, like.dtype
        if key not in self._masks:
            self._masks[key] = mask_of(crop, self._keys_values.places, self._keys_values.nobody, is_cond, like)
        return self._masks[key]

    def _boxes_on(self, grid: TokenGrid, device: torch.device) -> list[torch.Tensor]:
        """Each subject's token numbers, of its whole box."""
        key = grid, device
        if key not in self._boxes:
            self._boxes[key] = [
                torch.tensor(numbers, dtype=torch.long, device=device) for numbers in self.layout.box_tokens(grid)
            ]
        return self._boxes[key]

"""Z_text + s * Z_image of one layer in one UNet call, by the mode and in the form that is quickest on the device.

crop-merge: `attention.crop_and_merge`, subject by subject, or `one_call.fused_crop_and_merge`. The other modes are what
it is compared with. What does not depend on the layer or the step is made once and kept: crops, masks, the boxes of
other modes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from lib_anyms.engine.ablations import MERGES
from lib_anyms.engine.attention import Crop, crop_and_merge, crops_of, one_set
from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.fused import FusedCrops, fused_crop_and_merge, is_launch_bound
from lib_anyms.engine.influence import Influence
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import Layer
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout

_Weights = tuple[float, ...]
_Key = tuple[TokenGrid, CondMap, _Weights, torch.dtype, torch.device]


@dataclass(frozen=True)
class _Part:
    """What all layers of one feature map do with neighbouring rows of the batch, `rows`; None: with all of them.

    crops: for one attention each; together: for one of all, where that pays.
    """

    rows: slice | None
    is_cond: bool
    crops: tuple[Crop, ...]
    together: FusedCrops | None = None

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Its rows of a batch."""
        return tensor if self.rows is None else tensor[self.rows]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What it keeps."""
        return [*(crop.rows for crop in self.crops), *(self.together.tensors if self.together is not None else ())]


_Plan = tuple[_Part, ...]


class RegionMerge:
    """The image stream of one layout, apart from the UNet it hangs on."""

    def __init__(
        self, layout: Layout, keys_values: KeyValues, scale: float, mode: str, layers: Iterable[Layer]
    ) -> None:
        self.layout = layout
        self.influence: Influence | None = None  # records where it acts, for a job that asked
        self.grids: set[TokenGrid] = set()  # it has merged on
        self.fused: bool | None = None  # which form; None: what pays on the device
        self._keys_values = keys_values
        self._scale = scale
        self._mode = mode
        self._sees = {
            layer.number: tuple(layer.sees(subject.blocks) for subject in layout.subjects) for layer in layers
        }
        self._weights: dict[
            tuple[bool, ...], _Weights
        ] = {}  # w_j in this call, by which subjects a layer sees; () if nobody
        self._strengths: _Weights = ()
        self._plans: dict[_Key, _Plan] = {}
        self._last: tuple[_Key, _Plan] | None = None
        self._boxes: dict[tuple[TokenGrid, torch.device], list[torch.Tensor]] = {}

    def begin_call(self, progress: float) -> None:
        """A UNet call at this share of the steps, 0..1."""
        strengths = tuple(subject.strength(progress) for subject in self.layout.subjects)
        if strengths == self._strengths:
            return
        self._strengths = strengths
        self._plans.clear()  # what was made for other weights is not needed again
        self._last = None
        for seen in set(self._sees.values()):
            weights = tuple(weight if sees else 0.0 for weight, sees in zip(strengths, seen))
            self._weights[seen] = weights if self._scale and any(weights) else ()

    def acts_on(self, layer: Layer) -> bool:
        """Whether any subject has an image stream in this layer and call."""
        return bool(self._weights[self._sees[layer.number]])

    @property
    def bytes(self) -> int:
        """Of memory: keys and values, and what is kept beside them."""
        plans = [tensor for plan in self._plans.values() for part in plan for tensor in part.tensors]
        kept = [*plans, *(rows for boxes in self._boxes.values() for rows in boxes)]
        return self._keys_values.bytes + sum(tensor.untyped_storage().nbytes() for tensor in kept)

    def add(
        self, layer: Layer, grid: TokenGrid, query: torch.Tensor, text: torch.Tensor, rows: CondMap
    ) -> torch.Tensor:
        """Z_text + s * Z_image, (batch, tokens, channels), in place where `text` can be written to."""
        weights = self._weights[self._sees[layer.number]]
        self.grids.add(grid)
        text = text.contiguous()
        before = text.clone() if self.influence is not None else None
        if self._mode == "crop-merge":
            self._add_cropped(layer, query, text, self._plan((grid, rows, weights, query.dtype, query.device), query))
        else:
            self._add_compared(layer, grid, query, text, rows, weights)
        if self.influence is not None and before is not None:
            for part, is_cond in rows.runs:
                if is_cond:
                    self.influence.see(grid, before[part], text[part] - before[part], 1.0)
        return text

    def _add_cropped(self, layer: Layer, query: torch.Tensor, text: torch.Tensor, plan: _Plan) -> None:
        for part in plan:
            own = part.of(query)
            if part.together is not None:
                everyone = self._keys_values.by_heads(layer.number, layer.heads, own)
                fused_crop_and_merge(part.of(text), own, everyone, part.together, layer.heads, self._scale)
            else:
                sets = self._keys_values.of(layer.number, part.is_cond, own) or []
                crop_and_merge(part.of(text), own, sets, part.crops, layer.heads, self._scale)

    def _add_compared(
        self, layer: Layer, grid: TokenGrid, query: torch.Tensor, text: torch.Tensor, rows: CondMap, weights: _Weights
    ) -> None:
        boxes = self._boxes_on(grid, query.device)
        for part, is_cond in rows.runs:
            sets = self._keys_values.of(layer.number, is_cond, query)
            if sets is not None:
                image = MERGES[self._mode](query[part], sets, boxes, weights, layer.heads)
                text[part].add_(image.to(text.dtype), alpha=self._scale)

    # -- made once -----------------------------------------------------------------------------------------------------

    def _plan(self, key: _Key, like: torch.Tensor) -> _Plan:
        if self._last is not None and self._last[0] == key:  # as the layer before: nothing to hash
            return self._last[1]
        if key not in self._plans:
            self._plans[key] = self._make_plan(key, like)
        self._last = key, self._plans[key]
        return self._plans[key]

    def _make_plan(self, key: _Key, like: torch.Tensor) -> _Plan:
        grid, rows, weights, _, device = key
        crops = crops_of(self.layout.visible_tokens(grid), weights, device)
        places, uncond = self._keys_values.places, self._keys_values.uncond
        if not crops:
            return ()
        if not (is_launch_bound(device) if self.fused is None else self.fused):
            parts = [(part, is_cond) for part, is_cond in rows.runs if is_cond or uncond]
            return tuple(_Part(part, is_cond, crops if is_cond else one_set(crops)) for part, is_cond in parts)
        if uncond:  # conditional and unconditional rows differ in the mask only
            return (_Part(None, True, (), FusedCrops.of(crops, places, uncond, rows.is_cond, like)),)
        conds = [part for part, is_cond in rows.runs if is_cond]
        return tuple(
            _Part(part, True, (), FusedCrops.of(crops, places, None, rows.is_cond[part], like)) for part in conds
        )

    def _boxes_on(self, grid: TokenGrid, device: torch.device) -> list[torch.Tensor]:
        """Each subject's token numbers, of its whole box."""
        key = grid, device
        if key not in self._boxes:
            self._boxes[key] = [
                torch.tensor(numbers, dtype=torch.long, device=device) for numbers in self.layout.box_tokens(grid)
            ]
        return self._boxes[key]

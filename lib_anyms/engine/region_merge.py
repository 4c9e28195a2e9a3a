"""Z_text + s * Z_image of one layer in one UNet call, for each mode, in the fastest form for the device.

crop-merge: `attention.crop_and_merge`, subject by subject, or `fused.fused_crop_and_merge`. The other modes are
comparisons (ablations.py). Crops, masks and boxes do not depend on the layer or the step, so they are cached.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from lib_anyms.engine.ablations import MERGE_FUNCTIONS
from lib_anyms.engine.attention import Crop, crop_and_merge, crops_of, merged_by_weight
from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.fused import FusedCrops, fused_crop_and_merge, is_launch_bound
from lib_anyms.engine.influence import Influence
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import Layer
from lib_anyms.engine.local_text import LocalText
from lib_anyms.engine.sdpa import MASKED, fits
from lib_anyms.layout.fade import CONSTANT, Fade
from lib_anyms.layout.geometry import WHOLE, TokenGrid, Viewport
from lib_anyms.layout.layout import Layout

_Weights = tuple[float, ...]
_Key = tuple[TokenGrid, Viewport, CondMap, _Weights, torch.dtype, torch.device]
_MOST_PLANS = 128  # windows may have another place in every step


@dataclass(frozen=True)
class _Part:
    """What every layer of one size does with the batch entries `entries` (None: all).

    crops: one attention each; fused: or one attention for all, on devices where launches cost more than arithmetic.
    """

    entries: slice | None
    is_cond: bool
    crops: tuple[Crop, ...]
    fused: FusedCrops | None = None

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Its entries of a batch: a view."""
        return tensor if self.entries is None else tensor[self.entries]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors it holds."""
        held = [crop.token_idx for crop in self.crops]
        if self.fused is not None:
            held += self.fused.tensors
        return held


_Plan = tuple[_Part, ...]


class RegionMerge:
    """The image stream of one layout, apart from the UNet it is attached to."""

    def __init__(
        self,
        layout: Layout,
        keys_values: KeyValues,
        scale: float,
        mode: str,
        layers: Iterable[Layer],
        influence: Influence | None = None,
        local_text: LocalText | None = None,
        fade: Fade = CONSTANT,
    ) -> None:
        self.layout = layout
        self.local_text = local_text
        self.influence = influence  # records where the stream acts, for a job that requests it
        self.grids: set[TokenGrid] = set()  # where it has merged
        self.use_fused: bool | None = None  # None: by the device
        self._keys_values = keys_values
        self._scale = scale
        self.fade = fade
        self._mode = mode
        self._sees: dict[int, tuple[bool, ...]] = {}  # by layer number: which subjects act in it
        for layer in layers:
            self._sees[layer.number] = tuple(layer.sees(subject.blocks) for subject in layout.subjects)
        # w_j in this call by which subjects a layer sees; () if none acts
        self._weights: dict[tuple[bool, ...], _Weights] = {}
        self._strengths: _Weights = ()
        self._plans: dict[_Key, _Plan] = {}
        self._last: tuple[_Key, _Plan] | None = None
        self._boxes: dict[tuple[TokenGrid, Viewport, torch.device], list[torch.Tensor]] = {}

    def begin_call(self, progress: float) -> None:
        """Set the weights for a UNet call at `progress`, the share of the steps done, 0..1."""
        strengths = tuple(subject.strength(progress) for subject in self.layout.subjects)
        if self.local_text is not None:
            self.local_text.begin_call(strengths)
        strengths = tuple(strength * self.fade.at(progress) for strength in strengths)
        if strengths == self._strengths:
            return
        self._strengths = strengths
        self._plans.clear()  # plans of other weights are not needed again
        self._last = None
        for seen in set(self._sees.values()):
            weights = tuple(weight if sees else 0.0 for weight, sees in zip(strengths, seen))
            self._weights[seen] = weights if self._scale and any(weights) else ()

    def acts_on(self, layer: Layer) -> bool:
        """Whether any subject has an image stream or a prompt in this layer and call."""
        return self.local_text is not None or bool(self._weights[self._sees[layer.number]])

    @property
    def bytes(self) -> int:
        """Memory of keys, values and caches."""
        tensors: list[torch.Tensor] = []
        for boxes in self._boxes.values():
            tensors += boxes
        for plan in self._plans.values():
            for part in plan:
                tensors += part.tensors
        texts = self.local_text.bytes if self.local_text is not None else 0
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
        return self._keys_values.bytes + texts + sum(storages.values())

    def add(
        self,
        layer: Layer,
        grid: TokenGrid,
        query: torch.Tensor,
        text: torch.Tensor,
        conds: CondMap,
        foreign_text: bool = False,
        window: Viewport = WHOLE,
    ) -> torch.Tensor:
        """Z_text + s * Z_image, (batch, tokens, channels), in place where `text` can be written to.

        foreign_text: another extension has made the text of this layer local. Then ours stays out. window: the part of
        the layout's image that these entries show.
        """
        weights = self._weights[self._sees[layer.number]]
        if window == WHOLE:
            self.grids.add(grid)
        text = text.contiguous()
        if self.local_text is not None and not foreign_text:
            self.local_text.apply(layer, grid, query, text, conds, self._is_fused(query, layer.heads), window)
        if not weights:
            return text
        before = text.clone() if self.influence is not None and window == WHOLE else None
        if self._mode == "crop-merge":
            key = grid, window, conds, weights, query.dtype, query.device
            self._add_cropped(layer, query, text, self._plan(key, query, layer.heads))
        else:
            self._add_compared(layer, self._boxes_on(grid, window, query.device), query, text, conds, weights)
        if self.influence is not None and before is not None:
            for entries, is_cond in conds.runs:
                if is_cond:
                    self.influence.see(grid, before[entries], text[entries] - before[entries], 1.0)
        return text

    def _add_cropped(self, layer: Layer, query: torch.Tensor, text: torch.Tensor, plan: _Plan) -> None:
        for part in plan:
            queries = part.of(query)
            if part.fused is not None:
                sets = self._keys_values.by_heads(layer.number, layer.heads, queries)
                fused_crop_and_merge(part.of(text), queries, sets, part.fused, layer.heads, self._scale)
            else:
                keys_values = self._keys_values.of(layer.number, part.is_cond, queries) or []
                crop_and_merge(part.of(text), queries, keys_values, part.crops, layer.heads, self._scale)

    def _add_compared(
        self,
        layer: Layer,
        boxes: list[torch.Tensor],
        query: torch.Tensor,
        text: torch.Tensor,
        conds: CondMap,
        weights: _Weights,
    ) -> None:
        merge = MERGE_FUNCTIONS[self._mode]
        for entries, is_cond in conds.runs:
            keys_values = self._keys_values.of(layer.number, is_cond, query)
            if keys_values is not None:
                image = merge(query[entries], keys_values, boxes, weights, layer.heads)
                text[entries].add_(image.to(text.dtype), alpha=self._scale)

    # -- caches --------------------------------------------------------------------------------------------------------

    def _plan(self, key: _Key, like: torch.Tensor, heads: int) -> _Plan:
        if self._last is not None and self._last[0] == key:  # as in the layer before: saves hashing the key
            return self._last[1]
        if key not in self._plans:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[key] = self._make_plan(key, like, heads)
        self._last = key, self._plans[key]
        return self._plans[key]

    def _make_plan(self, key: _Key, like: torch.Tensor, heads: int) -> _Plan:
        grid, window, conds, weights, _, device = key
        crops = crops_of(self.layout.visible_tokens(grid, window), weights, device)
        if not crops:
            return ()
        if self._is_fused(like, heads):
            return self._fused_parts(crops, conds, like)
        return self._cropped_parts(crops, conds)

    def _is_fused(self, query: torch.Tensor, heads: int) -> bool:
        """Whether one masked attention serves all subjects: not where the attention function fails with a mask."""
        if self.use_fused is not None:
            return self.use_fused
        return is_launch_bound(query.device) and fits(query.device, query.dtype, query.shape[-1] // heads, MASKED)

    def _cropped_parts(self, crops: tuple[Crop, ...], conds: CondMap) -> _Plan:
        parts = []
        for entries, is_cond in conds.runs:
            if is_cond:
                parts.append(_Part(entries, True, crops))
            elif self._keys_values.uncond:
                parts.append(_Part(entries, False, merged_by_weight(crops)))
        return tuple(parts)

    def _fused_parts(self, crops: tuple[Crop, ...], conds: CondMap, like: torch.Tensor) -> _Plan:
        """One attention of all entries where each is of another kind, else one for each run of entries of a kind.

        Conditional and unconditional entries differ only in the mask, and all entries of a kind share one.
        """
        spans, uncond = self._keys_values.spans, self._keys_values.uncond
        kinds = tuple(dict.fromkeys(conds.is_cond)) if uncond else (True,)
        whole = FusedCrops.of(crops, spans, uncond, kinds, like)
        if kinds == conds.is_cond:
            return (_Part(None, True, (), whole),)
        parts = []
        for entries, is_cond in conds.runs:
            if is_cond in kinds:
                parts.append(_Part(entries, is_cond, (), whole.of_entry(kinds.index(is_cond))))
        return tuple(parts)

    def _boxes_on(self, grid: TokenGrid, window: Viewport, device: torch.device) -> list[torch.Tensor]:
        """The token numbers of each subject's whole box."""
        key = grid, window, device
        if key not in self._boxes:
            if len(self._boxes) >= _MOST_PLANS:
                self._boxes.clear()
            boxes = self.layout.box_tokens(grid, window)
            self._boxes[key] = [torch.tensor(numbers, dtype=torch.long, device=device) for numbers in boxes]
        return self._boxes[key]

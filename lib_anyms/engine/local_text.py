"""Local text: each subject's own prompt at the tokens it owns, another prompt elsewhere (`attention.localise_text`).

The host encodes the prompts. The keys and values come from the layer's OWN to_k and to_v, so LoRAs and quantised
weights apply. They do not depend on the step, so they are cached while they fit into `CACHE_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lib_anyms.engine.attention import Crop, KeyValue, localise_text, split_heads
from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.fused import FusedCrops, fused_localise_text
from lib_anyms.engine.key_values import spans_of
from lib_anyms.engine.layer_map import Layer
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout

CACHE_BYTES = 512 * 2**20  # SDXL in half precision at 77 tokens: 24 MiB a prompt


@dataclass(frozen=True)
class Texts:
    """The encoded prompts of one UNet call for one kind of batch entries.

    subjects: the context of each subject, (text tokens, C); elsewhere: of the tokens without an owner. None: the text
    stream of the host stays there.
    """

    subjects: tuple[torch.Tensor | None, ...]
    elsewhere: torch.Tensor | None = None

    @property
    def contexts(self) -> tuple[torch.Tensor | None, ...]:
        """By crop number: the subjects, then elsewhere."""
        return (*self.subjects, self.elsewhere)


Source = Callable[[], tuple[Texts, Texts]]  # (conditional, unconditional) texts of the step that begins


class LocalText:
    """The local text of one sampling pass.

    share: 0..1, how much of the host's text stream it replaces.
    """

    def __init__(self, layout: Layout, source: Source, share: float = 1.0) -> None:
        self._layout, self._source, self._share = layout, source, share
        self._texts: dict[bool, Texts] = {}  # by is_cond
        self._active: tuple[bool, ...] = ()
        self._crops: dict[tuple[TokenGrid, tuple[bool, ...], torch.device], tuple[Crop, ...]] = {}
        self._fused: dict[tuple[object, ...], FusedCrops] = {}
        self._cache: dict[tuple[int, int], tuple[torch.Tensor, KeyValue]] = {}
        self._cached_bytes = 0

    def begin_call(self, strengths: Sequence[float]) -> None:
        """Read the texts of a UNet call. A subject without strength does not act in it."""
        conditional, unconditional = self._source()
        self._texts = {True: conditional, False: unconditional}
        self._active = tuple(strength != 0 for strength in strengths)

    def apply(
        self, layer: Layer, grid: TokenGrid, query: torch.Tensor, text: torch.Tensor, conds: CondMap, fused: bool
    ) -> None:
        """Make `text` local in place, (batch, tokens, channels). `fused`: all crops in one attention."""
        if not self._share:
            return
        for entries, is_cond in conds.runs:
            contexts = self._texts[is_cond].contexts
            crops = [crop for crop in self._owned(grid, query.device) if contexts[crop.subject] is not None]
            if not crops:
                continue
            keys_values = self._project(layer, contexts, query)
            if fused:
                self._apply_fused(layer, grid, query[entries], text[entries], crops, keys_values)
            else:
                localise_text(text[entries], query[entries], keys_values, crops, layer.heads, self._share)

    def _apply_fused(
        self,
        layer: Layer,
        grid: TokenGrid,
        query: torch.Tensor,
        text: torch.Tensor,
        crops: Sequence[Crop],
        keys_values: Sequence[KeyValue],
    ) -> None:
        counts = [len(key) for key, _ in keys_values]
        subjects = tuple(crop.subject for crop in crops)
        case = (grid, self._active, subjects, tuple(counts), len(query), query.dtype, query.device)
        if case not in self._fused:
            self._fused[case] = FusedCrops.of(crops, spans_of(counts), None, (True,) * len(query), query)
        keys, values = zip(*keys_values)
        shape = len(query), -1, -1, -1
        sets = tuple(split_heads(torch.cat(tensors), layer.heads).expand(shape) for tensors in (keys, values))
        fused_localise_text(text, query, (sets[0], sets[1]), self._fused[case], layer.heads, self._share)

    def _owned(self, grid: TokenGrid, device: torch.device) -> tuple[Crop, ...]:
        """A crop for each active subject, then one of the tokens without an owner, numbered after the last subject.

        A subject that does not act in this step keeps its tokens: the host's text stays there.
        """
        case = grid, self._active, device
        if case not in self._crops:
            visible = self._layout.visible_tokens(grid)
            free = set(range(grid.tokens))
            crops = []
            for subject, (tokens, active) in enumerate(zip(visible, self._active)):
                free -= set(tokens)
                if tokens and active:
                    crops.append(Crop(subject, torch.tensor(tokens, dtype=torch.long, device=device), 1.0))
            if free:
                rest = torch.tensor(sorted(free), dtype=torch.long, device=device)
                crops.append(Crop(len(visible), rest, 1.0))
            self._crops[case] = tuple(crops)
        return self._crops[case]

    @torch.no_grad()
    def _project(self, layer: Layer, contexts: Sequence[torch.Tensor | None], like: torch.Tensor) -> list[KeyValue]:
        """(K'_j, V'_j) by crop number, both (text tokens, channels); empty tensors where there is no context."""
        empty = like.new_zeros(0, like.shape[-1])
        return [(empty, empty) if context is None else self._project_one(layer, context, like) for context in contexts]

    def _project_one(self, layer: Layer, context: torch.Tensor, like: torch.Tensor) -> KeyValue:
        case = layer.number, id(context)
        if case in self._cache:
            return self._cache[case][1]
        inputs = context.to(like.device, like.dtype)[None]
        key, value = (projection(inputs)[0].to(like) for projection in (layer.to_k, layer.to_v))
        size = 2 * key.numel() * key.element_size()
        if self._cached_bytes + size <= CACHE_BYTES:
            self._cached_bytes += size
            # The context is kept too: another tensor must not get its id while the entry lives.
            self._cache[case] = context, (key, value)
        return key, value

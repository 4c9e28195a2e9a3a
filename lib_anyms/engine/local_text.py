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
from lib_anyms.engine.fused_text import FusedText
from lib_anyms.engine.key_values import spans_of
from lib_anyms.engine.layer_map import Layer
from lib_anyms.layout.geometry import WHOLE, TokenGrid, Viewport
from lib_anyms.layout.layout import Layout

_MOST_CROPS = 128  # windows may have another place in every step
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

    @property
    def is_empty(self) -> bool:
        """Whether the host's text stays everywhere."""
        return all(context is None for context in self.contexts)


_Contexts = tuple[torch.Tensor | None, ...]
_Key = tuple[int, bool, torch.dtype, torch.device, tuple[int, ...]]
Source = Callable[[], tuple[Texts, Texts]]  # (conditional, unconditional) texts of the step that begins


class LocalText:
    """The local text of one sampling pass.

    share: 0..1, how much of the host's text stream it replaces.
    """

    def __init__(self, layout: Layout, source: Source, share: float = 1.0) -> None:
        self._layout, self._source, self._share = layout, source, share
        self._texts: dict[bool, Texts] = {}  # by is_cond
        self._active: tuple[bool, ...] = ()
        self._crops: dict[tuple[object, ...], tuple[Crop, ...]] = {}
        self._fused: dict[tuple[object, ...], FusedText] = {}
        self._cache: dict[_Key, tuple[_Contexts, list[KeyValue]]] = {}
        self._cached_bytes = 0

    @property
    def bytes(self) -> int:
        """Memory of the cached keys and values."""
        return self._cached_bytes

    def begin_call(self, strengths: Sequence[float]) -> None:
        """Read the texts of a UNet call. A subject without strength does not act in it."""
        conditional, unconditional = self._source()
        self._texts = {True: conditional, False: unconditional}
        self._active = tuple(strength != 0 for strength in strengths)

    def apply(
        self,
        layer: Layer,
        grid: TokenGrid,
        query: torch.Tensor,
        text: torch.Tensor,
        conds: CondMap,
        fused: bool,
        window: Viewport = WHOLE,
    ) -> None:
        """Make `text` local in place, (batch, tokens, channels).

        fused: all crops in one attention; window: the part of the layout's image that these entries show.
        """
        runs = [(entries, is_cond) for entries, is_cond in conds.runs if not self._texts[is_cond].is_empty]
        owned = self._owned(grid, window, query.device)
        if not (self._share and runs and owned):
            return
        if fused:
            self._apply_fused(layer, (grid, window), owned, query, text, conds)
            return
        for entries, is_cond in runs:
            contexts = self._texts[is_cond].contexts
            crops = [crop for crop in owned if contexts[crop.subject] is not None]
            if crops:
                keys_values = self._project(layer, contexts, query, joined=False)
                localise_text(text[entries], query[entries], keys_values, crops, layer.heads, self._share)

    def _apply_fused(
        self,
        layer: Layer,
        place: tuple[TokenGrid, Viewport],
        owned: Sequence[Crop],
        query: torch.Tensor,
        text: torch.Tensor,
        conds: CondMap,
    ) -> None:
        """One attention for all batch entries that have a text: a view of them where they stand together."""
        runs = [(entries, is_cond) for entries, is_cond in conds.runs if not self._texts[is_cond].is_empty]
        entries = runs[0][0] if len(runs) == 1 else slice(None)
        kinds = tuple(dict.fromkeys(is_cond for _, is_cond in runs))
        contexts: _Contexts = ()
        for kind in kinds:
            contexts += self._texts[kind].contexts
        plan = self._plan(place, owned, kinds, contexts, conds.is_cond[entries], query[entries])
        (keys_values,) = self._project(layer, contexts, query, joined=True)
        plan.apply(text[entries], query[entries], keys_values, layer.heads)

    def _plan(
        self,
        place: tuple[TokenGrid, Viewport],
        owned: Sequence[Crop],
        kinds: tuple[bool, ...],
        contexts: _Contexts,
        is_cond: Sequence[bool],
        like: torch.Tensor,
    ) -> FusedText:
        """The crops with their mask over all texts, for a batch like `like`. Cached."""
        counts = tuple(0 if context is None else len(context) for context in contexts)
        case = (place, self._active, kinds, counts, tuple(is_cond), like.dtype, like.device)
        if case not in self._fused:
            if len(self._fused) >= _MOST_CROPS:
                self._fused.clear()
            spans, numbers = spans_of(counts), len(contexts) // len(kinds)
            nothing = [(0, 0)] * numbers
            of_kind = {kind: spans[number * numbers :][:numbers] for number, kind in enumerate(kinds)}
            entry_spans = [of_kind.get(kind, nothing) for kind in is_cond]
            self._fused[case] = FusedText.of(owned, entry_spans, sum(counts), self._share, like)
        return self._fused[case]

    def _owned(self, grid: TokenGrid, window: Viewport, device: torch.device) -> tuple[Crop, ...]:
        """A crop for each active subject, then one of the tokens without an owner, numbered after the last subject.

        A subject that does not act in this step keeps its tokens: the host's text stays there.
        """
        case = grid, window, self._active, device
        if case not in self._crops:
            if len(self._crops) >= _MOST_CROPS:
                self._crops.clear()
            visible = self._layout.visible_tokens(grid, window)
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

    def _project(self, layer: Layer, contexts: _Contexts, like: torch.Tensor, joined: bool) -> list[KeyValue]:
        """(K'_j, V'_j) by crop number, both (text tokens, channels); without a context, no tokens.

        joined: instead one pair of all of them side by side, by heads. Cached, as each layer needs them in each call.
        """
        key = (layer.number, joined, like.dtype, like.device, tuple(map(id, contexts)))
        if key in self._cache:
            return self._cache[key][1]
        with torch.no_grad():
            sets = [_projected(layer, context, like) for context in contexts]
        if joined:
            keys, values = zip(*sets)
            sets = [(split_heads(torch.cat(keys), layer.heads), split_heads(torch.cat(values), layer.heads))]
        size = sum(2 * one.numel() * one.element_size() for one, _ in sets)
        if self._cached_bytes + size <= CACHE_BYTES:
            self._cached_bytes += size
            # The contexts are kept too: other tensors must not get their ids while the entry lives.
            self._cache[key] = contexts, sets
        return sets


def _projected(layer: Layer, context: torch.Tensor | None, like: torch.Tensor) -> KeyValue:
    """One context through the layer's own to_k and to_v, on the device and in the dtype of `like`."""
    if context is None:
        empty = like.new_zeros(0, like.shape[-1])
        return empty, empty
    inputs = context.to(like.device, like.dtype)[None]
    return layer.to_k(inputs)[0].to(like), layer.to_v(inputs)[0].to(like)

"""The image stream on a host's UNet: `inject()` attaches it beside the text stream, `eject()` is the exact inverse.

Two hooks per layer, and nothing is replaced: a forward hook on `attn2.to_q` reads Q, a forward-pre-hook on
`attn2.to_out[0]` turns Z_text into Z_text + s * Z_image. A pre-hook on each spatial transformer reads the token grid. A
pair of hooks on the UNet begins and ends every call: it reads which batch entries are conditional, and counts the
layers that fired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.influence import Influence
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import Layer
from lib_anyms.engine.local_text import LocalText
from lib_anyms.engine.region_merge import RegionMerge
from lib_anyms.engine.sdpa import Unfit, unfit
from lib_anyms.engine.skipped import NOTHING, SkipCounter, Skipped, replaced_by
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.layout.fade import CONSTANT, Fade
from lib_anyms.layout.geometry import WHOLE, TokenGrid
from lib_anyms.layout.layout import Layout, Subject


@dataclass(frozen=True)
class UNetCall:
    """One call as the host describes it: which batch entries are conditional, and the share of the steps done, 0..1.

    foreign_text: another extension makes the text local.
    """

    cond_map: CondMap
    progress: float
    foreign_text: bool = False


@dataclass(frozen=True)
class PassResult:
    """What one sampling pass has done so far.

    layers: cross-attention layers; calls: whole UNet calls; step_calls: all calls of this step; grids: token grids
    merged on; failure: the cause of the error the stream raised; refusal: the sentence of that error where it is a
    Refused; aside: why the stream ejected itself; unfit: what is wrong with the attention function, if it is not used;
    foreign_text: another extension made the text local, so the subjects' prompts did not act; windowed: calls on parts
    of the image; left_out: (cause, calls) of entries without an image stream; acting: calls with one; skipped: what a
    cache or a forecast answered in place of the UNet; missed: subjects whose start and end no call fell between.
    """

    layout: Layout
    layers: int
    calls: int
    step_calls: int
    grids: frozenset[TokenGrid]
    failure: str
    refusal: str
    aside: SteppedAside | None
    unfit: Unfit | None
    foreign_text: bool = False
    windowed: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    acting: int = 0
    skipped: Skipped = NOTHING
    missed: tuple[Subject, ...] = ()


CallReader = Callable[[tuple[Any, ...], dict[str, Any]], "UNetCall | None"]  # None: a call of another job
AsideReason = Callable[[], "SteppedAside | None"]  # a known reason why no layer of a call fired


class ImageStream:
    """AnyMS on one UNet for one sampling pass."""

    def __init__(
        self,
        unet: nn.Module,
        layers: tuple[Layer, ...],
        keys_values: KeyValues,
        layout: Layout,
        scale: float,
        mode: str,
        read_call: CallReader,
        aside_reason: AsideReason = lambda: None,
        influence: Influence | None = None,
        local_text: LocalText | None = None,
        fade: Fade = CONSTANT,
    ) -> None:
        self.unet = unet
        self.layout = layout
        self.region_merge = RegionMerge(layout, keys_values, scale, mode, layers, influence, local_text, fade)
        self._layers = layers
        self._read_call = read_call
        self._aside_reason = aside_reason
        self.on_failure: Callable[[], None] = lambda: None  # before the stream raises an error
        self._handles: list[Any] = []
        # of the pass
        self._calls = 0
        self._step_calls = 0
        self._failure = ""
        self._refusal = ""
        self._aside: SteppedAside | None = None
        self._unfit: Unfit | None = None
        self._foreign_text = False
        self._windowed = 0
        self._left_out: Counter[str] = Counter()
        self._acting = 0
        self._skips = SkipCounter()
        self._missed = layout.subjects
        # of the UNet call in progress
        self._call: UNetCall | None = None
        self._copies: dict[int, CondMap] = {}  # batch size in a layer -> its map, where that is not the call's
        self._grid = TokenGrid(0, 0)
        self._query: torch.Tensor | None = None
        self._fired = 0

    @property
    def injected(self) -> bool:
        return bool(self._handles)

    @property
    def grids(self) -> frozenset[TokenGrid]:
        """The token grids it has merged on."""
        return frozenset(self.region_merge.grids.copy())  # another thread may read while a layer adds one

    @property
    def result(self) -> PassResult:
        """The result of the pass so far."""
        return PassResult(
            layout=self.layout,
            layers=len(self._layers),
            calls=self._calls,
            step_calls=self._step_calls,
            grids=self.grids,
            failure=self._failure,
            refusal=self._refusal,
            aside=self._aside,
            unfit=self._unfit,
            foreign_text=self._foreign_text,
            windowed=self._windowed,
            left_out=tuple(self._left_out.copy().items()),
            acting=self._acting,
            skipped=self._skips.result,
            missed=self._missed,
        )

    def inject(self) -> None:
        """Attach all hooks. A second call changes nothing."""
        if self.injected:
            return
        try:
            self._attach()
        except BaseException:
            self.eject()
            raise

    def eject(self) -> PassResult:
        """Detach every hook: the UNet is as it was before `inject()`. Returns the result of the pass."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._call = self._query = None
        return self.result

    def begin_step(self) -> None:
        """Start counting the UNet calls of a new denoiser step."""
        self._step_calls = 0

    def skip_step(self, by: str) -> None:
        """Count a step that was answered without a UNet call. by: the module of what answered, or ""."""
        self._skips.add("steps", by)

    def _attach(self) -> None:
        keep = self._handles.append
        keep(self.unet.register_forward_pre_hook(self._begin_call, with_kwargs=True))
        transformers = {id(layer.transformer): layer.transformer for layer in self._layers}
        for transformer in transformers.values():
            keep(transformer.register_forward_pre_hook(self._read_grid))
        for layer in self._layers:
            keep(layer.to_q.register_forward_hook(self._read_query))
            keep(layer.to_out.register_forward_pre_hook(self._adder(layer)))
        keep(self.unet.register_forward_hook(self._end_call))

    # -- the hooks, in the order they run ------------------------------------------------------------------------------

    def _begin_call(self, _unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._fired = 0
        self._query = None
        self._copies.clear()
        self._call = self._guarded(self._read_call, args, kwargs)
        if self._call is not None and _is_recorded():
            self._aside, self._call = SteppedAside("unet_recorded", got=self._calls), None
            self.eject()
        if self._call is not None:
            self.region_merge.begin_call(self._call.progress)

    def _read_grid(self, _transformer: nn.Module, args: tuple[Any, ...]) -> None:
        self._grid = TokenGrid(*args[0].shape[-2:])

    def _read_query(self, _to_q: nn.Module, _args: tuple[Any, ...], query: torch.Tensor) -> None:
        self._query = query

    def _adder(self, layer: Layer) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def add(to_out: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            query, self._query = self._query, None
            if self._call is None or query is None:
                return None
            self._fired += 1
            only_hook = len(to_out._forward_pre_hooks) == 1
            return (self._guarded(self._with_image, layer, query, args[0], self._call, only_hook), *args[1:])

        return add

    def _end_call(self, _unet: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        if not self._fired:
            self._aside = self._aside_reason()
        if self._aside is not None:
            self.eject()
            return
        self._step_calls += 1
        # A multiple is right too: ControlNet's "reference" runs every layer twice.
        if self._fired and self._fired % len(self._layers) == 0:
            self._calls += 1
            self._count(call.cond_map)
            self._missed = tuple(subject for subject in self._missed if not subject.acts_at(call.progress))
        elif self._calls:  # a cache, which repeats a call in which every layer fired
            self._skips.add("partial" if self._fired else "silent", replaced_by(self.unet))
        else:
            self._guarded(_refuse_count, self._fired, len(self._layers))

    def _count(self, conds: CondMap) -> None:
        self._acting += conds.acts
        self._windowed += any(window not in (None, WHOLE) for window in conds.windows)
        if conds.left_out:
            self._left_out[conds.left_out] += 1

    def _with_image(
        self, layer: Layer, query: torch.Tensor, text: torch.Tensor, call: UNetCall, only_hook: bool
    ) -> torch.Tensor:
        """Z_text + s * Z_image of one layer, (batch, tokens, channels).

        only_hook: no other hook has seen `text`, so it may be changed in place. Raises Refused for a batch or a number
        of tokens that does not match the call.
        """
        conds = call.cond_map
        if not conds.acts or not self.region_merge.acts_on(layer):
            return text
        if query.shape[0] != len(conds.is_cond):
            conds = self._with_copies(layer, query, conds)
        if query.shape[1] != self._grid.tokens:
            raise Refused("tokens_unknown", layer=layer.name, got=query.shape[1], expected=self._grid.tokens)
        if not only_hook:
            text = text.clone()  # another extension's hook may hold it
        foreign_text = call.foreign_text or conds is not call.cond_map
        self._foreign_text = self._foreign_text or (foreign_text and self.region_merge.local_text is not None)
        merged = self._merge(layer, query, text, conds, foreign_text)
        self._unfit = self._unfit or unfit(query)
        return merged

    def _merge(
        self, layer: Layer, query: torch.Tensor, text: torch.Tensor, conds: CondMap, foreign_text: bool
    ) -> torch.Tensor:
        """`RegionMerge.add` of the whole batch, or window by window."""
        if not conds.windows:
            return self.region_merge.add(layer, self._grid, query, text, conds, foreign_text)
        text = text.contiguous()
        for entries, window, part in conds.parts:
            self.region_merge.add(layer, self._grid, query[entries], text[entries], part, foreign_text, window)
        return text

    def _with_copies(self, layer: Layer, query: torch.Tensor, conds: CondMap) -> CondMap:
        """The map of a layer whose batch another extension has extended with copies of conditional entries.

        The first layer of a call decides whether that is so. Each copy gets the same image stream: a blend of copies
        whose weights sum to 1 then has it once. Raises Refused where the entries are not copies.
        """
        size = len(query)
        if size not in self._copies:
            self._copies[size] = _map_of_copies(query, conds, replaced_by(layer.attention))
        return self._copies[size]

    def _guarded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Eject before raising: after an exception hosts run none of our callbacks, so the hooks would stay."""
        try:
            return function(*args)
        except BaseException as error:
            self._failure = getattr(error, "cause", type(error).__name__)
            self._refusal = str(error) if isinstance(error, Refused) else ""
            self.eject()
            self.on_failure()
            raise


def _map_of_copies(query: torch.Tensor, conds: CondMap, by: str) -> CondMap:
    """by: the module of what replaces the layer's forward, or "". NegPiP passes the batch through in halves."""
    size = len(query)
    windows = set(conds.windows)
    tolerance = 0.01 * query.abs().max()  # the same entry may be rounded differently within another batch
    for copied, sources, padded in conds.with_copies(size):
        same = (query - query[sources]).abs().max() <= tolerance and not (padded and query[-1].any())
        if same and len(windows) <= 1:
            return replace(copied, windows=tuple(windows) * size)
    if by:
        raise Refused("rows_split", by=by, got=size, expected=len(conds.is_cond))
    raise Refused("rows_unknown", got=size, expected=len(conds.is_cond))


def _is_recorded() -> bool:
    """Whether a CUDA graph is being recorded, which would keep what our hooks add, in later jobs too."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def _refuse_count(fired: int, expected: int) -> None:
    raise Refused("none_fired", got=fired, expected=expected)


def compiled(unet: nn.Module) -> str | None:
    """The compiler of `unet` or of a part of it; None where nothing is compiled.

    A compiled graph ignores hooks attached later. A hook attached before compiling may stay in the graph for good.
    """
    return "torch.compile" if any(map(_is_compiled, unet.modules())) else None


def _is_compiled(module: nn.Module) -> bool:
    """By `torch.compile(module)`, `module.compile()` or `module.forward = torch.compile(module.forward)`."""
    attributes = vars(module)
    wrapped = "_orig_mod" in attributes.get("_modules", {}) or attributes.get("_compiled_call_impl") is not None
    return wrapped or hasattr(attributes.get("forward"), "_torchdynamo_orig_callable")


def arm_refusal(unet: nn.Module, error: Exception, before: Callable[[], None] = lambda: None) -> Callable[[], None]:
    """Make the next call of `unet` raise `error`, after calling `before`; returns a function that undoes this.

    Hosts only log an exception of a callback, but show one of the UNet. The hook removes itself before it raises.
    """

    def refuse(_unet: nn.Module, _args: tuple[Any, ...]) -> None:
        handle.remove()
        before()
        raise error

    handle = unet.register_forward_pre_hook(refuse)
    return handle.remove

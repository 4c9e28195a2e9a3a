"""The image stream on a host's UNet: `inject()` hangs it beside the text stream, `eject()` is its exact inverse.

Two hooks a layer and nothing replaced: a forward hook on `attn2.to_q` sees Q, a forward-pre-hook on `attn2.to_out[0]`
turns Z_text into Z_text + s * Z_image. A pre-hook on each spatial transformer tells the token grid, a pair of hooks on
the UNet frames every call: which rows are conditional, and whether every layer fired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.layer_map import Layer
from lib_anyms.engine.region_merge import RegionMerge
from lib_anyms.engine.sdpa import REFUSED_BY
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import Layout


@dataclass(frozen=True)
class UNetCall:
    """What a host knows of one call: its rows, and the progress of the steps, 0..1."""

    rows: CondMap
    progress: float


CallReader = Callable[[tuple[Any, ...], dict[str, Any]], "UNetCall | None"]  # None: not our job's call, leave it alone
Excuse = Callable[[], "SteppedAside | None"]  # why no layer of a call can have fired, if that is known


class ImageStream:
    """AnyMS on one UNet for one generation."""

    def __init__(
        self,
        unet: nn.Module,
        layers: tuple[Layer, ...],
        keys_values: KeyValues,
        layout: Layout,
        scale: float,
        mode: str,
        read_call: CallReader,
        excuse: Excuse = lambda: None,
    ) -> None:
        self.unet = unet
        self.calls = 0  # UNet calls that ran whole
        self.step_calls = 0  # of them, since the host last set this to 0
        self.failure = ""  # the cause of what it raised
        self.refusal = ""  # the sentence, of a refusal
        self.excused: SteppedAside | None = None  # why it let go by itself
        self.not_fused = ""  # how fused attention failed, if it did
        self.layout = layout
        self.region_merge = RegionMerge(layout, keys_values, scale, mode, layers)
        self._layers = layers
        self._read_call = read_call
        self._excuse = excuse
        self._handles: list[Any] = []
        self._call: UNetCall | None = None
        self._copies: dict[
            int, CondMap
        ] = {}  # of this call: rows a layer sees -> what they are, where they are not the call's
        self._grid = TokenGrid(0, 0)
        self._query: torch.Tensor | None = None
        self._fired = 0

    @property
    def injected(self) -> bool:
        return bool(self._handles)

    @property
    def layers(self) -> int:
        """How many cross-attention layers it is for."""
        return len(self._layers)

    @property
    def grids(self) -> set[TokenGrid]:
        """The token grids it has merged on."""
        return self.region_merge.grids.copy()  # another thread may ask

    def inject(self) -> None:
        """Attach; a second call changes nothing."""
        if self.injected:
            return
        try:
            self._attach()
        except BaseException:
            self.eject()
            raise

    def eject(self) -> None:
        """Detach every hook and forget the call in flight; the UNet is as it was before `inject()`."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._call = self._query = None

    def _attach(self) -> None:
        keep = self._handles.append
        keep(self.unet.register_forward_pre_hook(self._begin_call, with_kwargs=True))
        for transformer in {id(layer.transformer): layer.transformer for layer in self._layers}.values():
            keep(transformer.register_forward_pre_hook(self._see_grid))
        for layer in self._layers:
            keep(layer.to_q.register_forward_hook(self._see_query))
            keep(layer.to_out.register_forward_pre_hook(self._adder(layer)))
        keep(self.unet.register_forward_hook(self._end_call))

    # -- the hooks, in the order they run ------------------------------------------------------------------------------

    def _begin_call(self, _unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._fired = 0
        self._query = None
        self._copies.clear()
        self._call = self._guarded(self._read_call, args, kwargs)
        if self._call is not None:
            self.region_merge.begin_call(self._call.progress)

    def _see_grid(self, _transformer: nn.Module, args: tuple[Any, ...]) -> None:
        self._grid = TokenGrid(*args[0].shape[-2:])

    def _see_query(self, _to_q: nn.Module, _args: tuple[Any, ...], query: torch.Tensor) -> None:
        self._query = query

    def _adder(self, layer: Layer) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def add(to_out: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            query, self._query = self._query, None
            if self._call is None or query is None:
                return None
            self._fired += 1
            alone = len(to_out._forward_pre_hooks) == 1
            return (self._guarded(self._with_image, layer, query, args[0], self._call, alone), *args[1:])

        return add

    def _end_call(self, _unet: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        if self._call is None:
            return
        self._call = None
        if not self._fired:
            self.excused = self._excuse()
        if self.excused is not None:
            self.eject()
            return
        if not self._fired or self._fired % len(self._layers):  # ControlNet's "reference" runs all twice
            self._guarded(_refuse_count, self._fired, len(self._layers))
        self.calls += 1
        self.step_calls += 1

    def _with_image(
        self, layer: Layer, query: torch.Tensor, text: torch.Tensor, call: UNetCall, alone: bool
    ) -> torch.Tensor:
        """Z_text + s * Z_image of one layer, (rows, tokens, channels). `alone`: no other hook saw `text`."""
        if not self.region_merge.acts_on(layer):
            return text
        rows = call.rows if query.shape[0] == len(call.rows.is_cond) else self._rows_with_copies(query, call.rows)
        if query.shape[1] != self._grid.tokens:
            raise Refused("tokens_unknown", layer=layer.name, got=query.shape[1], expected=self._grid.tokens)
        if not alone:
            text = text.clone()  # another's hook may have kept it
        merged = self.region_merge.add(layer, self._grid, query, text, rows)
        if REFUSED_BY:
            self.not_fused = self.not_fused or REFUSED_BY.get((query.device.type, query.dtype), "")
        return merged

    def _rows_with_copies(self, query: torch.Tensor, rows: CondMap) -> CondMap:
        """Another extension hands the layer copies of conditional rows: the first layer of a call tells whether that is
        so. Each copy gets the same image stream, so a blend of them, whose weights sum to 1, has it once.
        """
        found = self._copies.get(len(query))
        if found is None:
            near = 0.01 * query.abs().max()  # the same row within a batch may be rounded otherwise
            for found, sources, padded in rows.with_copies(len(query)):
                if (query - query[sources]).abs().max() <= near and not (padded and query[-1].any()):
                    self._copies[len(query)] = found
                    return found
            raise Refused("rows_unknown", got=len(query), expected=len(rows.is_cond))
        return found

    def _guarded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Hosts run no callback of ours after an exception, so the stream lets go of the UNet before it raises."""
        try:
            return function(*args)
        except BaseException as error:
            self.failure = getattr(error, "cause", type(error).__name__)
            self.refusal = str(error) if isinstance(error, Refused) else ""
            self.eject()
            raise


def _refuse_count(fired: int, expected: int) -> None:
    raise Refused("none_fired", got=fired, expected=expected)


def compiled(unet: nn.Module) -> str | None:
    """What torch made of `unet` or a part of it, if that runs a compiled graph: hooks attached later are ignored, and
    one that was there when it was compiled may stay in it for good.
    """
    return "torch.compile" if any(map(_is_compiled, unet.modules())) else None


def _is_compiled(module: nn.Module) -> bool:
    """By `torch.compile(module)`, `module.compile()` or `module.forward = torch.compile(module.forward)`."""
    own = vars(module)
    wrapped = "_orig_mod" in own.get("_modules", {}) or own.get("_compiled_call_impl") is not None
    return wrapped or hasattr(own.get("forward"), "_torchdynamo_orig_callable")


def arm_refusal(unet: nn.Module, error: Exception) -> Callable[[], None]:
    """Make the next call of `unet` raise `error`: an exception in a host's callback is only logged, one from the UNet
    is shown.

    Returns the inverse. The hook removes itself before it raises.
    """

    def refuse(_unet: nn.Module, _args: tuple[Any, ...]) -> None:
        handle.remove()
        raise error

    handle = unet.register_forward_pre_hook(refuse)
    return handle.remove

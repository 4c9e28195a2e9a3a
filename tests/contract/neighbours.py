"""What other extensions do to a UNet, re-implemented from their behaviour, with the same change for the oracle."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from tests.contract.hosts import ForgeStandIn
from tests.contract.jobs import STRUCTURE
from tests.contract.ldm_unet import CrossAttention, LdmUNet, attention


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# -- IP-Adapter --------------------------------------------------------------------------------------------------------


class IpAdapter:
    """Another extension's image tokens, (8, width) for each layer width, added to Z."""

    def __init__(self) -> None:
        self.sets = {width: random(2, 8, width, seed=width) for width in STRUCTURE.widths}

    def __call__(self, _layer: str, q: torch.Tensor, heads: int, _is_cond: bool = True) -> torch.Tensor:
        key, value = (part.expand(len(q), -1, -1) for part in self.sets[q.shape[-1]])
        return attention(q, key, value, heads)

    def replace(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        """Like Forge's own IP-Adapter: replaces `attn2.forward`."""
        return attention(q, k, v, options["n_heads"]) + self("", q, options["n_heads"])

    @contextmanager
    def replacing_forwards(self, unet: nn.Module) -> Iterator[None]:
        """Like sd-webui-controlnet: replaces each layer's `forward`."""

        def forward(attn2: CrossAttention, x: torch.Tensor, context: torch.Tensor, _value: Any = None) -> torch.Tensor:
            q = attn2.to_q(x)
            out = attention(q, attn2.to_k(context), attn2.to_v(context), attn2.heads)
            return attn2.to_out(out + self("", q, attn2.heads))

        layers = cross_attention_layers(unet)
        for layer in layers:
            layer.attention.forward = types.MethodType(forward, layer.attention)
        try:
            yield
        finally:
            for layer in layers:
                del layer.attention.forward

    def hook(self, unet: nn.Module) -> Callable[[], None]:
        """Like AnyMS: hooks on `to_q` and `to_out[0]`. Returns a function that removes them."""
        handles = [handle for layer in cross_attention_layers(unet) for handle in self._hook_layer(layer)]
        return lambda: [handle.remove() for handle in handles] and None

    def _hook_layer(self, layer: Layer) -> Iterator[Any]:
        seen: list[torch.Tensor] = []
        yield layer.to_q.register_forward_hook(lambda _m, _a, q: seen.append(q))
        yield layer.to_out.register_forward_pre_hook(lambda _m, args: (args[0] + self("", seen.pop(), layer.heads),))


# -- LoRA --------------------------------------------------------------------------------------------------------------


class OnlineLora(nn.Module):
    """A linear layer plus a LoRA computed at run time."""

    def __init__(self, base_layer: nn.Linear, seed: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        rows, columns = base_layer.weight.shape
        self.down, self.up = 0.3 * random(2, columns, seed=seed), random(rows, 2, seed=seed + 1) / rows**0.5

    @property
    def merged(self) -> torch.Tensor:
        return self.base_layer.weight + self.up @ self.down

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) + F.linear(F.linear(x, self.down), self.up)


@contextmanager
def online_lora(unet: nn.Module) -> Iterator[dict[str, torch.Tensor]]:
    """Wrap to_q, to_k and to_out[0] of every cross-attention layer -> all weights with the LoRA merged."""
    weights = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    wrapped: list[tuple[nn.Module, str, nn.Module]] = []
    for number, layer in enumerate(cross_attention_layers(unet)):
        places = ((layer.attention, "to_q"), (layer.attention, "to_k"), (layer.attention.to_out, "0"))
        for owner, name in places:
            plain = getattr(owner, name)
            lora = OnlineLora(plain, number)
            setattr(owner, name, lora)
            wrapped.append((owner, name, plain))
            path = f"{layer.name}.to_out.0" if name == "0" else f"{layer.name}.{name}"
            weights[f"{path}.weight"] = lora.merged
    try:
        yield weights
    finally:
        for owner, name, plain in wrapped:
            setattr(owner, name, plain)


@contextmanager
def merged_lora(unet: nn.Module) -> Iterator[None]:
    """Merge a LoRA into to_q and to_k as hosts do: the same parameters with other values."""
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    for number, layer in enumerate(cross_attention_layers(unet)):
        for linear in (layer.attention.to_q, layer.attention.to_k):
            linear.weight.copy_(OnlineLora(linear, number).merged)
    try:
        yield
    finally:
        unet.load_state_dict(before)


# -- Forge Couple ------------------------------------------------------------------------------------------------------


class Couple:
    """Regional texts: attn2 gets each conditional chunk `1 + texts` times and blends; zeros make the batch even."""

    def __init__(self, texts: int) -> None:
        self.contexts = [random(1, 77, STRUCTURE.context_width, seed=50 + number) for number in range(texts)]

    def shares(self, grid: tuple[int, int]) -> torch.Tensor:
        """(1 + texts, tokens, 1): the share of each text at each token; sums to 1."""
        across = torch.linspace(0, 1, grid[1])[None].expand(grid)
        weights = torch.stack([1 + torch.sin((1 + number) * across) for number in range(1 + len(self.contexts))])
        return (weights / weights.sum(0)).flatten(1)[..., None]

    def patches(self) -> dict[str, Any]:
        return {"patches": {"attn2_patch": [self._spread], "attn2_output_patch": [self._blend]}}

    def _spread(
        self, n: torch.Tensor, context: torch.Tensor, _value: Any, options: dict[str, Any]
    ) -> tuple[torch.Tensor, ...]:
        flags = options["cond_or_uncond"]
        times = 1 + len(self.contexts)
        queries, keys = [], []
        for flag, rows, text in zip(flags, n.chunk(len(flags)), context.chunk(len(flags))):
            queries.append(rows if flag else rows.repeat(times, 1, 1))
            regional = [other.repeat(len(rows), text.shape[1] // other.shape[1], 1) for other in self.contexts]
            keys.append(text if flag else torch.cat([text, *regional]))
        q, k = torch.cat(queries), torch.cat(keys)
        if len(q) % 2:
            q, k = (torch.cat((rows, torch.zeros_like(rows[:1]))) for rows in (q, k))
        return q, k, k

    def _blend(self, out: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        flags, times = options["cond_or_uncond"], 1 + len(self.contexts)
        rows = options["original_shape"][0] // len(flags)
        shares = self.shares(_grid_of(out.shape[1], *options["original_shape"][-2:]))
        blended, place = [], 0
        for flag in flags:
            count = rows if flag else times * rows
            part = out[place : place + count]
            place += count
            blended.append(part if flag else (part.unflatten(0, (times, rows)) * shares[:, None]).sum(0))
        return torch.cat(blended)

    def text(
        self, attn2: CrossAttention, q: torch.Tensor, context: torch.Tensor, is_cond: bool, grid: tuple[int, int]
    ) -> torch.Tensor:
        """Z_text as the weighted sum over the texts."""
        texts = [context, *(other.expand(len(q), -1, -1) for other in self.contexts)] if is_cond else [context]
        streams = [attention(q, attn2.to_k(text), attn2.to_v(text), attn2.heads) for text in texts]
        if not is_cond:
            return streams[0]
        return sum(share * stream for share, stream in zip(self.shares(grid), streams))


def _grid_of(tokens: int, height: int, width: int) -> tuple[int, int]:
    """The grid of `tokens`: each level is half of the one above, rounded up."""
    while height * width > tokens:
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


# -- FreeU, Kohya HRFix ------------------------------------------------------------------------------------------------


def freeu_patches() -> dict[str, Any]:
    """In Forge: amplify the backbone's features, attenuate the skip connection's."""
    return {"patches": {"output_block_patch": [lambda h, skip, _options: (1.2 * h, 0.8 * skip)]}}


def freeu_hooks(unet: LdmUNet) -> list[Any]:
    """In A1111: amplify the input of output blocks."""
    return [
        block.register_forward_pre_hook(lambda _m, args: (1.1 * args[0], *args[1:]))
        for block in list(unet.output_blocks)[:3]
    ]


class HrFix:
    """The inner levels run at half size while `progress` is below one half."""

    BLOCK = 3

    def __init__(self) -> None:
        self.progress = 0.0

    def at(self, progress: float) -> dict[str, Any]:
        """The patches for an oracle's call at this progress."""
        self.progress = progress
        return self.patches()

    def _half(self, h: torch.Tensor) -> torch.Tensor:
        return F.interpolate(h, scale_factor=0.5, mode="bilinear") if self.progress < 0.5 else h

    def patches(self) -> dict[str, Any]:
        """In Forge: shrink after one input block's skip, and restore the size before the output blocks."""

        def shrink(h: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
            return self._half(h) if options["block"] == ("input", self.BLOCK) else h

        def grow(h: torch.Tensor, skip: torch.Tensor, _options: Any) -> tuple[torch.Tensor, torch.Tensor]:
            fits = h.shape[-2:] == skip.shape[-2:]
            return (h if fits else F.interpolate(h, size=skip.shape[-2:], mode="bilinear")), skip

        return {"patches": {"input_block_patch_after_skip": [shrink], "output_block_patch": [grow]}}

    def hooks(self, unet: LdmUNet) -> list[Any]:
        """In A1111: shrink before one input block; the host's `torch.cat` restores the size."""
        return [
            unet.input_blocks[self.BLOCK].register_forward_pre_hook(lambda _m, args: (self._half(args[0]), *args[1:]))
        ]


@contextmanager
def patched(host: ForgeStandIn, options: dict[str, Any]) -> Iterator[None]:
    host.patches = options
    try:
        yield
    finally:
        host.patches = {}


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""An IP-Adapter in training: weights under the names of its file, and its image stream on a UNet.

The stream is the engine's (Z = Z_text + s * Z_image at every attn2), here over the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.ip_adapter.projection import project
from lib_anyms.standalone.random_sdxl import PROJECTIONS
from lib_anyms.standalone.structure import Structure


class Adapter(nn.Module):
    """Kind "base" (4 image tokens) or "plus" (16), for the given UNet."""

    def __init__(self, kind: str, structure: Structure, unet: nn.Module) -> None:
        super().__init__()
        self.kind = kind
        projection, latents = PROJECTIONS[kind](structure)
        self.image_proj: Any = projection
        for name, tensor in latents.items():
            self.image_proj.register_parameter(name, nn.Parameter(tensor))
        self._layers = cross_attention_layers(unet)
        self.ip_adapter = nn.ModuleDict({str(layer.number): self._copied(layer) for layer in self._layers})

    @staticmethod
    def _copied(layer: Layer) -> nn.ModuleDict:
        """Keys and values start as copies of the text's."""
        parts = nn.ModuleDict()
        for name, source in (("to_k_ip", layer.attention.to_k), ("to_v_ip", layer.attention.to_v)):
            copy = nn.Linear(source.in_features, source.out_features, bias=False)
            copy.weight.data.copy_(source.weight.data)
            parts[name] = copy
        return parts

    def tokens(self, encoded: torch.Tensor) -> torch.Tensor:
        """Encoder outputs of n images, see `data.References` -> image tokens (n, T, C)."""
        return project(self.kind, dict(self.image_proj.named_parameters()), encoded)

    @contextmanager
    def stream(self, tokens: torch.Tensor, scale: torch.Tensor | float) -> Iterator[None]:
        """Add scale * Z_image at every attn2 inside the `with`. scale: a number, or one per image (n, 1, 1)."""
        with ExitStack() as hooks:
            for layer in self._layers:
                for handle in self._hooked(layer, tokens, scale):
                    hooks.enter_context(handle)
            yield

    def _hooked(self, layer: Layer, tokens: torch.Tensor, scale: torch.Tensor | float) -> list[Any]:
        """Hook one layer -> the handles."""
        parts: Any = self.ip_adapter[str(layer.number)]
        key, value = parts["to_k_ip"](tokens), parts["to_v_ip"](tokens)
        queries: list[torch.Tensor] = []  # of the call in progress

        def keep_query(_module: nn.Module, _args: Any, query: torch.Tensor) -> None:
            queries.append(query)

        def add_image(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            image = _attend(queries.pop(), key, value, layer.heads)
            return (args[0] + scale * image.to(args[0].dtype), *args[1:])

        return [layer.to_q.register_forward_hook(keep_query), layer.to_out.register_forward_pre_hook(add_image)]


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries (n, tokens, channels) over each image's own tokens (n, T, channels). Plain for speed: see `new_unet`."""
    q, k, v = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (query, key.to(query), value.to(query)))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
    return (weights.to(v) @ v).transpose(1, 2).flatten(2)

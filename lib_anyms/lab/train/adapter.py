"""An IP-Adapter in training: its weights under the names its file has, and its image stream on a UNet.

The stream is the one the engine adds later (Z = Z_text + s * Z_image at every attn2), here over the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.ip_adapter.projection import project
from lib_anyms.lab.train.trainer import State
from lib_anyms.standalone.random_sdxl import PROJECTIONS
from lib_anyms.standalone.structure import Structure


class Adapter(nn.Module):
    """Kind "base" (4 image tokens) or "plus" (16), for the UNet it is built for."""

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
        """Keys and values start as the text's own."""
        parts = nn.ModuleDict()
        for name, source in (("to_k_ip", layer.attention.to_k), ("to_v_ip", layer.attention.to_v)):
            copy = nn.Linear(source.in_features, source.out_features, bias=False)
            copy.weight.data.copy_(source.weight.data)
            parts[name] = copy
        return parts

    def file_state(self) -> State:
        """As in an IP-Adapter's file."""
        return {name: tensor.detach() for name, tensor in self.named_parameters()}

    def tokens(self, encoded: torch.Tensor) -> torch.Tensor:
        """Image tokens (n, T, C) of what the encoder says of n pictures, see `data.References`."""
        return project(self.kind, dict(self.image_proj.named_parameters()), encoded)

    @contextmanager
    def stream(self, tokens: torch.Tensor, scale: torch.Tensor | float) -> Iterator[None]:
        """While it lasts every attn2 of the UNet adds scale * Z_image; `scale` may be one for each picture, (n, 1, 1)."""
        queries: dict[int, torch.Tensor] = {}
        handles: list[Any] = []

        def hook(layer: Layer) -> None:
            parts: Any = self.ip_adapter[str(layer.number)]
            key, value = parts["to_k_ip"](tokens), parts["to_v_ip"](tokens)

            def keep_query(_module: nn.Module, _args: Any, query: torch.Tensor) -> None:
                queries[layer.number] = query

            def add_image(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
                image = _attend(queries.pop(layer.number), key, value, layer.heads)
                return (args[0] + scale * image.to(args[0].dtype), *args[1:])

            handles.append(layer.to_q.register_forward_hook(keep_query))
            handles.append(layer.to_out.register_forward_pre_hook(add_image))

        try:
            for layer in self._layers:
                hook(layer)
            yield
        finally:
            for handle in handles:
                handle.remove()


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries (n, tokens, channels) over each picture's own image tokens (n, T, channels); plain: see `unet.new_unet`."""
    q, k, v = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (query, key.to(query), value.to(query)))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
    return (weights.to(v) @ v).transpose(1, 2).flatten(2)

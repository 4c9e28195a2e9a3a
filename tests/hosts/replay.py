"""Repeat a host's recorded UNet calls on diffusers: same weights and inputs, image tokens from this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.image_stream import ImageStream, UNetCall
from lib_anyms.engine.layer_map import Layer, cross_attention_layers
from lib_anyms.ip_adapter.encoder import Encoder
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.tokens import image_tokens
from lib_anyms.job.request import Request
from lib_anyms.layout.layout import Layout
from lib_anyms.models.model_files import choose_pair
from lib_anyms.standalone.pipeline import load_pipeline
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.hosts.studio import Call
from tests.support import oracle

CPU = torch.device("cpu")


class Given(nn.Module):
    """Replaces diffusers' embedding of sizes and crop by the host's values."""

    def __init__(self, embedded: torch.Tensor) -> None:
        super().__init__()
        self.embedded = embedded

    def forward(self, _numbers: torch.Tensor) -> torch.Tensor:
        return self.embedded


@dataclass(frozen=True)
class Words:
    """The local text of one call. contexts: by is_cond, (text tokens, C) or None of each subject, then of elsewhere."""

    layout: Layout
    contexts: dict[bool, list[torch.Tensor | None]]
    share: float = 1.0


@dataclass
class PlainWords:
    """Local text on diffusers' cross-attention in plain arithmetic: no code of the engine."""

    call: Call | None = None
    words: Words | None = None
    grid: tuple[int, int] = (0, 0)
    query: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def attach(self, unet: nn.Module) -> list[Any]:
        """Hook every layer -> the hooks' handles. Attach before the image stream, which adds to the text."""
        handles = []
        for layer in cross_attention_layers(unet):
            handles.append(layer.transformer.register_forward_pre_hook(self._read_grid))
            handles.append(layer.to_q.register_forward_hook(self._read_query))
            handles.append(layer.to_out.register_forward_pre_hook(lambda _to_out, args, at=layer: self._text(at, args)))
        return handles

    def _read_grid(self, _transformer: nn.Module, args: tuple[Any, ...]) -> None:
        self.grid = tuple(args[0].shape[-2:])

    def _read_query(self, _to_q: nn.Module, _args: tuple[Any, ...], query: torch.Tensor) -> None:
        self.query = query

    def _text(self, layer: Layer, args: tuple[Any, ...]) -> tuple[Any, ...]:
        assert self.call is not None
        assert self.words is not None
        text, share = args[0].clone(), self.words.share
        owner = oracle.owners(self.words.layout, *self.grid)
        for entry, is_cond in enumerate(self.call.is_cond):
            *of_subjects, elsewhere = self.words.contexts[is_cond]
            for number, context in [*enumerate(of_subjects), (-1, elsewhere)]:
                if context is not None:
                    place = owner == number
                    local = _attended(layer, self.query[entry, place], context)
                    text[entry, place] = (1 - share) * text[entry, place] + share * local
        return (text, *args[1:])


def _attended(layer: Layer, query: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """The attention of (queries, channels) over one text."""
    key, value = layer.to_k(context), layer.to_v(context)
    depth = query.shape[-1] // layer.heads
    heads = []
    for head in range(layer.heads):
        part = slice(head * depth, (head + 1) * depth)
        scores = query[:, part] @ key[:, part].T / depth**0.5
        heads.append(scores.softmax(-1) @ value[:, part])
    return torch.cat(heads, -1)


class Replay:
    """diffusers' UNet with the host's checkpoint, and AnyMS on it if there is a request."""

    def __init__(self, files: RandomFiles) -> None:
        self.files = files
        self.unet = load_pipeline(files.checkpoint, CPU, torch.float32).unet

    def differences(self, calls: Sequence[Call], request: Any = None, words: Sequence[Words] = ()) -> list[float]:
        """The largest absolute difference to the host's output, for each call. `words`: the local text of each call."""
        current: list[UNetCall] = []
        plain = PlainWords()
        handles = plain.attach(self.unet) if words else []
        stream = self._stream(Request.from_json(request), current) if request is not None else None
        if stream is not None:
            stream.inject()
        try:
            differences = []
            for number, call in enumerate(calls):
                current[:] = [UNetCall(CondMap(call.is_cond), call.progress)]
                plain.call, plain.words = call, words[number] if words else None
                differences.append((self._run(call) - call.tensors["output"]).abs().max().item())
            return differences
        finally:
            if stream is not None:
                stream.eject()
            for handle in handles:
                handle.remove()

    def _stream(self, request: Request, current: list[UNetCall]) -> ImageStream:
        layers = cross_attention_layers(self.unet)
        folders: list[Path] = [*self.files.adapters.values(), self.files.encoder]
        pair = choose_pair(folders, self.unet, layers, request.adapter, request.encoder)
        encoder = Encoder(pair.encoder, CPU, torch.float32)
        tokens = image_tokens(pair.adapter, encoder, request.pictures, request.fit, request.combine)
        sets = project_key_values(pair.adapter, tokens, CPU, torch.float32, request.unconditional_share)
        assert request.layout is not None
        return ImageStream(self.unet, layers, sets, request.layout, request.scale, request.mode, lambda *_: current[0])

    @torch.no_grad()
    def _run(self, call: Call) -> torch.Tensor:
        recorded = call.tensors
        width = self.unet.config.projection_class_embeddings_input_dim - 6 * self.unet.config.addition_time_embed_dim
        self.unet.add_time_proj = Given(recorded["y"][:, width:])
        added = {"text_embeds": recorded["y"][:, :width], "time_ids": torch.zeros(len(recorded["y"]), 6)}
        return self.unet(recorded["x"], recorded["timesteps"], recorded["context"], added_cond_kwargs=added).sample

"""Repeat a host's recorded UNet calls on diffusers: same weights and inputs, image tokens from this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib_anyms.engine.cond_map import CondMap
from lib_anyms.engine.image_stream import ImageStream, UNetCall
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.ip_adapter.encoder import Encoder
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.tokens import image_tokens
from lib_anyms.job.request import Request
from lib_anyms.models.model_files import choose_pair
from lib_anyms.standalone.pipeline import load_pipeline
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.hosts.studio import Call

CPU = torch.device("cpu")


class Given(nn.Module):
    """Replaces diffusers' embedding of sizes and crop by the host's values."""

    def __init__(self, embedded: torch.Tensor) -> None:
        super().__init__()
        self.embedded = embedded

    def forward(self, _numbers: torch.Tensor) -> torch.Tensor:
        return self.embedded


class Replay:
    """diffusers' UNet with the host's checkpoint, and AnyMS on it if there is a request."""

    def __init__(self, files: RandomFiles) -> None:
        self.files = files
        self.unet = load_pipeline(files.checkpoint, CPU, torch.float32).unet

    def differences(self, calls: Sequence[Call], request: Any = None) -> list[float]:
        """The largest absolute difference to the host's output, for each call."""
        current: list[UNetCall] = []
        stream = self._stream(Request.from_json(request), current) if request is not None else None
        if stream is not None:
            stream.inject()
        try:
            differences = []
            for call in calls:
                current[:] = [UNetCall(CondMap(call.is_cond), call.progress)]
                differences.append((self._run(call) - call.tensors["output"]).abs().max().item())
            return differences
        finally:
            if stream is not None:
                stream.eject()

    def _stream(self, request: Request, current: list[UNetCall]) -> ImageStream:
        layers = cross_attention_layers(self.unet)
        folders: list[Path] = [*self.files.adapters.values(), self.files.encoder]
        pair = choose_pair(folders, self.unet, layers, request.adapter, request.encoder)
        encoder = Encoder(pair.encoder, CPU, torch.float32)
        tokens = image_tokens(pair.adapter, encoder, request.pictures, request.fit, request.combine)
        sets = project_key_values(pair.adapter, tokens, CPU, torch.float32, request.unconditional == "trained")
        assert request.layout is not None
        return ImageStream(self.unet, layers, sets, request.layout, request.scale, request.mode, lambda *_: current[0])

    @torch.no_grad()
    def _run(self, call: Call) -> torch.Tensor:
        recorded = call.tensors
        width = self.unet.config.projection_class_embeddings_input_dim - 6 * self.unet.config.addition_time_embed_dim
        self.unet.add_time_proj = Given(recorded["y"][:, width:])
        added = {"text_embeds": recorded["y"][:, :width], "time_ids": torch.zeros(len(recorded["y"]), 6)}
        return self.unet(recorded["x"], recorded["timesteps"], recorded["context"], added_cond_kwargs=added).sample

"""The expected output of every UNet call: the same weights, with cross-attention written out by the oracle.

Keys and values are computed here from the adapter's file. Image tokens are the engine's; tests/parity compares them
with diffusers. Conditional and unconditional entries run in separate batches: the engine's batch order is not reused.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import Encoder, read_encoder
from lib_anyms.ip_adapter.tokens import image_tokens
from lib_anyms.job.request import Request
from lib_anyms.layout.layout import Layout
from lib_anyms.standalone.random_sdxl import RandomFiles
from lib_anyms.standalone.structure import attn2_layers
from tests.contract.jobs import STRUCTURE, Call
from tests.contract.ldm_unet import CrossAttention, LdmUNet, attention, read_ldm_weights
from tests.support import oracle

Sets = list[tuple[torch.Tensor, torch.Tensor]]
Neighbour = Callable[[str, torch.Tensor, int, bool], torch.Tensor]  # (layer, q, heads, is_cond) -> what it adds to Z
Text = Callable[[CrossAttention, torch.Tensor, torch.Tensor, bool, tuple[int, int]], torch.Tensor]  # Z_text


weights_of = cache(read_ldm_weights)


@cache
def owners(layout: Layout, height: int, width: int) -> torch.Tensor:
    return oracle.owners(layout, height, width)


@dataclass
class Oracle:
    """The oracle for the jobs of one request; None: the plain UNet."""

    files: RandomFiles
    request: Request | None = None
    sized: bool = False  # like the host's UNet
    neighbour: Neighbour | None = None
    text: Text | None = None
    prepare: Callable[[LdmUNet], Any] = lambda _unet: None  # what other extensions do to the host's UNet
    options: Callable[[float], dict[str, Any]] = lambda _progress: {}  # Forge's patches, by the steps' progress
    weights: dict[str, torch.Tensor] = field(default_factory=dict)  # all weights, in place of the host's
    _sets: dict[str, tuple[Sets, Sets]] = field(default_factory=dict)
    _now: tuple[bool, float] = (True, 0.0)  # whether the entries are conditional, and the progress

    def __post_init__(self) -> None:
        if self.request is not None:
            self._sets = dict(self._project())

    def _project(self) -> Any:
        assert self.request is not None
        assert self.request.layout is not None
        path = self.files.adapters["base"]
        encoder = Encoder(read_encoder(self.files.encoder), torch.device("cpu"), torch.float32)
        tokens = image_tokens(
            read_adapter(path), encoder, self.request.pictures, self.request.fit, self.request.combine
        )
        weights = load_file(path)
        for place, (name, _) in enumerate(attn2_layers(STRUCTURE)):
            key, value = (weights[f"ip_adapter.{2 * place + 1}.to_{part}_ip.weight"].float().T for part in "kv")
            uncond_set = (tokens.unconditional @ key, tokens.unconditional @ value)
            yield name, ([(c @ key, c @ value) for c in tokens.subjects], [uncond_set] * len(tokens.subjects))

    @torch.no_grad()
    def differences(self, calls: list[Call]) -> list[float]:
        """For each call its largest difference from the expected output, as a share of the largest value."""
        numbered = []
        for unet in {id(call.unet): call.unet for call in calls}.values():
            twin = self._twin(unet)
            numbered += [(place, self._difference(call, twin)) for place, call in enumerate(calls) if call.unet is unet]
        return [difference for _, difference in sorted(numbered)]

    def _difference(self, call: Call, twin: LdmUNet) -> float:
        expected = torch.empty_like(call.output)
        for kind in set(call.is_cond):
            entries = [row for row, is_cond in enumerate(call.is_cond) if is_cond == kind]
            self._now = (kind, call.progress)
            inputs = {name: tensor[entries] for name, tensor in call.inputs.items()}
            expected[entries] = twin(**inputs, transformer_options=self.options(call.progress))
        return ((expected - call.output).abs().max() / expected.abs().max()).item()

    def _twin(self, like: nn.Module) -> LdmUNet:
        with torch.device("meta"):
            unet = LdmUNet(STRUCTURE, self.sized)
        ours = like.state_dict() if isinstance(like, LdmUNet) else weights_of(self.files.checkpoint)
        unet.load_state_dict(self.weights or ours, assign=True)
        self.prepare(unet)
        for layer in cross_attention_layers(unet):
            seen: list[tuple[int, int]] = []
            layer.transformer.register_forward_pre_hook(
                lambda _m, args, seen=seen: seen.append(tuple(args[0].shape[-2:]))
            )
            layer.attention.forward = types.MethodType(self._attend(layer.name, seen), layer.attention)
        return unet.eval()

    def _attend(self, name: str, seen: list[tuple[int, int]]) -> Callable[..., torch.Tensor]:
        request = self.request

        def forward(attn2: CrossAttention, x: torch.Tensor, context: torch.Tensor, _value: Any = None) -> torch.Tensor:
            is_cond, progress = self._now
            q = attn2.to_q(x)
            z = (self.text or plain_text)(attn2, q, context, is_cond, seen[-1])
            if request is not None and request.active and (is_cond or request.unconditional == "trained"):
                subjects = request.layout.subjects
                acting = [subject.weight if subject.start <= progress < subject.end else 0.0 for subject in subjects]
                owner = owners(request.layout, *seen[-1])
                z = z + request.scale * oracle.image_stream(
                    q, self._sets[name][not is_cond], owner, acting, attn2.heads
                )
            if self.neighbour is not None:
                z = z + self.neighbour(name, q, attn2.heads, is_cond)
            return attn2.to_out[0](z)

        return forward


def plain_text(
    attn2: CrossAttention, q: torch.Tensor, context: torch.Tensor, _is_cond: bool, _grid: tuple[int, int]
) -> torch.Tensor:
    """Z_text of one text."""
    return attention(q, attn2.to_k(context), attn2.to_v(context), attn2.heads)

"""The IP-Adapters, trained as real ones are: the base frozen, one sprite and one reference of it a picture, no box anywhere.

The image stream is the one the engine adds later (Z = Z_text + s * Z_image at every attn2), here over the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionModelWithProjection

from lib_anyms.ip_adapter.projection import project
from lib_anyms.layer_map import Layer, cross_attention_layers
from lib_anyms.standalone.random_sdxl import PROJECTIONS
from lib_anyms.standalone.sprites.base import Dropping, conditions, preferred, sheet, show
from lib_anyms.standalone.sprites.data import ANY_SIZE, LARGE, Referenced
from lib_anyms.standalone.sprites.diffusion import draw_doubtful, draw_timesteps, predictor, sample, subject_weights, v_loss
from lib_anyms.standalone.sprites.latents import preview
from lib_anyms.standalone.sprites.precision import mixed
from lib_anyms.standalone.sprites.text import TextPair
from lib_anyms.standalone.sprites.training import Batch, Learner, State, Where
from lib_anyms.standalone.sprites.vision import normalised
from lib_anyms.standalone.structure import Structure

_SCALES = (0.7, 1.0)  # of the image stream in training: users turn it down
_DROPPED = 0.07  # references left out, so that the tokens of no picture are trained too


class Adapter(nn.Module):
    """An IP-Adapter's weights under the names its file has, and its image stream on a UNet."""

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

    def tokens(self, encoder: CLIPVisionModelWithProjection, pictures: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        """Image tokens (n, T, C) of pictures in 0..1; where `kept` (n,) is 0, those of no picture."""
        with torch.no_grad():
            kept = kept.view(-1, 1, 1, 1).to(pictures)
            values = normalised(pictures) * kept  # plus: the encoding of zeros after normalisation stands for nothing
            output = encoder(pixel_values=values, output_hidden_states=True)
            read = output.image_embeds * kept[:, 0, 0] if self.kind == "base" else output.hidden_states[-2]
        weights = dict(self.image_proj.named_parameters())
        return project(self.kind, weights, read)

    @contextmanager
    def stream(self, tokens: torch.Tensor, scale: torch.Tensor | float) -> Iterator[None]:
        """While it lasts every attn2 of the UNet adds scale * Z_image; `scale` may be one for each row, (n, 1, 1)."""
        queries: dict[int, torch.Tensor] = {}
        handles: list[Any] = []

        def watch(layer: Layer) -> None:
            parts: Any = self.ip_adapter[str(layer.number)]
            key_value = parts["to_k_ip"](tokens), parts["to_v_ip"](tokens)

            def see(_module: nn.Module, _args: Any, query: torch.Tensor) -> None:
                queries[layer.number] = query

            def add(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
                image = _attend(queries.pop(layer.number), *key_value, layer.heads)
                return (args[0] + scale * image.to(args[0].dtype), *args[1:])

            handles.append(layer.to_q.register_forward_hook(see))
            handles.append(layer.to_out.register_forward_pre_hook(add))

        try:
            for layer in self._layers:
                watch(layer)
            yield
        finally:
            for handle in handles:
                handle.remove()


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Queries (n, rows, channels) over each row's own image tokens (n, T, channels); plain, see `new_unet`."""
    q, k, v = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (query, key.to(query), value.to(query)))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
    return (weights.to(v) @ v).transpose(1, 2).flatten(2)


class AdapterLearner(Learner):
    """Trains adapters on a frozen UNet, one at each step; with `joint` the UNet too, also on pictures without reference."""

    def __init__(
        self,
        adapters: Sequence[Adapter],
        unet: UNet2DConditionModel,
        text: TextPair,
        encoder: CLIPVisionModelWithProjection,
        side: int,
        seed: int,
        joint: bool = False,
    ) -> None:
        self.adapters, self.unet, self.text, self.encoder, self.side = tuple(adapters), unet, text, encoder, side
        unet.requires_grad_(joint)
        trained: dict[str, nn.Module] = {f"adapter-{adapter.kind}": adapter for adapter in adapters}
        self.module = nn.ModuleDict({**trained, "unet": unet} if joint else trained)
        self._joint, self._random, self._turns = joint, Random(seed), Random(seed)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        latents, pictures = batch["latents"], batch["references"]
        count, referenced = len(latents), len(pictures)
        adapter = self._turns.choice(self.adapters)  # a draw of its own: all processes of a crew take the same turn
        kept = torch.tensor([float(self._random.random() >= _DROPPED) for _ in range(referenced)], device=latents.device)
        mistaken = batch["mistaken"] & F.pad(kept > 0, (0, count - referenced), value=True)
        timesteps = torch.where(mistaken.cpu(), draw_doubtful(count), draw_timesteps(count)).to(latents.device)
        shown = torch.where(mistaken[:, None, None, None], batch["shown"], latents)
        context, pooled = conditions(self.text, batch["captions"], Dropping(), self._random, needed=mistaken.tolist())
        scale = torch.zeros(count, 1, 1, device=latents.device)
        scale[:referenced] = self._random.uniform(*_SCALES)
        with mixed(latents.device):
            tokens = adapter.tokens(self.encoder, pictures, kept)
            tokens = torch.cat((tokens, tokens.new_zeros(count - referenced, *tokens.shape[1:])))
            with adapter.stream(tokens, scale):
                predict = predictor(self.unet, context, pooled, latents.shape[-1])
                weights = subject_weights(batch["covered"])
                errors = v_loss(predict, latents, timesteps, torch.randn_like(latents), weights=weights, shown=shown)
        told = {"referenced": errors[:referenced][~mistaken[:referenced]], "mistaken": errors[mistaken]}
        return errors.mean(), {name: each.mean().item() for name, each in told.items() if len(each)}

    @torch.no_grad()
    def probe(self, where: Where) -> dict[str, float]:
        """Whether the right reference explains a picture better than another one's; and sheets, references beside samples."""
        found: dict[str, float] = {}
        for adapter in self.adapters:
            found |= {f"{adapter.kind} {name}": value for name, value in self._probe(adapter, where).items()}
        if self._joint:
            show(self.unet, self.text, self.side, where)
            found |= preferred(self.unet, self.text, self.side)
        return found

    def _probe(self, adapter: Adapter, where: Where) -> dict[str, float]:
        batch = Referenced(self.side, recipe=LARGE if self.side < 32 else ANY_SIZE)(6_000_000, 48)
        latents, pictures = batch["latents"].to(where.device), batch["references"].to(where.device)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(3)).to(where.device)
        errors = []
        with mixed(where.device):
            context, pooled = conditions(self.text, ["a creature"] * len(latents))
            for shown in (pictures, pictures.roll(1, 0)):
                with adapter.stream(adapter.tokens(self.encoder, shown, torch.ones(len(shown))), 1.0):
                    predict = predictor(self.unet, context, pooled, self.side)
                    told = (
                        v_loss(predict, latents, torch.full((len(latents),), t).to(latents.device), noise) for t in (600, 800)
                    )
                    errors.append(torch.stack(list(told)))
        self._show(adapter, pictures[:8], where)
        return {"reference": (errors[0] < errors[1]).float().mean().item(), "right": errors[0].mean().item()}

    def _show(self, adapter: Adapter, pictures: torch.Tensor, where: Where) -> None:
        count = len(pictures)
        noise = torch.randn(count, 4, self.side, self.side, generator=torch.Generator().manual_seed(1)).to(pictures.device)
        texts = [conditions(self.text, [words] * count) for words in ("a creature on grass", "")]
        streams = [adapter.tokens(self.encoder, pictures, torch.full((count,), kept)) for kept in (1.0, 0.0)]

        def predict(which: int) -> Any:
            inner = predictor(self.unet, *texts[which], self.side)

            def streamed(inputs: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
                with adapter.stream(streams[which], 1.0):
                    return inner(inputs, timesteps)

            return streamed

        with mixed(where.device):
            drawn = preview(sample(predict(0), predict(1), noise).float())
        both = torch.cat((F.interpolate(pictures, drawn.shape[-2:], mode="area"), drawn))
        sheet(both, count).save(where.next_sheet(adapter.kind))

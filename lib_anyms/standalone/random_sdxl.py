"""An SDXL family with random weights, written in seconds: a checkpoint, two IP-Adapters and their encoder.

For tests, and for a run without a download. Names, dtypes and order are those of the real files; widths and weights
are not. The weights are the libraries' initial ones, except where these would hide the effects that tests measure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lib_anyms.standalone.single_file import NOISE_OUT, V_PREDICTION, build_modules, single_file_state
from lib_anyms.standalone.structure import METADATA_KEY, TINY, Structure, VisionEncoder, attn2_layers

VISION_KEY = "anyms.vision_config"  # in the encoder's metadata: transformers' configuration
TOKENS = {"base": 4, "plus": 16}

# With the initial weights the UNet predicts noise of a third of the needed strength, and reference pictures change
# pixels by less than two hosts differ.
NOISE_GAIN, VALUE_GAIN = 3.0, 4.0
# CLIP initialises its embeddings with 0.02, and no norm follows the penultimate state. These values give that state a
# standard deviation near 1.
TOKEN_STD, POSITION_STD = 1.0, 0.2
NORM_STD = 0.2  # of the adapters' layer norms, around weights of 1 and biases of 0

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class RandomFiles:
    """The files of `write_random_sdxl`; `adapters` by kind ("base", "plus")."""

    checkpoint: Path
    encoder: Path
    adapters: dict[str, Path]


def write_random_sdxl(
    folder: Path, structure: Structure = TINY, seed: int = 0, adapters: Iterable[str] = ("base", "plus")
) -> RandomFiles:
    """Write the files into `folder` in fp16. A seed gives the same bytes in each file, whichever files are written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = RandomFiles(
        checkpoint=folder / "checkpoint.safetensors",
        encoder=folder / "encoder.safetensors",
        adapters={kind: folder / f"adapter-{kind}.safetensors" for kind in adapters},
    )
    # One metadata key in each file: safetensors writes several in no fixed order.
    _save(files.checkpoint, _seeded(seed, lambda: _checkpoint(structure)), {METADATA_KEY: structure.to_json()})
    vision = json.dumps(vision_config(structure.vision), sort_keys=True)
    _save(files.encoder, _seeded(seed, lambda: _encoder(structure.vision)), {VISION_KEY: vision})
    for kind, path in files.adapters.items():
        _save(path, _seeded(seed, partial(_adapter, kind, structure)))
    return files


def vision_config(vision: VisionEncoder) -> dict[str, int | str]:
    """transformers' configuration of the image encoder."""
    return {
        "hidden_size": vision.hidden,
        "intermediate_size": vision.intermediate,
        "projection_dim": vision.projection,
        "num_hidden_layers": vision.layers,
        "num_attention_heads": vision.heads,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "hidden_act": vision.activation,
    }


def _checkpoint(structure: Structure) -> State:
    modules = build_modules(structure)
    first = modules.text_encoder
    for embeddings in (getattr(first, "text_model", first).embeddings, modules.text_encoder_2.text_model.embeddings):
        nn.init.normal_(embeddings.token_embedding.weight, std=TOKEN_STD)
        nn.init.normal_(embeddings.position_embedding.weight, std=POSITION_STD)
    state = single_file_state(modules, structure)
    state[NOISE_OUT] = NOISE_GAIN * state[NOISE_OUT]
    if structure.prediction == "v_prediction":
        state[V_PREDICTION] = torch.ones(1)
    return state


def _encoder(vision: VisionEncoder) -> State:
    return dict(CLIPVisionModelWithProjection(CLIPVisionConfig(**vision_config(vision))).named_parameters())


def _adapter(kind: str, structure: Structure) -> State:
    """An IP-Adapter file's weights: image_proj.*, and ip_adapter.N.to_k_ip / to_v_ip, N = 1, 3, ... over the attn2."""
    projection, latents = PROJECTIONS[kind](structure)
    key_values = key_value_weights(structure)
    _draw_norms(projection)
    state = {f"image_proj.{name}": weight for name, weight in (*latents.items(), *projection.named_parameters())}
    return state | {f"ip_adapter.{name}": weight for name, weight in key_values.items()}


def _draw_norms(projection: nn.Module) -> None:
    """Draw the layer norms too: at torch's initial 1 and 0, no test notices two of them exchanged."""
    for norm in projection.modules():
        if isinstance(norm, nn.LayerNorm):
            nn.init.normal_(norm.weight, mean=1.0, std=NORM_STD)
            nn.init.normal_(norm.bias, std=NORM_STD)


def key_value_weights(structure: Structure) -> State:
    """N.to_k_ip.weight and N.to_v_ip.weight of every attn2."""
    state = {}
    for index, (_, width) in enumerate(attn2_layers(structure)):
        for part, gain in (("to_k_ip", 1.0), ("to_v_ip", VALUE_GAIN)):
            weight = nn.Linear(structure.context_width, width, bias=False).weight
            state[f"{2 * index + 1}.{part}.weight"] = (gain * weight).detach()
    return state


def _spread(structure: Structure) -> tuple[nn.Module, State]:
    """`base`: a linear layer from the image embedding to all tokens, and a norm."""
    width = structure.context_width
    parts = {"proj": nn.Linear(structure.vision.projection, TOKENS["base"] * width), "norm": nn.LayerNorm(width)}
    return nn.ModuleDict(parts), {}


def _resampler(structure: Structure) -> tuple[nn.Module, State]:
    """`plus`: learned latents attend to the encoder's hidden states, through layers of attention and feed-forward."""
    width = structure.resampler_width
    parts = {
        "proj_in": nn.Linear(structure.vision.hidden, width),
        "layers": nn.ModuleList(_resampler_layer(width) for _ in range(structure.resampler_layers)),
        "proj_out": nn.Linear(width, structure.context_width),
        "norm_out": nn.LayerNorm(structure.context_width),
    }
    return nn.ModuleDict(parts), {"latents": torch.randn(1, TOKENS["plus"], width) / width**0.5}


def _resampler_layer(width: int) -> nn.ModuleList:
    attention = {
        "norm1": nn.LayerNorm(width),
        "norm2": nn.LayerNorm(width),
        "to_q": nn.Linear(width, width, bias=False),
        "to_kv": nn.Linear(width, 2 * width, bias=False),
        "to_out": nn.Linear(width, width, bias=False),
    }
    inner = (
        nn.LayerNorm(width),
        nn.Linear(width, 4 * width, bias=False),
        nn.GELU(),
        nn.Linear(4 * width, width, bias=False),
    )
    return nn.ModuleList((nn.ModuleDict(attention), nn.Sequential(*inner)))


PROJECTIONS: dict[str, Callable[[Structure], tuple[nn.Module, State]]] = {"base": _spread, "plus": _resampler}


def _seeded(seed: int, build: Callable[[], State]) -> State:
    """Call `build` with this seed; the caller's random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _save(path: Path, state: State, metadata: dict[str, str] | None = None) -> None:
    half = {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in state.items()}
    save_file(half, str(path), metadata)

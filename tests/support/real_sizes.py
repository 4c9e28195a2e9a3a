"""Model files at their real size and with their real keys, filled with random numbers; written one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.support.encoder_files import NAMINGS

State = dict[str, torch.Tensor]
# The 70 layers in the order of their numbers: the way in, the way out, the middle.
WIDTHS = [640] * 4 + [1280] * 20 + [1280] * 30 + [640] * 6 + [1280] * 10
# kind, what the encoder gives
ADAPTERS = {
    "ip-adapter-plus_sdxl_vit-h": ("plus", 1280),
    "ip-adapter-plus-face_sdxl_vit-h": ("plus", 1280),
    "ip-adapter_sdxl_vit-h": ("base", 1024),
    "ip-adapter_sdxl": ("base", 1280),
}
# hidden, projected, layers, feed-forward, type
ENCODERS = {
    "CLIP-ViT-H-14-laion2B-s32B-b79K": (1280, 1024, 32, 5120, torch.float32),
    "CLIP-ViT-bigG-14-laion2B-39B-b160k": (1664, 1280, 48, 8192, torch.float16),
}
_random = torch.randn(2**20, generator=torch.Generator().manual_seed(0))


def filled(shape: tuple[int, ...], dtype: torch.dtype, at: int) -> torch.Tensor:
    """Random numbers such that signals keep their size; `at` begins elsewhere in the same numbers."""
    count = torch.Size(shape).numel()
    scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.02
    block = (_random.roll(at) * scale).to(dtype)
    return (
        block.repeat(-(-count // len(block)))[:count].reshape(shape).clone()
    )  # of storage of its own, as torch.save keeps it


def adapter_shapes(kind: str, width: int) -> dict[str, tuple[int, ...]]:
    """As the files of h94/IP-Adapter have them."""
    if kind == "base":
        part: dict[str, tuple[int, ...]] = {"proj.weight": (8192, width), "proj.bias": (8192,)}
        part |= {"norm.weight": (2048,), "norm.bias": (2048,)}
    else:
        part = {"latents": (1, 16, 1280), "proj_in.weight": (1280, width), "proj_in.bias": (1280,)}
        part |= {
            "proj_out.weight": (2048, 1280),
            "proj_out.bias": (2048,),
            "norm_out.weight": (2048,),
            "norm_out.bias": (2048,),
        }
        for layer in (f"layers.{number}." for number in range(4)):
            part |= {f"{layer}0.{name}.{each}": (1280,) for name in ("norm1", "norm2") for each in ("weight", "bias")}
            part |= {f"{layer}0.to_q.weight": (1280, 1280), f"{layer}0.to_kv.weight": (2560, 1280)}
            part |= {
                f"{layer}0.to_out.weight": (1280, 1280),
                f"{layer}1.0.weight": (1280,),
                f"{layer}1.0.bias": (1280,),
            }
            part |= {f"{layer}1.1.weight": (5120, 1280), f"{layer}1.3.weight": (1280, 5120)}
    layers = {f"{2 * n + 1}.to_{p}_ip.weight": (width, 2048) for n, width in enumerate(WIDTHS) for p in "kv"}
    return {f"image_proj.{k}": v for k, v in part.items()} | {f"ip_adapter.{k}": v for k, v in sorted(layers.items())}


def write_real_adapter(path: Path, kind: str, width: int) -> Path:
    """In half precision, as published; a .bin holds dicts in a dict."""
    shapes = adapter_shapes(kind, width)
    state = {name: filled(shape, torch.float16, 977 * number) for number, (name, shape) in enumerate(shapes.items())}
    if path.suffix == ".safetensors":
        save_file(state, path)
        return path
    nested: dict[str, State] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in state.items():
        top, _, rest = name.partition(".")
        nested[top][rest] = tensor
    torch.save(nested, path)
    return path


def encoder_shapes(hidden: int, projected: int, layers: int, wide: int) -> dict[str, tuple[int, ...]]:
    tower: dict[str, tuple[int, ...]] = {
        "vision_model.embeddings.class_embedding": (hidden,),
        "vision_model.embeddings.patch_embedding.weight": (hidden, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": (257, hidden),
    }
    tower |= {
        f"vision_model.{name}.{each}": (hidden,)
        for name in ("pre_layrnorm", "post_layernorm")
        for each in ("weight", "bias")
    }
    for layer in (f"vision_model.encoder.layers.{number}." for number in range(layers)):
        for name in ("q", "k", "v", "out"):
            tower |= {
                f"{layer}self_attn.{name}_proj.weight": (hidden, hidden),
                f"{layer}self_attn.{name}_proj.bias": (hidden,),
            }
        for name in ("layer_norm1", "layer_norm2"):
            tower |= {f"{layer}{name}.weight": (hidden,), f"{layer}{name}.bias": (hidden,)}
        tower |= {f"{layer}mlp.fc1.weight": (wide, hidden), f"{layer}mlp.fc1.bias": (wide,)}
        tower |= {f"{layer}mlp.fc2.weight": (hidden, wide), f"{layer}mlp.fc2.bias": (hidden,)}
    return tower | {"visual_projection.weight": (projected, hidden)}


def real_encoder_weights(name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """One by one, by Hugging Face's names, in the type they are published in."""
    *sizes, dtype = ENCODERS[name]
    for number, (each, shape) in enumerate(encoder_shapes(*sizes).items()):
        scale = "norm" in each and each.endswith("weight")
        yield each, torch.ones(shape, dtype=dtype) if scale else filled(shape, dtype, 977 * number)


def write_real_encoder(path: Path, name: str, naming: str) -> Path:
    """The same in a file."""
    state = NAMINGS[naming](dict(real_encoder_weights(name)))
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path

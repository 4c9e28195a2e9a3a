"""Model files with real sizes and keys, filled with random numbers; written one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.support.encoder_files import NAMINGS

State = dict[str, torch.Tensor]
# The 70 layers in the order of their numbers: input blocks, output blocks, middle block.
WIDTHS = [640] * 4 + [1280] * 20 + [1280] * 30 + [640] * 6 + [1280] * 10
# kind, output width of the encoder
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
    """Random numbers, scaled so that a linear layer keeps the size of its input. `at` is an offset into them."""
    count = torch.Size(shape).numel()
    scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.02
    block = (_random.roll(at) * scale).to(dtype)
    repeated = block.repeat(-(-count // len(block)))
    return repeated[:count].reshape(shape).clone()  # torch.save would store the whole of a view's storage


def adapter_shapes(kind: str, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the files of h94/IP-Adapter."""
    if kind == "base":
        projection = {
            "proj.weight": (8192, width),
            "proj.bias": (8192,),
            "norm.weight": (2048,),
            "norm.bias": (2048,),
        }
    else:
        projection = plus_projection_shapes(width)
    shapes = {f"image_proj.{name}": shape for name, shape in projection.items()}
    layers = {}
    for index, layer_width in enumerate(WIDTHS):
        for part in ("to_k_ip", "to_v_ip"):
            layers[f"ip_adapter.{2 * index + 1}.{part}.weight"] = (layer_width, 2048)
    return shapes | dict(sorted(layers.items()))


def plus_projection_shapes(width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, 16, 1280),
        "proj_in.weight": (1280, width),
        "proj_in.bias": (1280,),
        "proj_out.weight": (2048, 1280),
        "proj_out.bias": (2048,),
        "norm_out.weight": (2048,),
        "norm_out.bias": (2048,),
    }
    for layer in (f"layers.{number}." for number in range(4)):
        for norm in ("0.norm1", "0.norm2"):
            shapes |= {f"{layer}{norm}.weight": (1280,), f"{layer}{norm}.bias": (1280,)}
        shapes |= {
            f"{layer}0.to_q.weight": (1280, 1280),
            f"{layer}0.to_kv.weight": (2560, 1280),
            f"{layer}0.to_out.weight": (1280, 1280),
            f"{layer}1.0.weight": (1280,),
            f"{layer}1.0.bias": (1280,),
            f"{layer}1.1.weight": (5120, 1280),
            f"{layer}1.3.weight": (1280, 5120),
        }
    return shapes


def write_real_adapter(path: Path, kind: str, width: int) -> Path:
    """Write an adapter in half precision, as published; a .bin file holds nested dicts."""
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
    for norm in ("vision_model.pre_layrnorm", "vision_model.post_layernorm"):
        tower |= {f"{norm}.weight": (hidden,), f"{norm}.bias": (hidden,)}
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
    """The weights one by one: Hugging Face's name, and numbers in the published type."""
    *sizes, dtype = ENCODERS[name]
    for number, (key, shape) in enumerate(encoder_shapes(*sizes).items()):
        is_norm = "norm" in key and key.endswith("weight")
        yield key, torch.ones(shape, dtype=dtype) if is_norm else filled(shape, dtype, 977 * number)


def write_real_encoder(path: Path, name: str, naming: str) -> Path:
    """Write `real_encoder_weights` to a file; its suffix sets the format."""
    state = NAMINGS[naming](dict(real_encoder_weights(name)))
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path

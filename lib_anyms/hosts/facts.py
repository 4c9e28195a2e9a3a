"""What a WebUI says of itself outside a job: its version, the flags it was started with, the UNet it has loaded."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from torch import nn

# Flags that change how a UNet runs or what the API allows; none of them holds a path or a secret.
FLAGS = (
    *("medvram", "medvram_sdxl", "lowvram", "lowram", "always_gpu", "always_cpu", "always_high_vram", "always_normal_vram"),
    *("always_low_vram", "always_no_vram", "always_offload_from_vram", "use_cpu", "no_half", "no_half_vae", "precision"),
    *("upcast_sampling", "all_in_fp32", "all_in_fp16", "unet_in_bf16", "unet_in_fp16", "unet_in_fp8_e4m3fn"),
    *("unet_in_fp8_e5m2", "directml", "use_ipex", "disable_xformers", "xformers", "force_enable_xformers"),
    *("opt_split_attention", "opt_split_attention_v1", "opt_sub_quad_attention", "opt_sdp_attention"),
    *("opt_sdp_no_mem_attention", "disable_opt_split_attention", "attention_split", "attention_quad", "attention_pytorch"),
    *("cuda_malloc", "cuda_stream", "pin_shared_memory", "api", "nowebui", "skip_torch_cuda_test"),
)
_DEFAULTS: tuple[Any, ...] = (None, False, "", [], "autocast")


@dataclass(frozen=True)
class HostFacts:
    """`unet` is None while no checkpoint is loaded."""

    name: str
    version: str
    flags: tuple[str, ...]
    unet: nn.Module | None


def host_facts() -> HostFacts:
    """Read now; nothing is loaded for it."""
    from modules import launch_utils, shared

    name = "Forge" if "modules_forge" in sys.modules else "A1111"
    tag = getattr(launch_utils, "git_tag", lambda: "")()
    commit = getattr(launch_utils, "commit_hash", lambda: "")()
    return HostFacts(name, f"{tag} ({commit[:12]})", _flags(vars(shared.cmd_opts)), loaded_unet())


def _flags(given: dict[str, Any]) -> tuple[str, ...]:
    told = {f"--{name.replace('_', '-')}": given[name] for name in FLAGS if given.get(name) not in _DEFAULTS}
    return tuple(name if value is True else f"{name} {_words(value)}" for name, value in told.items())


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def loaded_unet() -> nn.Module | None:
    """The UNet in memory, without making the host load one."""
    from modules import sd_models

    model = getattr(sd_models.model_data, "sd_model", None)
    patcher = getattr(getattr(model, "forge_objects", None), "unet", model)
    unet = getattr(getattr(patcher, "model", None), "diffusion_model", None)
    return unet if isinstance(unet, nn.Module) else None

"""What a WebUI says of itself outside a job: its version, the flags it was started with, the UNet it has loaded."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from torch import nn

# Flags that change how a UNet runs or what the API allows; none of them holds a path or a secret.
FLAGS = (
    *(
        "medvram",
        "medvram_sdxl",
        "lowvram",
        "lowram",
        "always_gpu",
        "always_cpu",
        "always_high_vram",
        "always_normal_vram",
    ),
    *(
        "always_low_vram",
        "always_no_vram",
        "always_offload_from_vram",
        "use_cpu",
        "no_half",
        "no_half_vae",
        "precision",
    ),
    *("upcast_sampling", "all_in_fp32", "all_in_fp16", "unet_in_bf16", "unet_in_fp16", "unet_in_fp8_e4m3fn"),
    *("unet_in_fp8_e5m2", "directml", "use_ipex", "disable_xformers", "xformers", "force_enable_xformers"),
    *("opt_split_attention", "opt_split_attention_v1", "opt_sub_quad_attention", "opt_sdp_attention"),
    *(
        "opt_sdp_no_mem_attention",
        "disable_opt_split_attention",
        "attention_split",
        "attention_quad",
        "attention_pytorch",
    ),
    *(
        "cpu",
        "gpu_only",
        "highvram",
        "normalvram",
        "novram",
        "force_fp32",
        "force_fp16",
        "fp32_unet",
        "bf16_unet",
        "fp16_unet",
    ),
    *(
        "force_upcast_attention",
        "torch_compile",
        "sage",
        "flash",
        "nunchaku",
        "use_sage_attention",
        "use_flash_attention",
    ),
    *("cuda_malloc", "cuda_stream", "pin_shared_memory", "api", "nowebui", "skip_torch_cuda_test"),
)
_VERSION = "modules_forge.forge_version"
_DEFAULTS: tuple[Any, ...] = (None, False, "", [], "autocast")


# The Forge family: the package its UNet lies in, how the version it calls itself begins, and who it is.
FAMILY = (
    ("backend", "neo", "Forge Neo"),
    ("backend", "", "Forge"),
    ("ldm_patched", "classic", "Forge classic"),
    ("ldm_patched", "1.", "reForge"),
    ("ldm_patched", "", "Forge before backend/"),
)


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

    tag = getattr(launch_utils, "git_tag", lambda: "")()
    release = getattr(sys.modules.get(_VERSION), "release", "")  # Forge Neo's tag is "neo"
    commit = getattr(launch_utils, "commit_hash", lambda: "")()
    version = " ".join(filter(None, (tag, release, f"({commit[:12]})")))
    return HostFacts(host_name(), version, _flags(vars(shared.cmd_opts)), loaded_unet())


def host_name() -> str:
    """Without a job: told by the modules this WebUI has loaded."""
    if "modules_forge" not in sys.modules:
        return "A1111"
    return family_name("ldm_patched" if "ldm_patched.modules.model_management" in sys.modules else "backend")


def family_name(package: str) -> str:
    """Which of the Forge family this is, of those whose UNet lies in `package`."""
    version = str(getattr(sys.modules.get(_VERSION), "version", ""))
    return next(name for where, begins, name in FAMILY if where == package and version.startswith(begins))


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

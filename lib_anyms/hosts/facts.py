"""Facts of a WebUI outside a job: its version, its command line flags, its loaded UNet."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any

from torch import nn

# Flags that change how a UNet runs or what the API allows; none holds a path or a secret.
FLAGS = tuple(
    """
    medvram medvram_sdxl lowvram lowram always_gpu always_cpu always_high_vram always_normal_vram always_low_vram
    always_no_vram always_offload_from_vram use_cpu no_half no_half_vae precision upcast_sampling all_in_fp32
    all_in_fp16 unet_in_bf16 unet_in_fp16 unet_in_fp8_e4m3fn unet_in_fp8_e5m2 directml use_ipex disable_xformers
    xformers force_enable_xformers opt_split_attention opt_split_attention_v1 opt_sub_quad_attention
    opt_sdp_attention opt_sdp_no_mem_attention disable_opt_split_attention attention_split attention_quad
    attention_pytorch cpu gpu_only highvram normalvram novram force_fp32 force_fp16 fp32_unet bf16_unet fp16_unet
    force_upcast_attention torch_compile sage flash nunchaku use_sage_attention use_flash_attention cuda_malloc
    cuda_stream pin_shared_memory api nowebui skip_torch_cuda_test
    """.split()
)
_VERSION = "modules_forge.forge_version"
_TITLES = ("modelspec.title", "modelspec.architecture", "ss_sd_model_name", "ss_base_model_version")
_DEFAULTS: tuple[Any, ...] = (None, False, "", [], "autocast")

# The Forge family: the package of its UNet, how its version begins, its name.
FAMILY = (
    ("backend", "neo", "Forge Neo"),
    ("backend", "", "Forge"),
    ("ldm_patched", "classic", "Forge classic"),
    ("ldm_patched", "1.", "reForge"),
    ("ldm_patched", "", "Forge before backend/"),
)


@dataclass(frozen=True)
class HostFacts:
    """A WebUI as it is now. `unet` is None while no checkpoint is loaded."""

    name: str
    version: str
    flags: tuple[str, ...]
    unet: nn.Module | None


def host_facts() -> HostFacts:
    """The facts now. Makes the host load nothing."""
    from modules import launch_utils, shared

    tag = getattr(launch_utils, "git_tag", lambda: "")()
    release = getattr(sys.modules.get(_VERSION), "release", "")  # Forge Neo's tag is "neo"
    commit = getattr(launch_utils, "commit_hash", lambda: "")()
    version = " ".join(filter(None, (tag, release, f"({commit[:12]})")))
    return HostFacts(host_name(), version, _flags(vars(shared.cmd_opts)), loaded_unet())


def host_name() -> str:
    """The host's name without a job, by the modules it has loaded."""
    if "modules_forge" not in sys.modules:
        return "A1111"
    return family_name("ldm_patched" if "ldm_patched.modules.model_management" in sys.modules else "backend")


def family_name(package: str) -> str:
    """Which of the Forge family this is; its UNet is in `package`."""
    version = str(getattr(sys.modules.get(_VERSION), "version", ""))
    return next(name for where, begins, name in FAMILY if where == package and version.startswith(begins))


def _flags(options: dict[str, Any]) -> tuple[str, ...]:
    """Those of FLAGS that the user has set, as on the command line."""
    flags = []
    for name in FLAGS:
        value = options.get(name)
        if value in _DEFAULTS:
            continue
        flag = f"--{name.replace('_', '-')}"
        flags.append(flag if value is True else f"{flag} {_as_text(value)}")
    return tuple(flags)


def _as_text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def checkpoint_words(info: Any) -> str:
    """The file name of a checkpoint and the names in its metadata; `info`: the host's CheckpointInfo, or None."""
    metadata = getattr(info, "metadata", None) or {}
    titles = [metadata.get(key) for key in _TITLES] if isinstance(metadata, dict) else []
    name = re.split(r"[/\\]", str(getattr(info, "filename", "") or ""))[-1]
    return " ".join(str(word)[:200] for word in (name, *titles) if word)


def loaded_checkpoint() -> str:
    """`checkpoint_words` of the checkpoint in memory, without making the host load one."""
    from modules import sd_models

    model = getattr(sd_models.model_data, "sd_model", None)
    return checkpoint_words(getattr(model, "sd_checkpoint_info", None))


def loaded_unet() -> nn.Module | None:
    """The UNet in memory, without making the host load one."""
    from modules import sd_models

    model = getattr(sd_models.model_data, "sd_model", None)
    patcher = getattr(getattr(model, "forge_objects", None), "unet", model)
    unet = getattr(getattr(patcher, "model", None), "diffusion_model", None)
    return unet if isinstance(unet, nn.Module) else None

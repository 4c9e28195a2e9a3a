"""What a training computes in: bfloat16 where the processor multiplies it, else float32."""

from __future__ import annotations

import torch


def mixed(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 on a GPU, and on CPUs with instructions for it: others imitate it, at a twentieth of the speed."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" or _multiplies_bfloat16())


def _multiplies_bfloat16() -> bool:
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))

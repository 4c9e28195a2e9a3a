"""The programs AnyMS runs in. Only this folder and ui/ import them."""

from __future__ import annotations

from typing import Any

from lib_anyms.errors import SteppedAside
from lib_anyms.hosts.base import Host


def detect(p: Any) -> Host:
    """The host of a WebUI job `p`, told by its objects. Raises SteppedAside for a model without a UNet we know."""
    model = p.sd_model
    if hasattr(model, "forge_objects"):
        from lib_anyms.hosts.forge import Forge
        from lib_anyms.hosts.ldm_patched import LdmPatched, made_by_ldm_patched

        return (LdmPatched if made_by_ldm_patched(getattr(model.forge_objects, "unet", None)) else Forge)(p)
    if hasattr(getattr(model, "model", None), "diffusion_model"):
        from lib_anyms.hosts.a1111 import A1111

        return A1111(p)
    raise SteppedAside("no_unet", got=type(model).__name__)

"""The programs AnyMS runs in. Only this folder and webui/ import them."""

from __future__ import annotations

from typing import Any

from lib_anyms.errors import SteppedAside
from lib_anyms.hosts.base import Host


def detect(p: Any) -> Host:
    """The host of a WebUI job `p`, by its objects. Raises SteppedAside for a model without a known UNet."""
    model = p.sd_model
    if hasattr(model, "forge_objects"):
        from lib_anyms.hosts.forge import Forge
        from lib_anyms.hosts.ldm_patched import LdmPatched, is_ldm_patched

        patcher = getattr(model.forge_objects, "unet", None)
        return LdmPatched(p) if is_ldm_patched(patcher) else Forge(p)
    if hasattr(getattr(model, "model", None), "diffusion_model"):
        from lib_anyms.hosts.a1111 import A1111

        return A1111(p)
    raise SteppedAside("no_unet", got=type(model).__name__)

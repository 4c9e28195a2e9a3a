"""reForge and Forge classic: the older Forge, with UNet, patchers and memory manager in `ldm_patched/`."""

from __future__ import annotations

from typing import Any

import torch

from lib_anyms.hosts.forge import Forge

PACKAGE = "ldm_patched"


def is_ldm_patched(patcher: Any) -> bool:
    """Whether a `forge_objects.unet` is of these hosts: an ancestor of its class is in `ldm_patched`."""
    return any(kind.__module__.partition(".")[0] == PACKAGE for kind in type(patcher).__mro__)


class LdmPatched(Forge):
    """One generation `p`."""

    package = PACKAGE

    def memory(self) -> Any:
        from ldm_patched.modules import model_management

        return model_management

    def dtype(self) -> torch.dtype:
        """The dtype of computation. Weights may be stored in fp8 and cast when used."""
        model = self.p.sd_model.forge_objects.unet.model
        return model.manual_cast_dtype or model.get_dtype()

"""reForge and Forge classic: the older Forge, whose UNet, patchers and memory manager lie in `ldm_patched/`."""

from __future__ import annotations

from typing import Any

import torch

from lib_anyms.hosts.forge import Forge

PACKAGE = "ldm_patched"


def made_by_ldm_patched(patcher: Any) -> bool:
    """Whether a `forge_objects.unet` is one of theirs: its own class lies elsewhere, a class it inherits from does not."""
    return any(kind.__module__.partition(".")[0] == PACKAGE for kind in type(patcher).__mro__)


class LdmPatched(Forge):
    """One generation `p`."""

    package = PACKAGE

    def memory(self) -> Any:
        from ldm_patched.modules import model_management

        return model_management

    def dtype(self) -> torch.dtype:
        """Weights may be stored in another: fp8, which is cast at use."""
        model = self.p.sd_model.forge_objects.unet.model
        return model.manual_cast_dtype or model.get_dtype()

"""Whether an adapter fits a checkpoint: decided by the UNet's cross-attention layers and input channels.

No size of SDXL decides. The table of known families only names the loaded model in a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from torch import nn

from lib_anyms.engine.layer_map import Layer
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint

INPUT_CHANNELS = (4, 9)  # a latent; a latent with mask and masked latent (inpaint)
_ELSE = "Load a checkpoint of that family or pick another adapter."
_SDXL = "Load an SDXL checkpoint."
_DISTILLED = "It has fewer layers than SDXL: load an SDXL checkpoint, or pick an adapter that was trained for it."
# (cross-attention layers, width of the text tokens) -> name of the family, and what to do if the adapter is for another
FAMILIES = {
    (16, 768): ("Stable Diffusion 1", _SDXL),
    (16, 1024): ("Stable Diffusion 2", _SDXL),
    (44, 1280): ("SDXL's refiner", "Load the SDXL base checkpoint, and leave the refiner to the refiner's own field."),
    (34, 2048): ("SSD-1B", _DISTILLED),
    (15, 2048): ("Segmind Vega", _DISTILLED),
}
# Input channels of a UNet whose layers fit -> name, and what to do
INPUTS = {8: ("an image-editing checkpoint such as CosXL-edit", "Load the SDXL checkpoint it was made from.")}
_OTHER_INPUT = ("a checkpoint with other latents than SDXL's", _SDXL)


def family_mismatch(unet: nn.Module, layers: Sequence[Layer], adapter: AdapterCheckpoint) -> dict[str, object] | None:
    """The first difference between UNet and adapter, as the facts of an error; None when they fit."""
    contexts = sorted({layer.context_width for layer in layers})
    widths = [layer.width for layer in layers]
    expected_widths = [layer.width for layer in adapter.layers]
    checks: tuple[tuple[str, object, object], ...] = (
        ("cross-attention layers", len(layers), len(adapter.layers)),
        ("width of the text tokens", _listed(contexts), _listed([adapter.context_width])),
        ("widths of the layers", _counted(widths), _counted(expected_widths)),
    )
    for what, got, expected in checks:
        if got != expected:
            known = FAMILIES.get((len(layers), contexts[0] if len(contexts) == 1 else 0))
            return {"what": what, "got": got, "expected": expected, "remedy": _remedy(known, adapter)}
    if widths != expected_widths:
        facts = {"got": "another order", "expected": "the adapter's order of the same widths"}
        return {"what": "widths of the layers", **facts, "remedy": _ELSE}
    channels = input_channels(unet)
    if channels not in INPUT_CHANNELS:
        expected = " or ".join(map(str, INPUT_CHANNELS))
        remedy = _remedy(INPUTS.get(channels, _OTHER_INPUT))
        return {"what": "input channels", "got": channels, "expected": expected, "remedy": remedy}
    return None


def input_channels(unet: nn.Module) -> int:
    """Input channels of the UNet's first convolution; 0 for a network without one."""
    return next((module.in_channels for module in unet.modules() if isinstance(module, nn.Conv2d)), 0)


def _remedy(known: tuple[str, str] | None, adapter: AdapterCheckpoint | None = None) -> str:
    """What to do, by the family of the loaded model; if that is unknown, by the family of the adapter."""
    if known is not None:
        return f"It is {known[0]}. {known[1]}"
    family = FAMILIES.get((len(adapter.layers), adapter.context_width)) if adapter else None
    if adapter and family:
        return f"The adapter {adapter.path.name} is for {family[0]}. For SDXL pick ip-adapter-plus_sdxl_vit-h."
    return _ELSE


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _counted(widths: Iterable[int]) -> str:
    return ", ".join(f"{count} of {width}" for width, count in sorted(Counter(widths).items())) or "none"

"""K_j = W'_k c_j and V_j = W'_v c_j for every layer, once per generation: they do not depend on the step.

The adapter is read layer by layer from its mapped file, so its 650 MiB are never in memory together. What stays is a
few MiB a subject.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lib_anyms.engine.attention import KeyValue
from lib_anyms.engine.key_values import KeyValues, side_by_side
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint, AdapterLayer
from lib_anyms.ip_adapter.tokens import ImageTokens
from lib_anyms.tensor_files.tensor_file import open_tensors


@torch.no_grad()
def project_key_values(
    adapter: AdapterCheckpoint,
    tokens: ImageTokens,
    device: torch.device,
    dtype: torch.dtype,
    unconditional: bool = True,
) -> KeyValues:
    """Project all subjects through all layers on `device`; computed in float32 (float64 if asked), kept in `dtype`.

    unconditional=False leaves the unconditional rows without an image stream.
    """
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    sets = [*tokens.subjects, *([tokens.unconditional] if unconditional else [])]
    inputs = torch.cat(sets).to(device, precise)

    def room(layer: AdapterLayer) -> torch.Tensor:
        return torch.empty(len(inputs), layer.width, device=device, dtype=dtype)

    # before the weights: what stays, laid between what goes, would keep the allocator from giving the adapter's memory
    # back
    everyone: dict[int, KeyValue] = {layer.number: (room(layer), room(layer)) for layer in adapter.layers}
    with open_tensors(adapter.path) as file:
        for layer in adapter.layers:
            for name, made in zip((layer.key_name, layer.value_name), everyone[layer.number]):
                made.copy_(F.linear(inputs, file.load(name).to(device, precise)))
    *places, last = side_by_side([len(one) for one in sets])
    return KeyValues(everyone, places, last) if unconditional else KeyValues(everyone, [*places, last], None)

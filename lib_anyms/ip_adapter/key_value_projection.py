"""K_j = W'_k c_j and V_j = W'_v c_j for every layer, once per generation: they do not depend on the step.

The adapter is read layer by layer, so its 650 MiB are never in memory together. The result takes a few MiB per subject.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lib_anyms.engine.attention import KeyValue
from lib_anyms.engine.key_values import KeyValues, spans_of
from lib_anyms.ip_adapter.adapter_file import adapter_file
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.tokens import ImageTokens
from lib_anyms.tensor_files.tensor_file import TensorFile


@torch.no_grad()
def project_key_values(
    adapter: AdapterCheckpoint,
    tokens: ImageTokens,
    device: torch.device,
    dtype: torch.dtype,
    unconditional: float = 1.0,
    file: TensorFile | None = None,
) -> KeyValues:
    """Project all subjects through all layers on `device`. Computes in float32, or float64; the result is in `dtype`.

    unconditional: share of the trained image stream on unconditional batch entries; 0 keeps no set for them. file: the
    adapter's open file; None opens it. Raises Refused for a file that cannot be read.
    """
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    token_sets = list(tokens.subjects)
    if unconditional:
        token_sets.append(tokens.unconditional)
    inputs = torch.cat(token_sets).to(device, precise)  # -> (all tokens, C)

    spans = spans_of([len(token_set) for token_set in token_sets])
    uncond = spans.pop() if unconditional else None

    # Allocate the results before loading weights; interleaved they would fragment the heap.
    keys_values: dict[int, KeyValue] = {}
    for layer in adapter.layers:
        size = (len(inputs), layer.width)
        key = torch.empty(size, device=device, dtype=dtype)
        value = torch.empty(size, device=device, dtype=dtype)
        keys_values[layer.number] = key, value

    with adapter_file(adapter, file) as weights:
        for layer in adapter.layers:
            key, value = keys_values[layer.number]
            # Move before converting: float32 is twice as much to move.
            key.copy_(F.linear(inputs, weights.load(layer.key_name).to(device).to(precise)))
            values = F.linear(inputs, weights.load(layer.value_name).to(device).to(precise))
            if uncond is not None:
                values[slice(*uncond)] *= unconditional  # Z_image is linear in V
            value.copy_(values)

    return KeyValues(keys_values, spans, uncond)

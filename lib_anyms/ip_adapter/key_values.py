"""K_j = W'_k c_j and V_j = W'_v c_j for every layer, once per generation: they do not depend on the step.

The adapter is read layer by layer from its mapped file, so its 650 MiB never sit in memory together; what stays is a few MiB a
subject. Conditional sets are one per subject; the unconditional set does not depend on the subject, so there is ONE.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lib_anyms.attention import KeyValue
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.tensor_file import open_tensors
from lib_anyms.ip_adapter.tokens import ImageTokens


class KeyValues:
    """The projected sets, by layer number N of the adapter file."""

    def __init__(self, conditional: dict[int, list[KeyValue]], unconditional: dict[int, KeyValue] | None) -> None:
        self._conditional = conditional
        self._unconditional = unconditional

    def of(self, number: int, is_cond: bool, like: torch.Tensor) -> list[KeyValue] | None:
        """(key, value) of each subject, both (tokens, channels), on `like`'s device and dtype; None: no image stream there."""
        sets = self._conditional[number]
        if sets[0][0].device != like.device or sets[0][0].dtype != like.dtype:
            self._move(like)
            sets = self._conditional[number]
        if is_cond:
            return sets
        return None if self._unconditional is None else [self._unconditional[number]] * len(sets)

    def of_subjects(self, numbers: tuple[int, ...]) -> KeyValues:
        """The sets of these subjects only, in this order; nothing is copied."""
        chosen = {number: [sets[subject] for subject in numbers] for number, sets in self._conditional.items()}
        return KeyValues(chosen, self._unconditional)

    def _move(self, like: torch.Tensor) -> None:
        """A host may sample on another device or in another dtype than it had announced: all layers follow, once."""

        def moved(pair: KeyValue) -> KeyValue:
            return pair[0].to(like), pair[1].to(like)

        self._conditional = {number: [moved(pair) for pair in sets] for number, sets in self._conditional.items()}
        if self._unconditional is not None:
            self._unconditional = {number: moved(pair) for number, pair in self._unconditional.items()}

    @property
    def bytes(self) -> int:
        """Memory of all sets."""
        pairs = [pair for sets in self._conditional.values() for pair in sets] + list((self._unconditional or {}).values())
        return sum(tensor.numel() * tensor.element_size() for pair in pairs for tensor in pair)


@torch.no_grad()
def project_key_values(
    adapter: AdapterCheckpoint, tokens: ImageTokens, device: torch.device, dtype: torch.dtype, unconditional: bool = True
) -> KeyValues:
    """Project all subjects through all layers on `device`; computed in float32 (float64 if asked), kept in `dtype`.

    unconditional=False leaves the unconditional rows without an image stream.
    """
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    counts = [len(subject) for subject in tokens.subjects]
    everything = torch.cat([*tokens.subjects, tokens.unconditional]).to(device, precise)
    conditional: dict[int, list[KeyValue]] = {}
    shared: dict[int, KeyValue] = {}
    with open_tensors(adapter.path) as file:
        for layer in adapter.layers:
            both = [
                F.linear(everything, file.load(name).to(device, precise)).to(dtype).split([*counts, len(tokens.unconditional)])
                for name in (layer.key_name, layer.value_name)
            ]
            *subjects, nobody = zip(*both)
            conditional[layer.number] = [(key, value) for key, value in subjects]
            shared[layer.number] = nobody
    return KeyValues(conditional, shared if unconditional else None)

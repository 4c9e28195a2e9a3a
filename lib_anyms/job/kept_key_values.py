"""Keys and values of earlier jobs: a job with the same subjects, adapter and UNet projects nothing."""

from __future__ import annotations

import weakref
from collections import OrderedDict

import torch
from torch import nn

from lib_anyms.engine.key_values import KeyValues
from lib_anyms.job.token_cache import Key

LIMIT = 128 * 2**20  # bytes of memory; twelve subjects of 16 tokens on SDXL take 66 MiB in half precision
_CPU = torch.device("cpu")


class KeptKeyValues:
    """By everything they depend on, on the CPU. Beyond `limit` bytes the least recently used go first.

    All are dropped with the UNet they were made for: a host that loads another model needs the memory.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._kept: OrderedDict[Key, KeyValues] = OrderedDict()
        self._unet: weakref.ref[nn.Module] | None = None

    @property
    def bytes(self) -> int:
        return sum(keys_values.bytes for keys_values in list(self._kept.values()))

    def find(self, unet: nn.Module, key: Key, device: torch.device) -> KeyValues | None:
        """On `device`; None where `key` is not kept for this UNet. Drops what was kept for another one."""
        if self._unet is None or self._unet() is not unet:
            self.clear()
            return None
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key].on(device)

    def add(self, unet: nn.Module, key: Key, keys_values: KeyValues) -> None:
        if self._unet is None or self._unet() is not unet:
            self.clear()
            self._unet = weakref.ref(unet, lambda _gone: self.clear())
        self._kept[key] = keys_values.on(_CPU)
        while self.bytes > self.limit:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        self._kept.clear()
        self._unet = None

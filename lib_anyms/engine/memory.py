"""Whether an error says that memory ran out, and how a device's memory is given back."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from functools import cache

import torch

# torch's own class is not raised everywhere: DirectML, XPU and the CPU's allocator raise a RuntimeError in words of
# their own.
_WORDS = ("out of memory", "out_of_memory", "out of resources", "out_of_resources", "not enough memory")
_MORE_WORDS = ("can't allocate memory", "could not allocate", "not enough gpu video memory", "failed to allocate")


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device, or the machine, has no memory left."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(said in words for said in (*_WORDS, *_MORE_WORDS))


def collect(device: torch.device) -> None:
    """`release` after Python's collector: what failed half-way may refer to itself."""
    gc.collect()
    release(device)


def release(device: torch.device) -> None:
    """Give back what nothing refers to any more: torch keeps what it has freed for itself, and so does the C library on
    Linux, which held on to as much as a whole image encoder (2.4 GiB) after it was dropped.
    """
    empty = getattr(getattr(torch, device.type, None), "empty_cache", None)
    if empty is not None:
        empty()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's own; other systems' libraries have none."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found

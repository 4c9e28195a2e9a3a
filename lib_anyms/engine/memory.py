"""Out-of-memory errors, and how to return a device's memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from functools import cache

import torch

# Not every device raises torch's own class: DirectML, XPU and the CPU allocator raise a RuntimeError with these words.
_WORDS = ("out of memory", "out_of_memory", "out of resources", "out_of_resources", "not enough memory")
_MORE_WORDS = ("can't allocate memory", "could not allocate", "not enough gpu video memory", "failed to allocate")


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device, or the machine, has no memory left."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in (*_WORDS, *_MORE_WORDS))


def collect(device: torch.device) -> None:
    """Run Python's garbage collector, then `release`: objects of a failed call may refer to each other."""
    gc.collect()
    release(device)


def release(device: torch.device) -> None:
    """Return freed memory to the system. PyTorch keeps it for reuse, and so does the C library on Linux.

    The C library kept a whole image encoder (2.4 GiB) after it was dropped.
    """
    empty = getattr(getattr(torch, device.type, None), "empty_cache", None)
    if empty is not None:
        empty()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's function; the C libraries of other systems have none."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return trim

"""Which adapter image tokens are of: told by the weights that made them, so a renamed or converted file is the same
adapter.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import torch

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.tensor_files.tensor_file import open_tensors


def fingerprint(adapter: AdapterCheckpoint) -> str:
    """SHA-256 of the adapter's image projection in half precision, 64 hexadecimal digits; read once a file (20 or 160
    MB).

    The projection alone makes the tokens; what the adapter's layers make of them is the adapter's business. Raises
    Refused.
    """
    try:
        facts = adapter.path.stat()
    except OSError as error:
        raise Refused("file_unreadable", path=adapter.path.name, got=error.strerror or error) from error
    return _digest(adapter.path, facts.st_size, facts.st_mtime_ns, tuple(sorted(adapter.projection.items())))


@lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _changed: int, projection: tuple[tuple[str, str], ...]) -> str:
    digest = hashlib.sha256()
    with open_tensors(path) as file:
        for part, key in projection:
            tensor = file.load(key).to(torch.float16)
            digest.update(f"{part} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

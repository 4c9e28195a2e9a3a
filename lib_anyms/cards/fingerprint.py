"""Which adapter image tokens belong to, by its weights: a renamed or converted file is the same adapter."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.adapter_file import adapter_file
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.runtime import runtime
from lib_anyms.tensor_files.tensor_file import TensorFile

_Version = tuple[Path, int, int, tuple[tuple[str, str], ...]]  # path, bytes, time of change in ns, keys


class Fingerprints(dict[_Version, str]):
    """Known fingerprints, at most `limit`: the oldest goes first."""

    limit = 64

    def add(self, version: _Version, digest: str) -> None:
        if len(self) >= self.limit:
            self.pop(next(iter(self)), None)
        self[version] = digest


def fingerprint(adapter: AdapterCheckpoint, file: TensorFile | None = None) -> str:
    """SHA-256 of the adapter's image projection in half precision, 64 hexadecimal digits.

    Only the projection makes the tokens, so the layers do not count. Reads 20 or 160 MB, once per version of a file.
    file: the adapter's open file; None opens it. Raises Refused for a file that cannot be read.
    """
    try:
        facts = adapter.path.stat()
    except OSError as error:
        raise Refused("file_unreadable", path=adapter.path.name, got=error.strerror or error) from error
    known = runtime.of(Fingerprints)
    version = adapter.path, facts.st_size, facts.st_mtime_ns, tuple(sorted(adapter.projection.items()))
    digest = known.get(version)
    if digest is None:
        digest = _digest(adapter, file)
        known.add(version, digest)
    return digest


def _digest(adapter: AdapterCheckpoint, file: TensorFile | None) -> str:
    digest = hashlib.sha256()
    with adapter_file(adapter, file) as weights:
        for part, key in sorted(adapter.projection.items()):
            tensor = weights.load(key).to(torch.float16)
            digest.update(f"{part} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

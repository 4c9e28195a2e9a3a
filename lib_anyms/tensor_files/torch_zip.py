"""The zip that `torch.save` writes (.bin, .pth, .pt): uncompressed storages, and a pickle that describes them.

    NAME/data.pkl     names, shapes, strides (torch_pickle.py)
    NAME/data/KEY     one storage each, raw
    NAME/byteorder    "little"; absent before torch 2.1

Checksums are not verified: that would read the whole file, and torch may write files without them.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
import zipfile
from pathlib import Path

import torch

from lib_anyms.errors import Refused
from lib_anyms.tensor_files.torch_pickle import PICKLE_LIMIT, StoredTensor, read_pickle

DIRECTORY_LIMIT = 4 * 2**20  # bytes; the directory of a whole SDXL checkpoint takes 0.3 MiB
DIMENSION_LIMIT = 16
SIZE_LIMIT = 2**62  # elements of an empty tensor's shape, its zeros left out
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # magic, then the lengths of name and extra field
_ENCRYPTED = 1
_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64"}
_NAMES |= {torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"}
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, OverflowError, struct.error)


class _Bounded(io.BufferedReader):
    """Bounds every read: zipfile reads the directory in one piece, whatever size the file claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(DIRECTORY_LIMIT + 1 if size is None or size < 0 else min(size, DIRECTORY_LIMIT + 1))
        if len(data) > DIRECTORY_LIMIT:
            raise zipfile.BadZipFile("its directory is too large")
        return data


class TorchZip:
    """A `Source` on a memory-mapped zip; opening checks everything except the tensors' bytes."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self.metadata: dict[str, str] = {}
        try:
            with _Bounded(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except _ZIP_ERRORS as error:
            raise self._damaged(f"zip: {error}") from error
        try:
            self._tensors = self._read_header({entry.filename: entry for entry in entries}, len(entries))
        except Refused:
            self.close()
            raise
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}

    def read(self, name: str) -> torch.Tensor:
        """As `Source.read`; copies only the bytes from the tensor's first element to its last."""
        tensor = self._tensors[name]
        if 0 in tensor.shape:
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        start = self._starts[tensor.key] + tensor.offset * tensor.dtype.itemsize
        with memoryview(self._map) as view, view[start : start + _span(tensor) * tensor.dtype.itemsize] as part:
            copy = bytearray(part)
        return torch.frombuffer(copy, dtype=tensor.dtype).as_strided(tensor.shape, tensor.stride).contiguous()

    def dtype(self, name: str) -> str:
        """As `Source.dtype`; torch's own name for a type that safetensors does not write."""
        dtype = self._tensors[name].dtype
        return _NAMES.get(dtype, str(dtype).removeprefix("torch."))

    def close(self) -> None:
        """As `Source.close`."""
        self._map.close()

    def _damaged(self, what: str) -> Refused:
        return Refused("file_damaged", path=self._name, got=ascii(what)[1:-1][:120])

    def _read_header(self, entries: dict[str, zipfile.ZipInfo], count: int) -> dict[str, StoredTensor]:
        """The tensors that the pickle describes, each checked against its storage.

        `count` is the number of entries in the zip; it differs from len(entries) where a name occurs twice.
        """
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if count != len(entries) or len(pickles) != 1:
            raise self._damaged(f"{len(pickles)} entries named data.pkl among {len(entries)} of {count}")
        root = pickles[0][: -len("data.pkl")]
        order = entries.get(root + "byteorder")
        if order is not None and self._bytes(order, 16) != b"little":
            raise Refused("file_form", path=self._name, got="big-endian numbers", expected="little-endian")
        tensors = read_pickle(self._bytes(entries[pickles[0]], PICKLE_LIMIT), self._name)
        self._starts: dict[str, int] = {}
        for name, tensor in tensors.items():
            entry = entries.get(f"{root}data/{tensor.key}")
            if entry is None:
                raise self._damaged(f"the data of {name} is missing")
            if tensor.key not in self._starts:
                self._starts[tensor.key] = self._start(entry)
            if not _fits(tensor, entry.file_size):
                raise self._damaged(f"{name} does not fit its data")
        return tensors

    def _bytes(self, entry: zipfile.ZipInfo, limit: int) -> bytes:
        if entry.file_size > limit:
            raise self._damaged(f"{entry.filename} of {entry.file_size} bytes")
        start = self._start(entry)
        return self._map[start : start + entry.file_size]

    def _start(self, entry: zipfile.ZipInfo) -> int:
        """Offset of an entry's content. Raises Refused unless all of it lies within the file, stored as it is."""
        if (
            entry.compress_type != zipfile.ZIP_STORED
            or entry.compress_size != entry.file_size
            or entry.flag_bits & _ENCRYPTED
        ):
            raise Refused(
                "file_form", path=self._name, got="a compressed or encrypted zip", expected="one that only stores"
            )
        if not 0 <= entry.header_offset <= len(self._map) - _LOCAL_HEADER.size:
            raise self._damaged(f"{entry.filename} lies outside the file")
        magic, name_length, extra_length = _LOCAL_HEADER.unpack_from(self._map, entry.header_offset)
        start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        if magic != b"PK\x03\x04" or start + entry.file_size > len(self._map):
            raise self._damaged(f"{entry.filename} lies outside the file")
        return int(start)


def _fits(tensor: StoredTensor, size: int) -> bool:
    """Whether the tensor's numbers are valid and every element lies within its storage of `size` bytes.

    A tensor with more elements than its storage (an expanded one) does not fit: it could claim any amount of memory.
    """
    numbers = (tensor.storage_count, tensor.offset, *tensor.shape, *tensor.stride)
    if len(tensor.shape) > DIMENSION_LIMIT or len(tensor.shape) != len(tensor.stride):
        return False
    if not all(type(number) is int and number >= 0 for number in numbers):
        return False
    if 0 in tensor.shape:
        return math.prod(length or 1 for length in tensor.shape) < SIZE_LIMIT
    stored = tensor.storage_count
    within = math.prod(tensor.shape) <= stored and tensor.offset + _span(tensor) <= stored
    return within and stored * tensor.dtype.itemsize <= size


def _span(tensor: StoredTensor) -> int:
    """Number of storage elements from the first to the last element of a tensor that is not empty."""
    return 1 + sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride))

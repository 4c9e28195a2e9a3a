"""Files of named tensors, recognised by content: .safetensors, and the zip that `torch.save` writes.

`torch.load` is never used: with every torch version the hosts pin it can run code from the file (CVE-2025-32434,
CVE-2026-24747).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open

from lib_anyms.errors import Refused
from lib_anyms.tensor_files.torch_pickle import TENSOR_LIMIT
from lib_anyms.tensor_files.torch_zip import TorchZip

HEADER_LIMIT = 16 * 2**20  # bytes; the header of a whole SDXL checkpoint takes 0.3 MiB
NAME_LIMIT = 256  # characters
_START = 64  # bytes; enough to recognise the format
# Other files that users have under a model's suffix: first bytes -> what the file is.
_OTHER_FILES = (
    (b"", "an empty file"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file itself"),
    (b"<", "a web page"),
    (b"GGUF", "a GGUF file"),
)
# Types of weights that all supported versions of torch and safetensors know.
_DTYPES = frozenset("BOOL U8 I8 I16 I32 I64 F16 BF16 F32 F64 F8_E4M3 F8_E5M2".split())
_READ_ERRORS = (SafetensorError, OSError, RuntimeError, ValueError, TypeError, OverflowError)


class Source(Protocol):
    """One format's reader."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]

    def read(self, name: str) -> torch.Tensor:
        """The tensor on the CPU, contiguous, in its own memory."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class TensorFile:
    """An open file: `shapes` and `metadata` come from its header; tensors are read one by one.

    A context manager. After it, nothing holds the file: Windows can replace it too. Loaded tensors stay valid.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self.shapes = source.shapes
        self.metadata = source.metadata
        self._source: Source | None = source

    def load(self, name: str) -> torch.Tensor:
        """A copy of the tensor in the file's dtype, on the CPU, contiguous. Raises Refused."""
        if self._source is None:
            raise ValueError(f"{self.path.name} is closed")
        if name not in self.shapes:
            raise Refused("file_tensor", path=self.path.name, got=name)
        return self._source.read(name)

    def close(self) -> None:
        """Release the file. A second call does nothing."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_tensors(path: Path) -> TensorFile:
    """Open a file and read its header; the suffix does not matter. Raises Refused for any other or damaged file."""
    try:
        size = path.stat().st_size
        with path.open("rb", buffering=0) as file:  # read no more than needed: users have thousands of files
            start = file.read(_START)
    except (OSError, ValueError) as error:
        raise Refused("file_unreadable", path=path.name, got=getattr(error, "strerror", None) or error) from error
    source = _format(path, start, size)(path)
    for name in source.shapes:
        if len(name) > NAME_LIMIT or not name.isprintable():
            source.close()
            raise Refused("file_damaged", path=path.name, got=f"a tensor is named {name[:40]!a}")
    return TensorFile(path, source)


def _format(path: Path, start: bytes, size: int) -> Callable[[Path], Source]:
    """The reader for a file of `size` bytes that begins with `start`."""
    if start.startswith(b"PK\x03\x04"):
        return TorchZip
    if start[8:9] == b"{":
        header = int.from_bytes(start[:8], "little")
        if header > min(size - 8, HEADER_LIMIT):
            raise Refused("file_damaged", path=path.name, got=f"a header of {header} bytes in a file of {size}")
        return SafetensorsFile
    if start.startswith(b"\x80"):
        raise Refused("file_legacy", path=path.name)
    raise Refused("file_kind", path=path.name, got=_other_kind(start))


def _other_kind(start: bytes) -> str:
    """Name a file that is no file of tensors by its first bytes."""
    for magic, kind in _OTHER_FILES:
        if start.startswith(magic) and (magic or not start):  # the empty magic means an empty file
            return kind
    return f"something that begins with {start[:8]!r}"


class SafetensorsFile:
    """A `Source` on safetensors' own reader: memory-maps the file and releases it on close."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        with self._refuse_damage():
            self._file = safe_open(str(path), framework="pt")
            try:
                names = self._file.keys()
                if len(names) > TENSOR_LIMIT:
                    raise ValueError("more tensors than any model has")
                self.shapes = {name: tuple(self._file.get_slice(name).get_shape()) for name in names}
                self.metadata: dict[str, str] = dict(self._file.metadata() or {})
            except BaseException:  # the error's traceback would hold the file open
                self.close()
                raise

    def read(self, name: str) -> torch.Tensor:
        """As `Source.read`; copied, because safetensors returns a view of the mapped file."""
        with self._refuse_damage():
            dtype = self._file.get_slice(name).get_dtype()
            if dtype not in _DTYPES:
                raise Refused("file_form", path=self._name, got=f"{dtype} in {name}", expected="a type of torch 2.1")
            return self._file.get_tensor(name).clone(memory_format=torch.contiguous_format)

    def close(self) -> None:
        """As `Source.close`."""
        self._file.__exit__(None, None, None)

    @contextmanager
    def _refuse_damage(self) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise Refused("file_damaged", path=self._name, got=str(error)[:120]) from error

"""Files of named tensors, recognised by content: .safetensors, and the zip that `torch.save` writes.

`torch.load` is never used: with every torch version the hosts pin it can run code from the file (CVE-2025-32434,
CVE-2026-24747).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator
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
FLOATS = frozenset("F16 BF16 F32 F64 F8_E4M3 F8_E5M2".split())
# Tensors beside quantised weights, without which these mean nothing: ComfyUI's, bitsandbytes', GPTQ's and AWQ's,
# torchao's, optimum-quanto's.
QUANTISED = re.compile(
    r"(^|\.)(scaled_fp8|scale_weight|weight_scales?(_[0-9])?|scale_input|input_scale|comfy_quant|weight_zero_point"
    r"|SCB|absmax|nested_absmax|quant_map|quant_state(\..*)?|qweight|qzeros|g_idx|weight\._(data|scale))$"
    r"|\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*)$"
)
_READ_ERRORS = (SafetensorError, OSError, RuntimeError, ValueError, TypeError, OverflowError)


class Source(Protocol):
    """One format's reader."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]

    def read(self, name: str) -> torch.Tensor:
        """The tensor on the CPU, contiguous, in its own memory."""
        ...

    def dtype(self, name: str) -> str:
        """The type of the tensor's numbers, as safetensors writes it ("F16"). Reads no number."""
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

    def check_weights(self, names: Iterable[str]) -> bool:
        """Check that these tensors are floating-point numbers -> whether some have eight bits. Reads no number.

        Raises Refused.
        """
        assert self._source is not None
        eight_bit = False
        for name in names:
            dtype = self._source.dtype(name)
            if dtype not in FLOATS:
                raise Refused("file_numbers", path=self.path.name, got=dtype, name=name)
            eight_bit = eight_bit or dtype.startswith("F8")
        return eight_bit

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
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
            raise Refused("file_kind", path=path.name, got="a pipe or a device")  # opening it could wait forever
        size = facts.st_size
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


def refuse_quantised(path: Path, names: Iterable[str]) -> None:
    """Refuse quantised weights, whose scales are tensors of their own: read as plain weights they mean nothing."""
    scale = next(filter(QUANTISED.search, names), None)
    if scale is not None:
        raise Refused("file_quantised", path=path.name, got=scale)


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

    def dtype(self, name: str) -> str:
        """As `Source.dtype`."""
        with self._refuse_damage():
            return str(self._file.get_slice(name).get_dtype())

    def close(self) -> None:
        """As `Source.close`."""
        self._file.__exit__(None, None, None)

    @contextmanager
    def _refuse_damage(self) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise Refused("file_damaged", path=self._name, got=str(error)[:120]) from error

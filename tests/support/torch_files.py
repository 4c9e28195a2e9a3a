"""Write files of tensors byte by byte, so that their headers can be wrong; and read the refusal of such a file."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from lib_anyms.errors import Refused
from lib_anyms.tensor_files.tensor_file import open_tensors


def load_all(path: Path) -> dict[str, torch.Tensor]:
    with open_tensors(path) as file:
        return {name: file.load(name) for name in file.shapes}


def refusal(path: Path) -> Refused:
    """The error on opening the file and loading all of it."""
    with pytest.raises(Refused) as error:
        load_all(path)
    return error.value


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers_tuple(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor_opcodes(
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    count: int = 6,
    kind: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    """The opcodes that build a tensor of storage `key`, as torch writes them; every number may be wrong."""
    storage_type = b"ctorch\n" + kind.encode() + b"\n"
    storage = b"(" + text("storage") + storage_type + text(key) + text("cpu") + number(count) + b"tQ"
    view = number(offset) + numbers_tuple(*shape) + numbers_tuple(*stride)
    no_gradient_no_hooks = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + no_gradient_no_hooks + b"tR"


def pickled(opcodes: bytes, name: str = "t") -> bytes:
    return b"\x80\x02}(" + text(name) + opcodes + b"u."


def write_zip(
    path: Path, data_pkl: bytes, entries: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> Path:
    """Write a zip with torch's layout; storage 0 holds the six floats 0..5. `entries` adds or replaces entries."""
    contents = {"data/0": struct.pack("<6f", *range(6)), "byteorder": b"little", **(entries or {})}
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for name, data in contents.items():
            archive.writestr(f"archive/{name}", data)
    return path


def safetensors_bytes(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    words = json.dumps(header).encode()
    return struct.pack("<Q", len(words) if length is None else length) + words + data

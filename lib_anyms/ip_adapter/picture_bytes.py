"""An image file without its metadata: damaged or huge metadata must not decide whether its pixels are read."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # all that the pixels of a PNG depend on
# Markers of JPEG; APP14 says how colours are coded.
_APP0, _APP14, _APP15, _COMMENT, _SCAN = 0xE0, 0xEE, 0xEF, 0xFE, 0xDA


def without_texts(data: bytes) -> bytes:
    """A PNG without its text chunks, which image tools fill with whole workflows. Any other file as it is."""
    if not data.startswith(_PNG):
        return data
    return _PNG + b"".join(chunk for kind, chunk in _chunks(data) if kind not in _TEXTS)


def pixels_only(data: bytes) -> bytes:
    """A PNG or JPEG without anything that its pixels do not depend on. Any other file as it is."""
    if data.startswith(_PNG):
        return _PNG + b"".join(chunk for kind, chunk in _chunks(data) if kind in _NEEDED)
    if data.startswith(b"\xff\xd8"):
        return b"".join(_segments(data))
    return data


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, whole chunk) of a PNG; bytes that form no chunk come last, with the kind IDAT."""
    at = len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        yield data[at + 4 : at + 8], data[at:end]
        at = end
    if at < len(data):
        yield b"IDAT", data[at:]


def _segments(data: bytes) -> Iterator[bytes]:
    """The parts of a JPEG without comments and application data, except what says how colours are coded."""
    yield data[:2]
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker = data[at + 1]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not (_APP0 <= marker <= _APP15 and marker != _APP14) and marker != _COMMENT:
            yield data[at:end]
        at = end
    yield data[at:]

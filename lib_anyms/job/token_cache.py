"""Image tokens of earlier jobs, by everything they depend on.

Each tile of an upscale script and each round of a loopback is a separate job to the host; equal pictures are encoded
once for all of them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lib_anyms.cards.card import Card
from lib_anyms.models.model_files import ModelPair

CACHE_BYTES = 16 * 2**20  # a subject's image tokens take 0.13 MiB

Key = tuple[Any, ...]


class TokenCache:
    """Image tokens on the CPU. Beyond `limit` bytes the least recently used go first."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._tokens: OrderedDict[Key, torch.Tensor] = OrderedDict()

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in list(self._tokens.values()))

    def find(self, key: Key) -> torch.Tensor | None:
        if key in self._tokens:
            self._tokens.move_to_end(key)
        return self._tokens.get(key)

    def find_all(self, keys: list[Key]) -> dict[Key, torch.Tensor]:
        """The tokens of those `keys` that are cached."""
        cached = {}
        for key in keys:
            tokens = self.find(key)
            if tokens is not None:
                cached[key] = tokens
        return cached

    def add(self, key: Key, tokens: torch.Tensor) -> None:
        self._tokens[key] = tokens.to("cpu")
        while self.bytes > self.limit:
            self._tokens.popitem(last=False)

    def clear(self) -> None:
        self._tokens.clear()


def file_version(path: Path) -> Key:
    """Identifies a file and its content: a replaced file is another one."""
    facts = path.stat()
    return str(path), facts.st_size, facts.st_mtime_ns


def models_version(pair: ModelPair) -> Key:
    """Identifies the files of an adapter and its encoder; a pair without an encoder has the adapter's alone."""
    encoder = file_version(pair.encoder.path) if pair.encoder is not None else ()
    return (*file_version(pair.adapter.path), *encoder)


def card_digest(card: Card) -> Key:
    """Identifies a card by its tokens: a card that was not read from a file has no hash."""
    digest = hashlib.sha256()
    for encoding in card.encodings:
        for tokens in (encoding.tokens, encoding.uncond):
            digest.update(f"{encoding.adapter} {tokens.dtype} {list(tokens.shape)} ".encode())
            digest.update(tokens.contiguous().view(torch.uint8).numpy().tobytes())
    return ("card", digest.digest())


def image_digest(image: Image.Image) -> Key:
    """Identifies an image by its pixels."""
    return image.size, hashlib.sha256(image.tobytes()).digest()

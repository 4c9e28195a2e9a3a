"""The files an evaluation uses, and what they are: adapters by kind, hashes, and whether the oracle can judge their pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.standalone.evaluation.cells import BASE, PLUS
from lib_anyms.standalone.generate import Models
from lib_anyms.standalone.pipeline import read_checkpoint
from lib_anyms.standalone.sprites.bundle import ADAPTERS, CHECKPOINT, ENCODER, ORACLE
from lib_anyms.standalone.structure import SPRITES

_SHOWN = 16  # digits of a hash
_BLOCK = 2**20


@dataclass(frozen=True)
class Files:
    """`adapters` by kind, "base" (4 tokens) and "plus" (16); `clip` is a folder in transformers' format."""

    checkpoint: Path
    adapters: Mapping[str, Path]
    encoder: Path
    oracle: Path | None = None
    clip: Path | None = None

    def models(self, adapter: str | None) -> Models:
        """What makes a picture; without an adapter any does, as it takes no part."""
        return Models(self.checkpoint, self.adapters[adapter or next(iter(self.adapters))], self.encoder)

    @property
    def unjudged(self) -> str:
        """Why the oracle cannot judge these pictures; "" if it can."""
        if read_checkpoint(self.checkpoint).structure != SPRITES:
            return f"the oracle knows sprites only, and {self.checkpoint.name} is another model"
        return "" if self.oracle else "there is no file of the oracle"

    @property
    def side(self) -> int:
        """Of the pictures, in pixels: what the model was made for."""
        return read_checkpoint(self.checkpoint).structure.native_size

    def hashes(self, adapter: str | None = None) -> dict[str, str]:
        """By role; of the adapters that one alone, or with None all."""
        kinds = [adapter] if adapter else list(self.adapters)
        told = {"checkpoint": self.checkpoint, "encoder": self.encoder, **{f"adapter-{k}": self.adapters[k] for k in kinds}}
        told |= {role: path for role, path in (("oracle", self.oracle), ("clip", self.clip)) if path}
        return {role: file_hash(path) for role, path in told.items()}


def files_in(folder: Path, clip: Path | None = None) -> Files:
    """The small world's files, as a training exports and the bundle joins them. Raises Refused."""
    adapters = {kind: folder / ADAPTERS[kind] for kind in (BASE, PLUS) if (folder / ADAPTERS[kind]).is_file()}
    checkpoint, encoder, oracle = (folder / name for name in (CHECKPOINT, ENCODER, ORACLE))
    for path in (checkpoint, encoder, *([] if adapters else [folder / ADAPTERS[BASE]])):
        _check(path)
    return Files(checkpoint, adapters, encoder, oracle if oracle.is_file() else None, clip)


def files_given(checkpoint: Path, adapter: Path, encoder: Path, oracle: Path | None, clip: Path | None) -> Files:
    """Files of the user's own; what kind the adapter is, its weights tell. Raises Refused."""
    for path in (checkpoint, adapter, encoder):
        _check(path)
    return Files(checkpoint, {read_adapter(adapter).kind: adapter}, encoder, oracle, clip)


@cache
def file_hash(path: Path) -> str:
    """The beginning of the SHA-256 of a file, or of all files of a folder."""
    digest = hashlib.sha256()
    for file in _below(path):
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()[:_SHOWN]


def _below(path: Path) -> Iterator[Path]:
    yield from (sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path])


def _check(path: Path) -> None:
    if not path.is_file():
        raise Refused("cli_file", path=path, got="there is no such file")

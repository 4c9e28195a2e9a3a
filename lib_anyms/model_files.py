"""Which adapter and which encoder: found in the host's folders by content, and held against the loaded UNet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.families import family_mismatch
from lib_anyms.fields import AUTO
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint, read_adapter
from lib_anyms.ip_adapter.encoder import EncoderCheckpoint, read_encoder
from lib_anyms.ip_adapter.tokens import check_pair
from lib_anyms.layer_map import Layer

log = logging.getLogger("anyms")
SUFFIXES = (".safetensors", ".bin", ".pth")
Found = TypeVar("Found")


@dataclass(frozen=True)
class ModelPair:
    """An adapter and the encoder it was trained with."""

    adapter: AdapterCheckpoint
    encoder: EncoderCheckpoint


def choose_pair(
    folders: Sequence[Path], unet: nn.Module, layers: Sequence[Layer], adapter: str = AUTO, encoder: str = AUTO
) -> ModelPair:
    """The named files, or with "auto" the first of each kind (by file name) that fits.

    A name is a path, a file name or its stem. Raises Refused when a file is absent or wrong, SteppedAside when the loaded
    model is of another family than the adapter.
    """
    chosen = _named(adapter, folders, read_adapter) or _first_fitting(folders, unet, layers)
    problem = family_mismatch(unet, layers, chosen)
    if problem:
        raise SteppedAside("other_family", **problem)
    picked = _named(encoder, folders, read_encoder)
    if picked is None:
        fitting = (found for found in _readable(folders, read_encoder) if found.width_for(chosen.kind) == chosen.encoder_width)
        picked = next(fitting, None)
    if picked is None:
        raise Refused("encoder_absent", expected=chosen.encoder_width, places=_places(folders), adapter=chosen.path.name)
    check_pair(chosen, picked)
    return ModelPair(chosen, picked)


def adapters_in(folders: Iterable[Path]) -> list[AdapterCheckpoint]:
    """Every IP-Adapter there, by file name."""
    return list(_readable(folders, read_adapter))


def encoders_in(folders: Iterable[Path]) -> list[EncoderCheckpoint]:
    """Every image encoder there, by file name."""
    return list(_readable(folders, read_encoder))


def _first_fitting(folders: Sequence[Path], unet: nn.Module, layers: Sequence[Layer]) -> AdapterCheckpoint:
    found = adapters_in(folders)
    if not found:
        raise Refused("adapter_absent", places=_places(folders))
    problems = [family_mismatch(unet, layers, adapter) for adapter in found]
    for adapter, problem in zip(found, problems):
        if problem is None:
            return adapter
    raise SteppedAside("other_family", **(problems[0] or {}))


def _named(name: str, folders: Sequence[Path], read: Callable[[Path], Found]) -> Found | None:
    """The file called `name`, read; None for "auto". Only files of the given folders are opened, unless `name` is one of them.

    Compared as paths: on Windows either slash will do, and upper and lower case are one.
    """
    if name == AUTO:
        return None
    for path in _files(folders):
        if Path(name) in (path, Path(path.name), Path(path.stem)):
            return read(path)
    raise Refused("file_unknown", got=name, expected=", ".join(path.name for path in _files(folders)) or "none")


def _readable(folders: Iterable[Path], read: Callable[[Path], Found]) -> Iterator[Found]:
    for path in _files(folders):
        try:
            yield read(path)
        except Refused as reason:
            log.debug("%s passed over: %s", path.name, reason)


def _files(folders: Iterable[Path]) -> list[Path]:
    """Model files in the folders and below, or named themselves."""
    found: set[Path] = set()
    for folder in folders:
        if folder.is_file():
            found.add(folder)
        elif folder.is_dir():
            found.update(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(found, key=lambda path: (path.name.lower(), str(path)))


def _places(folders: Iterable[Path]) -> str:
    return ", ".join(str(folder) for folder in folders)

"""Which adapter and which encoder: found in the host's folders by content, and held against the loaded UNet."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from lib_anyms.engine.layer_map import Layer
from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint, read_adapter
from lib_anyms.ip_adapter.encoder import EncoderCheckpoint, read_encoder
from lib_anyms.ip_adapter.tokens import check_pair
from lib_anyms.layout.fields import AUTO
from lib_anyms.models.file_index import Verdict, index
from lib_anyms.models.known_files import FIRST_ADAPTER, KnownFile, encoder_for
from lib_anyms.models.model_family import family_mismatch

log = logging.getLogger("anyms")
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
MOST_FOLDERS = 10_000  # a folder in the settings may be a whole disk
Found = TypeVar("Found", AdapterCheckpoint, EncoderCheckpoint)
_READERS: dict[type, Callable[[Path], Any]] = {AdapterCheckpoint: read_adapter, EncoderCheckpoint: read_encoder}
Suits = Callable[[AdapterCheckpoint], bool]
# Strangers that nobody would take for the adapter that is looked for.
_FAR = frozenset(
    "adapter_none adapter_lora adapter_controlnet adapter_whole_model adapter_encoder encoder_form".split()
)


@dataclass(frozen=True)
class ModelPair:
    """An adapter and the encoder it was trained with; None where no picture is to be encoded."""

    adapter: AdapterCheckpoint
    encoder: EncoderCheckpoint | None


def choose_pair(
    folders: Sequence[Path],
    unet: nn.Module,
    layers: Sequence[Layer],
    adapter: str = AUTO,
    encoder: str = AUTO,
    suits: Suits = lambda _: True,
) -> ModelPair:
    """The named files, or with "auto" the first of each kind (by file name) that fits.

    A name is a path, a file name or its stem. Of several adapters those that `suits` (the job's cards) go first, of
    these those whose encoder is there. Raises Refused when a file is absent or wrong, SteppedAside when the loaded
    model is of another family than the adapter.
    """
    files = index.look(_files(folders))
    adapters = _fitting_adapters(files, folders, unet, layers, adapter, suits)
    encoders = list(_of(files, EncoderCheckpoint)) if encoder == AUTO else [_named(encoder, files, EncoderCheckpoint)]
    for chosen in adapters:
        for picked in encoders:
            if picked.width_for(chosen.kind) == chosen.encoder_width:
                return ModelPair(chosen, picked)
    if encoder != AUTO:
        check_pair(adapters[0], encoders[0])
    raise _encoder_absent(adapters[0], folders, encoders)


def choose_adapter(
    folders: Sequence[Path],
    unet: nn.Module,
    layers: Sequence[Layer],
    adapter: str = AUTO,
    suits: Suits = lambda _: True,
) -> AdapterCheckpoint:
    """The adapter alone, for a job that encodes nothing; else as `choose_pair`."""
    return _fitting_adapters(index.look(_files(folders)), folders, unet, layers, adapter, suits)[0]


def adapters_in(folders: Iterable[Path]) -> list[AdapterCheckpoint]:
    """Every IP-Adapter there, by file name."""
    return list(_of(index.look(_files(folders)), AdapterCheckpoint))


def encoders_in(folders: Iterable[Path]) -> list[EncoderCheckpoint]:
    """Every image encoder there, by file name."""
    return list(_of(index.look(_files(folders)), EncoderCheckpoint))


def what_lacks(folders: Sequence[Path]) -> tuple[Refused, KnownFile | None] | None:
    """The sentence a job would be refused with, whatever checkpoint is loaded, and the file that would help; None: all
    is there.

    One adapter with its encoder will do.
    """
    files = index.look(_files(folders))
    adapters, encoders = list(_of(files, AdapterCheckpoint)), list(_of(files, EncoderCheckpoint))
    if not adapters:
        return _adapter_absent(folders, files), FIRST_ADAPTER
    if any(encoder.width_for(each.kind) == each.encoder_width for each in adapters for encoder in encoders):
        return None
    first = adapters[0]
    return _encoder_absent(first, folders, encoders), encoder_for(first.kind, first.encoder_width)


def _adapter_absent(folders: Sequence[Path], files: Sequence[tuple[Path, Verdict]]) -> Refused:
    """What to get, how large it is, where it goes, and what was found in its place."""
    near = [verdict for _, verdict in files if isinstance(verdict, Refused) and verdict.cause not in _FAR]
    found = f"; found instead: {_sentence(near[0]).rstrip('.')}" if near else ""
    into = _folder(folders, FIRST_ADAPTER.folder)
    return Refused("adapter_absent", places=_places(folders), file=FIRST_ADAPTER.words, into=into, found=found)


def _fitting_adapters(
    files: Sequence[tuple[Path, Verdict]],
    folders: Sequence[Path],
    unet: nn.Module,
    layers: Sequence[Layer],
    adapter: str,
    suits: Suits,
) -> list[AdapterCheckpoint]:
    """At least one: those that suit, where any does."""
    found = list(_of(files, AdapterCheckpoint)) if adapter == AUTO else [_named(adapter, files, AdapterCheckpoint)]
    if not found:
        raise _adapter_absent(folders, files)
    problems = [family_mismatch(unet, layers, each) for each in found]
    fitting = [each for each, problem in zip(found, problems) if problem is None]
    if not fitting:
        raise SteppedAside("other_family", **(problems[0] or {}))
    return [each for each in fitting if len(fitting) == 1 or suits(each)] or fitting


def _encoder_absent(
    adapter: AdapterCheckpoint, folders: Sequence[Path], encoders: Sequence[EncoderCheckpoint]
) -> Refused:
    known = encoder_for(adapter.kind, adapter.encoder_width)
    file = known.words if known else f"the encoder that belongs to {adapter.path.name}"
    there = ", ".join(each.path.name for each in encoders) or "none"
    into = _folder(folders, known.folder if known else "clip_vision")
    facts = {"adapter": adapter.path.name, "width": adapter.encoder_width, "found": there, "places": _places(folders)}
    return Refused("encoder_absent", file=file, into=into, **facts)


def _of(files: Iterable[tuple[Path, Verdict]], kind: type[Found]) -> Iterator[Found]:
    return (verdict for _, verdict in files if isinstance(verdict, kind))


def _named(name: str, files: Sequence[tuple[Path, Verdict]], kind: type[Found]) -> Found:
    """The file called `name`. Only files of the given folders are opened, unless `name` is one of them.

    Compared as paths: on Windows either slash will do, and upper and lower case are one.
    """
    for path, verdict in files:
        if _is_called(path, name):
            return _wanted(path, verdict, kind)
    raise Refused("file_unknown", got=name, expected=", ".join(path.name for path, _ in files) or "none")


def _is_called(path: Path, name: str) -> bool:
    return Path(name) in (path, Path(path.name), Path(path.stem))


def _wanted(path: Path, verdict: Verdict, kind: type[Found]) -> Found:
    """Raises Refused with what the file is instead."""
    if isinstance(verdict, kind):
        return verdict
    if isinstance(verdict, Refused) and verdict.cause.startswith("file_"):
        raise Refused(verdict.cause, **verdict.facts)
    found: Found = _READERS[kind](path)
    return found


def _files(folders: Iterable[Path]) -> list[Path]:
    """Model files in the folders and below, or named themselves; links are followed, each folder is entered once."""
    found: set[Path] = set()
    entered: set[tuple[int, int]] = set()
    for folder in folders:
        if folder.is_file():
            found.add(folder)
        for place, below, names in os.walk(folder, followlinks=True):
            if not _new(place, entered):
                below.clear()
                continue
            found.update(Path(place, name) for name in names if name.lower().endswith(SUFFIXES))
    return sorted(found, key=lambda path: (path.name.lower(), str(path)))


def _new(place: str, entered: set[tuple[int, int]]) -> bool:
    """Whether this folder was not entered before, by any name."""
    try:
        facts = os.stat(place)
    except OSError:
        return False
    identity = (facts.st_dev, facts.st_ino)
    if identity in entered or len(entered) >= MOST_FOLDERS:
        return False
    entered.add(identity)
    return True


def _folder(folders: Sequence[Path], name: str) -> Path:
    """The one of the folders that files of this kind belong into."""
    return next((folder for folder in folders if folder.name == name), folders[0] if folders else Path(name))


def _sentence(verdict: Refused) -> str:
    return str(verdict).removeprefix("AnyMS: ")


def _places(folders: Iterable[Path]) -> str:
    """Each folder; those of one parent together."""
    named: dict[Path, list[str]] = {}
    for folder in folders:
        named.setdefault(folder.parent, []).append(folder.name)
    return "; ".join(
        str(parent / names[0]) if len(names) == 1 else f"{parent}: {', '.join(names)}"
        for parent, names in named.items()
    )

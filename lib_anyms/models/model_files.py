"""Choose the adapter and the encoder: search the host's folders by content, check both against the loaded UNet."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
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
from lib_anyms.models.known_files import FIRST_ADAPTER, KnownFile, encoder_for, known_file
from lib_anyms.models.model_family import family_mismatch
from lib_anyms.models.purpose import FACE, in_auto_order, purpose_of

log = logging.getLogger("anyms")
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
MOST_FOLDERS = 10_000  # limit of a search: a folder in the settings may be a whole disk
Kind = TypeVar("Kind", AdapterCheckpoint, EncoderCheckpoint)
_READERS: dict[type, Callable[[Path], Any]] = {AdapterCheckpoint: read_adapter, EncoderCheckpoint: read_encoder}
Suits = Callable[[AdapterCheckpoint], bool]
# Causes of files that do not look like an IP-Adapter for SDXL: a sentence about a missing adapter omits them.
_FAR = frozenset(
    "adapter_none adapter_lora adapter_controlnet adapter_whole_model adapter_encoder encoder_form".split()
)


@dataclass(frozen=True)
class ModelPair:
    """An adapter and the encoder it was trained with; the encoder is None if no picture needs encoding."""

    adapter: AdapterCheckpoint
    encoder: EncoderCheckpoint | None


def choose_pair(
    folders: Sequence[Path],
    unet: nn.Module,
    layers: Sequence[Layer],
    adapter: str = AUTO,
    encoder: str = AUTO,
    suits: Suits | None = None,
    checkpoint: str = "",
) -> ModelPair:
    """The named files, or with "auto" the best of each kind that fits: by purpose (purpose.py), then by file name.

    A name is a path, a file name or its stem. "auto" prefers adapters that `suits` accepts (the job's cards; None: no
    cards) and, among them, one whose encoder exists. It takes no adapter for faces unless `suits` requires it.
    `checkpoint` is the name of the loaded checkpoint. Raises Refused if a file is absent or wrong, SteppedAside if the
    loaded model is of another family than the adapter.
    """
    files = index.look(_files(folders))
    adapters = _fitting_adapters(files, folders, unet, layers, adapter, suits, checkpoint)
    encoders = sorted(_candidates(encoder, files, EncoderCheckpoint), key=_is_eight_bit)
    for adapter_file in adapters:
        for encoder_file in encoders:
            if encoder_file.width_for(adapter_file.kind) == adapter_file.encoder_width:
                return ModelPair(adapter_file, encoder_file)
    if encoder != AUTO:
        check_pair(adapters[0], encoders[0])
    raise _encoder_absent(adapters[0], folders, encoders)


def choose_adapter(
    folders: Sequence[Path],
    unet: nn.Module,
    layers: Sequence[Layer],
    adapter: str = AUTO,
    suits: Suits | None = None,
    checkpoint: str = "",
) -> AdapterCheckpoint:
    """The adapter alone, for a job that encodes nothing. Otherwise like `choose_pair`."""
    return _fitting_adapters(index.look(_files(folders)), folders, unet, layers, adapter, suits, checkpoint)[0]


def adapters_in(folders: Iterable[Path]) -> list[AdapterCheckpoint]:
    """Every IP-Adapter in the folders, by file name."""
    return _of(index.look(_files(folders)), AdapterCheckpoint)


def encoders_in(folders: Iterable[Path]) -> list[EncoderCheckpoint]:
    """Every image encoder in the folders, by file name."""
    return _of(index.look(_files(folders)), EncoderCheckpoint)


def find_missing(folders: Sequence[Path]) -> tuple[Refused, KnownFile | None] | None:
    """What any job lacks, whatever checkpoint is loaded: the refusal, and the known file that would help.

    None if there is one adapter with its encoder.
    """
    files = index.look(_files(folders))
    adapters, encoders = in_auto_order(_of(files, AdapterCheckpoint)), _of(files, EncoderCheckpoint)
    if not adapters:
        return _adapter_absent(folders, files), FIRST_ADAPTER
    general = _general(adapters, folders)
    if not general:
        return _only_faces(folders, adapters[0]), FIRST_ADAPTER
    for adapter in general:
        if any(encoder.width_for(adapter.kind) == adapter.encoder_width for encoder in encoders):
            return None
    first = general[0]
    return _encoder_absent(first, folders, encoders), encoder_for(first.kind, first.encoder_width)


def missing_files(folders: Sequence[Path]) -> tuple[KnownFile, ...]:
    """The known files that would give any job an adapter with its encoder; none if there is one, or none is known."""
    missing = find_missing(folders)
    first = missing[1] if missing else None
    if first is None:
        return ()
    encoder = known_file(first.encoder) if first.encoder else None
    if encoder is None or _has_encoder(folders, encoder):
        return (first,)
    return (first, encoder)


def _has_encoder(folders: Sequence[Path], known: KnownFile) -> bool:
    """Whether an installed encoder gives what `known` gives."""
    encoders = _of(index.look(_files(folders)), EncoderCheckpoint)
    return any(encoder.width_for(kind) == width for encoder in encoders for kind, width in known.gives)


def _adapter_absent(folders: Sequence[Path], files: Sequence[tuple[Path, Verdict]]) -> Refused:
    """Says which file to get, its size, its folder, and the file that looks most like it."""
    similar = [verdict for _, verdict in files if isinstance(verdict, Refused) and verdict.cause not in _FAR]
    instead = f"; found instead: {_sentence(similar[0]).rstrip('.')}" if similar else ""
    into = _folder(folders, FIRST_ADAPTER.folder)
    return Refused("adapter_absent", places=_places(folders), file=FIRST_ADAPTER.words, into=into, found=instead)


def _fitting_adapters(
    files: Sequence[tuple[Path, Verdict]],
    folders: Sequence[Path],
    unet: nn.Module,
    layers: Sequence[Layer],
    adapter: str,
    suits: Suits | None,
    checkpoint: str,
) -> list[AdapterCheckpoint]:
    """The adapters that fit the UNet, at least one, best first; if `suits` accepts some of them, only these."""
    candidates = in_auto_order(_candidates(adapter, files, AdapterCheckpoint), checkpoint)
    if not candidates:
        raise _adapter_absent(folders, files)
    problems = [family_mismatch(unet, layers, candidate) for candidate in candidates]
    fitting = [candidate for candidate, problem in zip(candidates, problems) if problem is None]
    if not fitting:
        raise SteppedAside("other_family", **(problems[0] or {}))
    general = _general(fitting, folders)
    if adapter != AUTO or len(fitting) == len(general) == 1:
        return fitting
    suited = [candidate for candidate in fitting if suits is not None and suits(candidate)]
    if suited:
        return suited
    if not general:
        raise _only_faces(folders, fitting[0])
    return general


def _general(adapters: Iterable[AdapterCheckpoint], folders: Sequence[Path]) -> list[AdapterCheckpoint]:
    """Those that are not for faces, as a face adapter gives any other subject a face; and a file among `folders`."""
    return [adapter for adapter in adapters if purpose_of(adapter) != FACE or adapter.path in folders]


def _only_faces(folders: Sequence[Path], adapter: AdapterCheckpoint) -> Refused:
    into = _folder(folders, FIRST_ADAPTER.folder)
    return Refused("adapter_face_only", adapter=adapter.path.name, file=FIRST_ADAPTER.words, into=into)


def _is_eight_bit(encoder: EncoderCheckpoint) -> bool:
    return encoder.eight_bit


def _encoder_absent(
    adapter: AdapterCheckpoint, folders: Sequence[Path], encoders: Sequence[EncoderCheckpoint]
) -> Refused:
    known = encoder_for(adapter.kind, adapter.encoder_width)
    file = known.words if known else f"the encoder that belongs to {adapter.path.name}"
    names = ", ".join(encoder.path.name for encoder in encoders) or "none"
    into = _folder(folders, known.folder if known else "clip_vision")
    facts = {"adapter": adapter.path.name, "width": adapter.encoder_width, "found": names, "places": _places(folders)}
    return Refused("encoder_absent", file=file, into=into, **facts)


def _of(files: Iterable[tuple[Path, Verdict]], kind: type[Kind]) -> list[Kind]:
    return [verdict for _, verdict in files if isinstance(verdict, kind)]


def _candidates(name: str, files: Sequence[tuple[Path, Verdict]], kind: type[Kind]) -> list[Kind]:
    """All files of the kind for "auto", else the named one."""
    return _of(files, kind) if name == AUTO else [_named(name, files, kind)]


def _named(name: str, files: Sequence[tuple[Path, Verdict]], kind: type[Kind]) -> Kind:
    """The file called `name`. Only files in the folders are opened: a name from outside may be any path.

    Names are compared as paths: on Windows both slashes are equal, and so are upper and lower case.
    """
    for path, verdict in files:
        if _is_called(path, name):
            return _as_kind(path, verdict, kind)
    raise Refused("file_unknown", got=name, expected=", ".join(path.name for path, _ in files) or "none")


def _is_called(path: Path, name: str) -> bool:
    return Path(name) in (path, Path(path.name), Path(path.stem))


def _as_kind(path: Path, verdict: Verdict, kind: type[Kind]) -> Kind:
    """The file as this kind. Raises Refused that says what it is instead."""
    if isinstance(verdict, kind):
        return verdict
    if isinstance(verdict, Refused) and verdict.cause.startswith("file_"):
        raise Refused(verdict.cause, **verdict.facts)
    checkpoint: Kind = _READERS[kind](path)
    return checkpoint


def _files(folders: Iterable[Path]) -> list[Path]:
    """Model files in the folders and below, sorted by name; one of `folders` may also be a file.

    Links are followed, and each folder is entered once: links may form a loop.
    """
    files: set[Path] = set()
    entered: set[tuple[int, int]] = set()
    for folder in folders:
        if folder.is_file():
            files.add(folder)
        for current, below, names in os.walk(folder, followlinks=True):
            if not _enter(current, entered):
                below.clear()
                continue
            files.update(Path(current, name) for name in names if name.lower().endswith(SUFFIXES))
    return sorted(files, key=lambda path: (path.name.lower(), str(path)))


def _enter(folder: str, entered: set[tuple[int, int]]) -> bool:
    """Add the folder to `entered`; False if it is there already (by any name), or cannot be read."""
    try:
        facts = os.stat(folder)
    except OSError:
        return False
    identity = (facts.st_dev, facts.st_ino)
    if identity in entered or len(entered) >= MOST_FOLDERS:
        return False
    entered.add(identity)
    return True


def _folder(folders: Sequence[Path], name: str) -> Path:
    """The folder of this name, where such files belong; else the first."""
    return next((folder for folder in folders if folder.name == name), folders[0] if folders else Path(name))


def _sentence(verdict: Refused) -> str:
    return str(verdict).removeprefix("AnyMS: ")


def _places(folders: Iterable[Path]) -> str:
    """The folders for a sentence, grouped by parent: "/models: ipadapter, clip_vision; /other/x"."""
    by_parent: dict[Path, list[str]] = {}
    for folder in folders:
        by_parent.setdefault(folder.parent, []).append(folder.name)
    groups = []
    for parent, names in by_parent.items():
        groups.append(str(parent / names[0]) if len(names) == 1 else f"{parent}: {', '.join(names)}")
    return "; ".join(groups)

"""The trained files: in the repository large ones are split into parts, in the home they are joined again.

    files/files.json                  each file's SHA-256 and its parts
    files/checkpoint.safetensors.0    a part; a file of at most PART bytes stays whole

Importing this module needs the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_anyms.errors import Refused
from lib_anyms.standalone.lock import only_one
from lib_anyms.standalone.processes import CHECKOUT

if TYPE_CHECKING:
    from lib_anyms.standalone.generate import Models

CHECKPOINT, ENCODER, CARD = "checkpoint.safetensors", "encoder.safetensors", "card.md"
ADAPTERS = {"base": "adapter-base.safetensors", "plus": "adapter-plus.safetensors"}
CURVES, DOCS_CURVES = "curves.png", "sprites-training.png"  # in an export, and in the docs
HISTORY = "history.json"  # time and steps of each training stage
LIST = "files.json"
PART = 15 * 2**20  # bytes
FOLDER = Path("lib_anyms", "standalone", "files")  # in a checkout
FILES = CHECKOUT / FOLDER


def sprites_folder(models: Path) -> Path:
    """Join the files in a folder below `models`, unless they are there and unchanged -> the folder.

    Removes the folders of other versions. Raises Refused if parts are damaged or `models` cannot be written.
    """
    entries = _read_list(FILES / LIST)
    folder = models / f"sprites-{_version(entries)}"
    try:
        if not _is_complete(folder, entries):
            with only_one(models / "sprites.lock", lambda: None):
                if not _is_complete(folder, entries):  # another process may have joined them while we waited
                    _renew(folder)
    except OSError as error:
        raise Refused("home_unusable", home=models, got=error) from error
    return folder


def sprites_models(models: Path, adapter: str = "") -> Models:
    """The small world's model files. `adapter` is "base" (4 tokens, the default: trained longer) or "plus" (16)."""
    from lib_anyms.standalone.generate import Models

    folder = sprites_folder(models)
    return Models(folder / CHECKPOINT, folder / ADAPTERS[adapter or "base"], folder / ENCODER)


def split_files(files: Iterable[Path], folder: Path, size: int = PART) -> Path:
    """Copy files into `folder`, splitting those larger than `size` bytes -> the list for `join_files`."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: dict[str, Any] = {}
    for file in files:
        data = file.read_bytes()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        names = [f"{file.name}.{number}" for number in range(len(pieces))]
        if len(pieces) == 1:
            names = [file.name]
        for name, piece in zip(names, pieces):
            (folder / name).write_bytes(piece)
        entries[file.name] = {"sha256": hashlib.sha256(data).hexdigest(), "parts": names}
    (folder / LIST).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    return folder / LIST


def join_files(list_file: Path, folder: Path) -> list[Path]:
    """The inverse of `split_files` -> the files. Raises Refused for a damaged part.

    A file gets its final name once it is complete. A different file of that name is refused, not replaced.
    """
    joined = []
    for name, entry in _read_list(list_file).items():
        target, half = folder / name, folder / f"{name}.half"
        if not (target.is_file() and _hash(target.read_bytes()) == entry["sha256"]):
            if target.exists():
                raise Refused("bundle_taken", path=target)
            data = _join_parts(list_file.parent, name, entry)
            folder.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data)
            half.replace(target)
        joined.append(target)
    return joined


def store(exported: Path, checkout: Path = CHECKOUT, size: int = PART) -> Path:
    """Replace a checkout's trained files by an export, and copy card and curves into its docs -> the list."""
    files = checkout / FOLDER
    if files.exists():
        shutil.rmtree(files)
    names = (CHECKPOINT, ENCODER, *ADAPTERS.values(), CARD, HISTORY)
    list_file = split_files([exported / name for name in names if (exported / name).is_file()], files, size)
    card = (exported / CARD).read_text(encoding="utf-8")
    if (exported / CURVES).is_file():
        pictures = checkout / "docs" / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(exported / CURVES, pictures / DOCS_CURVES)
        card += f"\n![Losses and probe results over the number of training images](pictures/{DOCS_CURVES})\n"
    (checkout / "docs" / "sprites.md").write_text(card, encoding="utf-8")
    return list_file


def _renew(folder: Path) -> None:
    for other in folder.parent.glob("sprites-*"):  # other versions, and the rest of an interrupted run
        shutil.rmtree(other, ignore_errors=True)
    half = folder.with_name("sprites-half")
    join_files(FILES / LIST, half)
    half.rename(folder)


def _is_complete(folder: Path, entries: dict[str, Any]) -> bool:
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file() or _hash(path.read_bytes()) != entry["sha256"]:
            return False
    return True


def _join_parts(folder: Path, name: str, entry: dict[str, Any]) -> bytes:
    try:
        data = b"".join((folder / part).read_bytes() for part in entry["parts"])
    except OSError as error:
        raise Refused("bundle_damaged", folder=folder, got=error) from error
    if _hash(data) != entry["sha256"]:
        raise Refused("bundle_damaged", folder=folder, got=f"{name} does not match its SHA-256")
    return data


def _read_list(path: Path) -> dict[str, Any]:
    try:
        entries = {}
        for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
            entries[name] = {"sha256": str(entry["sha256"]), "parts": list(entry["parts"])}
        return entries
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise Refused("bundle_damaged", folder=path.parent, got=f"{path.name}: {error}") from error


def _version(entries: dict[str, Any]) -> str:
    return _hash(json.dumps(entries, sort_keys=True).encode())[:8]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

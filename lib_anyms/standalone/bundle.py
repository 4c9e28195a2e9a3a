"""The trained files as a repository keeps them, large ones in parts, and joined to whole ones where they are used.

    files/files.json                  each file's SHA-256 and its parts
    files/checkpoint.safetensors.0    a part; a file of at most PART bytes is kept whole under its own name

Importing this needs the standard library only.
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
CURVES, SHOWN = "curves.png", "sprites-training.png"  # in an export, and in the docs
HISTORY = "history.json"  # what each stage of training took
LIST = "files.json"
PART = 15 * 2**20  # bytes
PLACE = Path("lib_anyms", "standalone", "files")  # in a checkout
FILES = CHECKOUT / PLACE


def sprites_folder(models: Path) -> Path:
    """The folder below `models` with the whole files, joined there by the first call and again if they are not what
    they were.

    Folders of other versions are removed. Raises Refused for parts that are damaged, and where `models` cannot be
    written.
    """
    listed = _read_list(FILES / LIST)
    folder = models / f"sprites-{_version(listed)}"
    try:
        if not _holds(folder, listed):
            with only_one(models / "sprites.lock", lambda: None):
                if not _holds(folder, listed):  # another process may have joined them meanwhile
                    _renew(folder)
    except OSError as error:
        raise Refused("home_unusable", home=models, got=error) from error
    return folder


def sprites_models(models: Path, adapter: str = "") -> Models:
    """What a generation takes; `adapter` is "base" or "plus", by default the 4-token one: it is trained longer."""
    from lib_anyms.standalone.generate import Models

    folder = sprites_folder(models)
    return Models(folder / CHECKPOINT, folder / ADAPTERS[adapter or "base"], folder / ENCODER)


def split_files(files: Iterable[Path], folder: Path, size: int = PART) -> Path:
    """Copy the files into `folder`, those larger than `size` bytes in parts -> the list that `join_files` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    listed: dict[str, Any] = {}
    for file in files:
        data = file.read_bytes()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        names = [file.name] if len(pieces) == 1 else [f"{file.name}.{number}" for number in range(len(pieces))]
        for name, piece in zip(names, pieces):
            (folder / name).write_bytes(piece)
        listed[file.name] = {"sha256": hashlib.sha256(data).hexdigest(), "parts": names}
    (folder / LIST).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    return folder / LIST


def join_files(listed: Path, folder: Path) -> list[Path]:
    """The inverse of `split_files` -> the files, which are what they were. Raises Refused for a part that is not.

    A file gets its name when it is whole. Another file that has that name already is not replaced but refused.
    """
    joined = []
    for name, facts in _read_list(listed).items():
        target, half = folder / name, folder / f"{name}.half"
        if not (target.is_file() and _hash(target.read_bytes()) == facts["sha256"]):
            if target.exists():
                raise Refused("bundle_taken", path=target)
            data = _whole(listed.parent, name, facts)
            folder.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data)
            half.replace(target)
        joined.append(target)
    return joined


def store(exported: Path, checkout: Path = CHECKOUT, size: int = PART) -> Path:
    """Put the files of an export into a checkout, in place of what it holds, and card and curves into its docs -> the
    list.
    """
    files = checkout / PLACE
    if files.exists():
        shutil.rmtree(files)
    names = (CHECKPOINT, ENCODER, *ADAPTERS.values(), CARD, HISTORY)
    listed = split_files([exported / name for name in names if (exported / name).is_file()], files, size)
    card = (exported / CARD).read_text(encoding="utf-8")
    if (exported / CURVES).is_file():
        pictures = checkout / "docs" / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(exported / CURVES, pictures / SHOWN)
        card += f"\n![Losses, and what the probes found, over the pictures seen](pictures/{SHOWN})\n"
    (checkout / "docs" / "sprites.md").write_text(card, encoding="utf-8")
    return listed


def _renew(folder: Path) -> None:
    for other in folder.parent.glob("sprites-*"):  # other versions, and what an interrupted run left
        shutil.rmtree(other, ignore_errors=True)
    half = folder.with_name("sprites-half")
    join_files(FILES / LIST, half)
    half.rename(folder)


def _holds(folder: Path, listed: dict[str, Any]) -> bool:
    paths = {folder / name: facts["sha256"] for name, facts in listed.items()}
    return all(path.is_file() and _hash(path.read_bytes()) == sha256 for path, sha256 in paths.items())


def _whole(folder: Path, name: str, facts: dict[str, Any]) -> bytes:
    try:
        data = b"".join((folder / part).read_bytes() for part in facts["parts"])
    except OSError as error:
        raise Refused("bundle_damaged", folder=folder, got=error) from error
    if _hash(data) != facts["sha256"]:
        raise Refused("bundle_damaged", folder=folder, got=f"{name} is not what was put there")
    return data


def _read_list(path: Path) -> dict[str, Any]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {name: {"sha256": str(facts["sha256"]), "parts": list(facts["parts"])} for name, facts in listed.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise Refused("bundle_damaged", folder=path.parent, got=f"{path.name}: {error}") from error


def _version(listed: dict[str, Any]) -> str:
    return _hash(json.dumps(listed, sort_keys=True).encode())[:8]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

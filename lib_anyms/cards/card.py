"""A subject card: image tokens c_j for one adapter or several, name, role and small pictures, as bytes and back.

A card is a .safetensors file of at most MAX_BYTES. Nothing in it is trusted: every size is bounded before it is used,
no tensor that is not expected is looked at, and its pictures are opened as PNG or WebP only, when they are asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import safetensors
import safetensors.torch
import torch
from PIL import Image

from lib_anyms.cards.kept_pictures import MAX_KEPT, MAX_KEPT_BYTES, open_kept
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.layout.fields import COMBINES, FITS, Field, read_fields
from lib_anyms.layout.layout import SUBJECT_FIELDS

VERSION = 1
KEY = "anyms.card"  # of the file's metadata
MAX_BYTES, MAX_HEADER = 16 * 2**20, 64 * 2**10
MAX_ENCODINGS = 8  # adapters a card is for
MAX_TOKENS, MAX_WIDTH = 1024, 8192
DTYPES = {"F16": torch.float16, "F32": torch.float32}
HASH_DIGITS = 12

Stored = dict[str, Mapping[str, Any]]  # a tensor's name -> its dtype, shape and data

CARD_FIELDS = tuple(row for row in SUBJECT_FIELDS if row.name in ("name", "role"))
ENCODING_FIELDS = (
    Field("adapter", "", "SHA-256 of the adapter's projection, 64 hexadecimal digits", high=64),
    Field("file", "", "the adapter's file name when the card was made", high=260),
    Field("kind", "plus", "the adapter's kind", choices=("base", "plus")),
    Field("fit", "pad", "how its pictures became the encoder's square", choices=FITS),
    Field("combine", "average", "how its pictures were made one", choices=COMBINES),
)
_ADAPTER = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Encoding:
    """c_j of the subject (tokens, C) and the adapter's unconditional tokens (T, C), both float16 or float32.

    `adapter` is the `fingerprint` of the adapter they are of; `file` was its name, for sentences only.
    """

    adapter: str
    file: str
    kind: str
    fit: str
    combine: str
    tokens: torch.Tensor = field(compare=False, repr=False)
    uncond: torch.Tensor = field(compare=False, repr=False)


@dataclass(frozen=True)
class Card:
    """A subject: what the prompt calls it, its role, its tokens for each adapter, and small copies of its pictures.

    `pictures` are PNG or WebP files, the first is the thumbnail; `hash` is the file's SHA-256, 12 digits of it.
    """

    name: str
    role: str
    encodings: tuple[Encoding, ...]
    pictures: tuple[bytes, ...] = field(repr=False)
    hash: str = ""

    def encoding_for(self, fingerprint: str) -> Encoding | None:
        """What the card holds for the adapter of this fingerprint."""
        return next((each for each in self.encodings if each.adapter == fingerprint), None)

    def picture(self, number: int = 0) -> Image.Image:
        """A kept picture, RGB. Raises Refused: it has none, or that one is no picture."""
        if number >= len(self.pictures):
            raise Refused("card_pictures", name=self.name)
        return open_kept(self.pictures[number], self.name)

    def fits(self, adapter: AdapterCheckpoint, fingerprint: str) -> bool:
        """Whether it can be used with this adapter."""
        found = self.encoding_for(fingerprint)
        return found is not None and found.uncond.shape == (adapter.tokens, adapter.context_width)


def write_card(name: str, role: str, encodings: Sequence[Encoding], pictures: Sequence[bytes]) -> bytes:
    """A card's file; `read_card` is the inverse. Raises Refused for what a card cannot hold."""
    told = [{row.name: getattr(each, row.name) for row in ENCODING_FIELDS} for each in encodings]
    tensors = {f"pictures.{n}": torch.frombuffer(bytearray(data), dtype=torch.uint8) for n, data in enumerate(pictures)}
    for n, each in enumerate(encodings):
        for part, tensor in (("tokens", each.tokens), ("nobody", each.uncond)):
            tensors[f"encodings.{n}.{part}"] = tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
    header = {"version": VERSION, "name": name, "role": role, "encodings": told}
    data = safetensors.torch.save(tensors, {KEY: json.dumps(header, ensure_ascii=False)})
    read_card(data, name)
    return data


def read_card(data: bytes, where: str) -> Card:
    """The card in a file's bytes; `where` names it in sentences. Raises Refused, one cause at a time."""
    if len(data) > MAX_BYTES:
        raise Refused(
            "card_too_large", card=where, got=f"{len(data) / 2**20:.0f} MiB", high=f"{MAX_BYTES // 2**20} MiB"
        )
    told = _header(data, where)
    values = read_fields(CARD_FIELDS, told, f"the card {where}", ("version", "encodings"))
    listed = told.get("encodings")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_ENCODINGS:
        raise _damaged(where, f"no list of 1 to {MAX_ENCODINGS} encodings")
    try:
        stored: Stored = dict(safetensors.deserialize(data))
    except (safetensors.SafetensorError, ValueError, TypeError, OverflowError) as error:
        raise _damaged(where, str(error)[:120]) from error
    encodings = tuple(_encoding(stored, where, number, each) for number, each in enumerate(listed))
    if len({each.adapter for each in encodings}) < len(encodings):
        raise _damaged(where, "two encodings for one adapter")
    count = min(MAX_KEPT, sum(name.startswith("pictures.") for name in stored))
    pictures = tuple(_picture(stored, where, f"pictures.{number}") for number in range(count))
    if stored:
        raise _damaged(where, f"a tensor named {next(iter(stored))[:40]!a}")
    digest = hashlib.sha256(data).hexdigest()[:HASH_DIGITS]
    return Card(values["name"] or "subject", values["role"], encodings, pictures, digest)


def _header(data: bytes, where: str) -> dict[str, Any]:
    """The card's own JSON object, version checked."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(MAX_HEADER, len(data) - 8):
        raise Refused("card_kind", card=where)
    try:
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__")
        told = json.loads(metadata[KEY])
        version = told["version"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refused("card_kind", card=where) from error
    if version != VERSION:
        raise Refused("card_version", card=where, got=repr(version)[:20], expected=VERSION)
    for text in (told.get("name"), *(each.get("file") for each in _objects(told.get("encodings")))):
        if isinstance(text, str) and not text.isprintable():
            raise _damaged(where, "a name with characters that cannot be printed")
    return told


def _objects(given: Any) -> list[dict[str, Any]]:
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def _encoding(stored: Stored, where: str, number: int, given: Any) -> Encoding:
    if not isinstance(given, dict):
        raise _damaged(where, "an encoding that is no object")
    facts = read_fields(ENCODING_FIELDS, given, f"an encoding of the card {where}")
    if not _ADAPTER.fullmatch(facts["adapter"]):
        raise _damaged(where, "an adapter's hash that is none")
    tokens, uncond = (_tokens(stored, where, f"encodings.{number}.{part}") for part in ("tokens", "nobody"))
    pictures, rest = divmod(len(tokens), len(uncond))
    most = MAX_KEPT if facts["combine"] == "concatenate" else 1
    if tokens.shape[1] != uncond.shape[1] or rest or not 1 <= pictures <= most:
        raise _damaged(where, f"tokens of {tuple(tokens.shape)} beside unconditional ones of {tuple(uncond.shape)}")
    return Encoding(tokens=tokens, uncond=uncond, **facts)


def _tokens(stored: Stored, where: str, name: str) -> torch.Tensor:
    found = _take(stored, where, name)
    shape, dtype = list(found["shape"]), DTYPES.get(found["dtype"])
    if dtype is None or len(shape) != 2 or not (1 <= shape[0] <= MAX_TOKENS and 1 <= shape[1] <= MAX_WIDTH):
        raise _damaged(where, f"{name} of {found['dtype']} {shape}")
    tokens = torch.frombuffer(bytearray(found["data"]), dtype=dtype).reshape(shape)
    if not torch.isfinite(tokens).all():
        raise _damaged(where, f"{name} holds what is no number")
    return tokens


def _picture(stored: Stored, where: str, name: str) -> bytes:
    found = _take(stored, where, name)
    if found["dtype"] != "U8" or not 1 <= len(found["data"]) <= MAX_KEPT_BYTES:
        raise _damaged(where, f"{name} of {found['dtype']} {list(found['shape'])}")
    return bytes(found["data"])


def _take(stored: Stored, where: str, name: str) -> Mapping[str, Any]:
    if name not in stored:
        raise _damaged(where, f"no {name}")
    return stored.pop(name)


def _damaged(where: str, got: str) -> Refused:
    return Refused("card_damaged", card=where, got=got)

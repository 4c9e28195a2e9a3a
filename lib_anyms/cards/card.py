"""Write and read a subject card: image tokens c_j for one or several adapters, name, role, prompts and small pictures.

A card is a .safetensors file of at most MAX_BYTES. Nothing in it is trusted: every size is checked before use, an
unexpected tensor is refused, and its pictures are opened on demand, as PNG or WebP only.
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
from lib_anyms.layout.layout import PROMPTS, SUBJECT_FIELDS

VERSION = 1
KEY = "anyms.card"  # metadata entry with the card's JSON object
MAX_BYTES, MAX_HEADER = 16 * 2**20, 64 * 2**10
MAX_ENCODINGS = 8  # adapters per card
MAX_TOKENS, MAX_WIDTH = 1024, 8192
DTYPES = {"F16": torch.float16, "F32": torch.float32}
HASH_DIGITS = 12

TOKENS, UNCOND = "tokens", "nobody"  # parts of a tensor's name in the file; "nobody" are the unconditional tokens

StoredTensors = dict[str, Mapping[str, Any]]  # a tensor's name -> its dtype, shape and data

CARD_FIELDS = tuple(field for field in SUBJECT_FIELDS if field.name in ("name", "role", *PROMPTS))
ENCODING_FIELDS = (
    Field("adapter", "", "SHA-256 of the adapter's projection, 64 hexadecimal digits", high=64),
    Field("file", "", "the adapter's file name when the card was saved", high=260),
    Field("kind", "plus", "the adapter's kind", choices=("base", "plus")),
    Field("fit", "pad", "how its pictures were fitted into the encoder's square", choices=FITS),
    Field("combine", "average", "how its pictures were combined", choices=COMBINES),
)
_ADAPTER = re.compile(r"[0-9a-f]{64}")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab and line ends


@dataclass(frozen=True)
class Encoding:
    """The subject's tokens c_j (tokens, C) and the adapter's unconditional tokens (T, C), both float16 or float32.

    `adapter` is the adapter's `fingerprint`; `file` is its file name at that time, for messages only.
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
    """A subject: its name in the prompt, its role, its tokens for each adapter, and small copies of its pictures.

    `pictures` are PNG or WebP files; the first is the thumbnail. `hash` is the first 12 digits of the file's SHA-256.
    `prompt` and `avoid` are proposals for the subject's own prompts: whoever uses the card sees them first.
    """

    name: str
    role: str
    encodings: tuple[Encoding, ...]
    pictures: tuple[bytes, ...] = field(repr=False)
    hash: str = ""
    prompt: str = ""
    avoid: str = ""

    def encoding_for(self, fingerprint: str) -> Encoding | None:
        """The tokens for the adapter with this fingerprint, or None."""
        return next((encoding for encoding in self.encodings if encoding.adapter == fingerprint), None)

    def picture(self, number: int = 0) -> Image.Image:
        """Decode a kept picture to RGB. Raises Refused if there is no such picture, or it is no image."""
        if number >= len(self.pictures):
            raise Refused("card_pictures", name=self.name)
        return open_kept(self.pictures[number], self.name)

    def fits(self, adapter: AdapterCheckpoint, fingerprint: str) -> bool:
        """Whether the card can be used with this adapter."""
        encoding = self.encoding_for(fingerprint)
        return encoding is not None and encoding.uncond.shape == (adapter.tokens, adapter.context_width)


def write_card(
    name: str, role: str, encodings: Sequence[Encoding], pictures: Sequence[bytes], prompt: str = "", avoid: str = ""
) -> bytes:
    """The bytes of a card's file; `read_card` is the inverse. Raises Refused for values that a card cannot hold."""
    tensors = {}
    for number, picture in enumerate(pictures):
        tensors[f"pictures.{number}"] = torch.frombuffer(bytearray(picture), dtype=torch.uint8)
    descriptions = []
    for number, encoding in enumerate(encodings):
        tensors[f"encodings.{number}.{TOKENS}"] = _on_cpu(encoding.tokens)
        tensors[f"encodings.{number}.{UNCOND}"] = _on_cpu(encoding.uncond)
        descriptions.append({field.name: getattr(encoding, field.name) for field in ENCODING_FIELDS})
    header: dict[str, Any] = {"version": VERSION, "name": name, "role": role, "encodings": descriptions}
    header |= {key: text for key, text in zip(PROMPTS, (prompt, avoid)) if text}
    data = safetensors.torch.save(tensors, {KEY: json.dumps(header, ensure_ascii=False)})
    read_card(data, name)  # refuses a card that could not be read again
    return data


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def read_card(data: bytes, where: str) -> Card:
    """Read a card from a file's bytes; `where` names it in messages. Raises Refused with the first cause."""
    if len(data) > MAX_BYTES:
        size, high = f"{len(data) / 2**20:.0f} MiB", f"{MAX_BYTES // 2**20} MiB"
        raise Refused("card_too_large", card=where, got=size, high=high)
    header = _header(data, where)
    values = read_fields(CARD_FIELDS, header, f"the card {where}", ("version", "encodings"))
    descriptions = header.get("encodings")
    if not isinstance(descriptions, list) or not 1 <= len(descriptions) <= MAX_ENCODINGS:
        raise _damaged(where, f"no list of 1 to {MAX_ENCODINGS} encodings")
    stored = _tensors(data, where)
    encodings = tuple(_encoding(stored, where, number, value) for number, value in enumerate(descriptions))
    if len({encoding.adapter for encoding in encodings}) < len(encodings):
        raise _damaged(where, "two encodings for one adapter")
    count = min(MAX_KEPT, sum(name.startswith("pictures.") for name in stored))
    pictures = tuple(_picture(stored, where, f"pictures.{number}") for number in range(count))
    if stored:  # each expected tensor was taken out
        raise _damaged(where, f"a tensor named {next(iter(stored))[:40]!a}")
    digest = hashlib.sha256(data).hexdigest()[:HASH_DIGITS]
    name = values.pop("name") or "subject"
    return Card(name, encodings=encodings, pictures=pictures, hash=digest, **values)


def _tensors(data: bytes, where: str) -> StoredTensors:
    try:
        return dict(safetensors.deserialize(data))
    except (safetensors.SafetensorError, ValueError, TypeError, OverflowError) as error:
        raise _damaged(where, str(error)[:120]) from error


def _header(data: bytes, where: str) -> dict[str, Any]:
    """The card's JSON object, its version checked. Parses at most MAX_HEADER bytes."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= size <= min(MAX_HEADER, len(data) - 8):
        raise Refused("card_kind", card=where)
    try:
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__")
        header = json.loads(metadata[KEY])
        version = header["version"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Refused("card_kind", card=where) from error
    if version != VERSION:
        raise Refused("card_version", card=where, got=repr(version)[:20], expected=VERSION)
    for name in _names(header):
        if isinstance(name, str) and not name.isprintable():  # would reach the console and the page
            raise _damaged(where, "a name with characters that cannot be printed")
    for key in PROMPTS:
        if isinstance(header.get(key), str) and _CONTROLS.search(header[key]):
            raise _damaged(where, "a prompt with control characters")
    return header


def _names(header: dict[str, Any]) -> list[Any]:
    """The values in place of names, whatever their type: the subject's, and each adapter's file."""
    names = [header.get("name")]
    descriptions = header.get("encodings")
    for description in descriptions if isinstance(descriptions, list) else []:
        if isinstance(description, dict):
            names.append(description.get("file"))
    return names


def _encoding(stored: StoredTensors, where: str, number: int, description: Any) -> Encoding:
    if not isinstance(description, dict):
        raise _damaged(where, "an encoding that is not an object")
    values = read_fields(ENCODING_FIELDS, description, f"an encoding of the card {where}")
    if not _ADAPTER.fullmatch(values["adapter"]):
        raise _damaged(where, "an adapter's hash that is not a hash")
    tokens = _tokens(stored, where, f"encodings.{number}.{TOKENS}")
    uncond = _tokens(stored, where, f"encodings.{number}.{UNCOND}")
    images, rest = divmod(len(tokens), len(uncond))
    most = MAX_KEPT if values["combine"] == "concatenate" else 1
    if tokens.shape[1] != uncond.shape[1] or rest or not 1 <= images <= most:
        raise _damaged(where, f"tokens of {tuple(tokens.shape)} beside unconditional ones of {tuple(uncond.shape)}")
    return Encoding(tokens=tokens, uncond=uncond, **values)


def _tokens(stored: StoredTensors, where: str, name: str) -> torch.Tensor:
    tensor = _take(stored, where, name)
    shape, dtype = list(tensor["shape"]), DTYPES.get(tensor["dtype"])
    if dtype is None or len(shape) != 2 or not (1 <= shape[0] <= MAX_TOKENS and 1 <= shape[1] <= MAX_WIDTH):
        raise _damaged(where, f"{name} of {tensor['dtype']} {shape}")
    tokens = torch.frombuffer(bytearray(tensor["data"]), dtype=dtype).reshape(shape)
    if not torch.isfinite(tokens).all():
        raise _damaged(where, f"{name} holds values that are not finite")
    return tokens


def _picture(stored: StoredTensors, where: str, name: str) -> bytes:
    tensor = _take(stored, where, name)
    if tensor["dtype"] != "U8" or not 1 <= len(tensor["data"]) <= MAX_KEPT_BYTES:
        raise _damaged(where, f"{name} of {tensor['dtype']} {list(tensor['shape'])}")
    return bytes(tensor["data"])


def _take(stored: StoredTensors, where: str, name: str) -> Mapping[str, Any]:
    """Take a tensor out of `stored`."""
    if name not in stored:
        raise _damaged(where, f"no {name}")
    return stored.pop(name)


def _damaged(where: str, got: str) -> Refused:
    return Refused("card_damaged", card=where, got=got)

"""From a request's pictures to keys and values: on the device, or on the CPU where its memory does not suffice.

The encoder is gone when this is done, so that the UNet has the memory to itself. Equal pictures are encoded once, also
by the jobs that follow: each tile of an upscale script, and each round of a loopback, is a job of its own to the host.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from lib_anyms.cards.card import Card, Encoding
from lib_anyms.cards.fingerprint import fingerprint
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.memory import collect, out_of_memory, release
from lib_anyms.errors import Noted, Refused, SteppedAside
from lib_anyms.hosts.base import Host
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.ip_adapter.encoder import Encoder, EncoderCheckpoint
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.references import ANIMATED
from lib_anyms.ip_adapter.tokens import ImageTokens, image_tokens
from lib_anyms.job.request import Request
from lib_anyms.models.model_files import ModelPair
from lib_anyms.tensor_files.tensor_file import open_tensors

log = logging.getLogger("anyms")
CPU = torch.device("cpu")
KEPT_BYTES = 16 * 2**20  # image tokens take 0.13 MiB a subject
COMPUTED_IN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_AUTOCASTS = ("cpu", "cuda", "xpu")

Key = tuple[Any, ...]
Group = tuple[Image.Image, ...]


class TokenCache:
    """Image tokens by what they were made of, on the CPU; beyond `limit` bytes the longest unused go first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._tokens: OrderedDict[Key, torch.Tensor] = OrderedDict()

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in [*self._tokens.values()])

    def find(self, key: Key) -> torch.Tensor | None:
        if key in self._tokens:
            self._tokens.move_to_end(key)
        return self._tokens.get(key)

    def keep(self, key: Key, tokens: torch.Tensor) -> None:
        self._tokens[key] = tokens.to(CPU)
        while self.bytes > self.limit:
            self._tokens.popitem(last=False)

    def clear(self) -> None:
        self._tokens.clear()


kept = TokenCache(KEPT_BYTES)


class Place(Protocol):
    """What the encoding asks of a host."""

    def device(self) -> torch.device:
        """As `Host.device`."""

    def make_room(self, size: int) -> None:
        """As `Host.make_room`."""

    def tell(self, words: str | None) -> str | None:
        """As `Host.tell`."""

    def interrupted(self) -> bool:
        """As `Host.interrupted`."""


class OnCPU:
    """In a host's place where nothing is sampled: it takes nothing of the GPU's memory."""

    def device(self) -> torch.device:
        return CPU

    def make_room(self, size: int) -> None:
        """There is virtual memory."""

    def tell(self, words: str | None) -> str | None:
        return None

    def interrupted(self) -> bool:
        return False


def prepare(host: Host, pair: ModelPair, request: Request) -> tuple[KeyValues, tuple[Noted, ...]]:
    """K_j and V_j of all subjects, and what there is to say of it.

    Raises SteppedAside where the user stops the job meanwhile.
    """
    shown = host.tell("AnyMS reads the reference pictures")
    try:
        keys_values, notes = _prepare(host, pair, request)
        return keys_values, (*notes, *_animated(request))
    finally:
        host.tell(shown)


def _animated(request: Request) -> Iterator[Noted]:
    subjects = request.layout.subjects if request.layout else ()
    for subject, pictures in zip(subjects, request.pictures):
        if any(picture.info.get(ANIMATED) for picture in pictures):
            yield Noted("first_frame", name=subject.name)


def _prepare(host: Host, pair: ModelPair, request: Request) -> tuple[KeyValues, tuple[Noted, ...]]:
    device = host.device()
    try:
        return _prepare_on(device, host, pair, request), ()
    except Exception as error:
        if device.type == "cpu" or not out_of_memory(error):
            raise
        log.debug("encoding on %s: %s", device, error)
    # after the handler: the error's traceback would keep the encoder
    collect(device)
    return _prepare_on(CPU, host, pair, request), (Noted("encoded_on_cpu"),)


@torch.no_grad()
def _prepare_on(device: torch.device, host: Host, pair: ModelPair, request: Request) -> KeyValues:
    dtype = host.dtype() if host.dtype() in COMPUTED_IN else torch.float16  # weights may be kept in eight bits
    with _as_written(device):
        tokens = _tokens(device, dtype, host, pair, request)
        keys_values = project_key_values(pair.adapter, tokens, device, dtype, request.unconditional == "trained")
    release(device)
    return keys_values


def _tokens(device: torch.device, dtype: torch.dtype, host: Host, pair: ModelPair, request: Request) -> ImageTokens:
    """c_j of each subject, from its card or its pictures, and of uncond: from the first card where there are cards
    only.
    """
    carded = [None if card is None else _of_card(card, pair.adapter) for card in request.cards]
    groups = [group for group, card in zip(request.pictures, carded) if card is None]
    if not groups:
        cards = [card for card in carded if card is not None]
        return ImageTokens(tuple(card.tokens.to(device) for card in cards), cards[0].uncond.to(device))
    pictured = encode_pictures(device, dtype, host, pair, groups, request.fit, request.combine)
    rest = iter(pictured.subjects)
    subjects = tuple(next(rest) if card is None else card.tokens.to(device) for card in carded)
    return ImageTokens(subjects, pictured.unconditional)


def suits(request: Request, adapter: AdapterCheckpoint) -> bool:
    """Whether all cards of the request have tokens for this adapter."""
    return all(card is None or _encoding(card, adapter) is not None for card in request.cards)


def encode_on_cpu(pair: ModelPair, pictures: Group, fit: str, combine: str) -> ImageTokens:
    """c_j of one subject where nothing is sampled: what a job has encoded is taken from there, all else is done on the
    CPU.
    """
    with _as_written(CPU), torch.no_grad():
        return encode_pictures(CPU, torch.float32, OnCPU(), pair, [pictures], fit, combine)


def _of_card(card: Card, adapter: AdapterCheckpoint) -> Encoding:
    found = _encoding(card, adapter)
    if found is None:
        made_for = ", ".join(each.file or f"an adapter of the kind {each.kind}" for each in card.encodings)
        raise Refused("card_adapter", name=card.name, got=made_for, expected=adapter.path.name)
    return found


def _encoding(card: Card, adapter: AdapterCheckpoint) -> Encoding | None:
    """By the sizes first: the adapter's file need not be read for a card that cannot fit."""
    if not any(each.uncond.shape == (adapter.tokens, adapter.context_width) for each in card.encodings):
        return None
    return card.encoding_for(fingerprint(adapter))


def encode_pictures(
    device: torch.device,
    dtype: torch.dtype,
    host: Place,
    pair: ModelPair,
    groups: Sequence[Group],
    fit: str,
    combine: str,
) -> ImageTokens:
    """c_j of each group of pictures and of uncond; the encoder is loaded for those that are not kept, and gone
    afterwards.
    """
    encoder = pair.encoder
    assert encoder is not None  # chosen with the adapter where there are pictures
    made_of = (*_identity(pair.adapter.path), *_identity(encoder.path), _precise(dtype))
    uncond: Key = (*made_of, "uncond")
    keys: list[Key] = [(*made_of, fit, combine, *map(_digest, group)) for group in groups]
    found = {key: tokens for key in (uncond, *keys) if (tokens := kept.find(key)) is not None}
    lacking = {key: group for key, group in zip(keys, groups) if key not in found}
    if lacking or uncond not in found:
        encoder_dtype = _precise(dtype) if device.type == "cpu" else torch.float16
        if device == host.device():
            host.make_room(_need(pair.adapter, encoder, encoder_dtype, max(map(len, lacking.values()), default=1)))
        _stop_if_asked(host)
        loaded = Encoder(encoder, device, encoder_dtype)
        computed = image_tokens(pair.adapter, loaded, _one_by_one(host, lacking), fit, combine)
        del loaded
        made = {uncond: computed.unconditional, **dict(zip(lacking, computed.subjects))}
        for key, tokens in made.items():
            kept.keep(key, tokens)
        found.update(made)
    return ImageTokens(tuple(found[key].to(device) for key in keys), found[uncond].to(device))


def _one_by_one(host: Place, lacking: dict[Key, Group]) -> Iterator[Group]:
    """Encoding takes seconds a subject on a CPU: a user who stops the job is heard between two."""
    for number, group in enumerate(lacking.values(), 1):
        _stop_if_asked(host)
        host.tell(f"AnyMS reads the reference pictures: {number} of {len(lacking)}")
        yield group


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _stop_if_asked(host: Place) -> None:
    if host.interrupted():
        raise SteppedAside("interrupted")


def _need(adapter: AdapterCheckpoint, encoder: EncoderCheckpoint, dtype: torch.dtype, pictures: int) -> int:
    """Bytes: the encoder in `dtype`, what it computes for `pictures` at once, and the adapter's projection in float32."""
    with open_tensors(adapter.path) as file:
        projection = sum(prod(file.shapes[key]) for key in adapter.projection.values())
    size = torch.empty(0, dtype=dtype).element_size()
    return size * (encoder.parameters + pictures * encoder.activations) + 4 * projection


def _identity(path: Path) -> Key:
    """Which file this is: one that was replaced is another."""
    facts = path.stat()
    return str(path), facts.st_size, facts.st_mtime_ns


def _digest(picture: Image.Image) -> Key:
    return picture.size, hashlib.sha256(picture.tobytes()).digest()


def _as_written(device: torch.device) -> AbstractContextManager[Any]:
    """A1111 samples within autocast, which would make float32 half precision."""
    return torch.autocast(device.type, enabled=False) if device.type in _AUTOCASTS else nullcontext()

"""From a request's pictures to keys and values: on the device, or on the CPU where its memory does not suffice.

The encoder is gone when this is done, so that the UNet has the memory to itself. Equal pictures are encoded once, also by the
jobs that follow: each tile of an upscale script, and each round of a loopback, is a job of its own to the host.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from math import prod
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lib_anyms.errors import Noted, SteppedAside
from lib_anyms.hosts.base import Host
from lib_anyms.ip_adapter.encoder import Encoder
from lib_anyms.ip_adapter.key_values import KeyValues, project_key_values
from lib_anyms.ip_adapter.tensor_file import open_tensors
from lib_anyms.ip_adapter.tokens import ImageTokens, image_tokens
from lib_anyms.memory import collect, out_of_memory, release
from lib_anyms.model_files import ModelPair
from lib_anyms.request import Request

log = logging.getLogger("anyms")
CPU = torch.device("cpu")
KEPT_BYTES = 16 * 2**20  # image tokens take 0.13 MiB a subject
COMPUTED_IN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_AUTOCASTS = ("cpu", "cuda", "xpu")

Key = tuple[Any, ...]
Group = tuple[Image.Image, ...]


class KeptTokens:
    """Image tokens by what they were made of, on the CPU; beyond `limit` bytes the longest unused go first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._tokens: OrderedDict[Key, torch.Tensor] = OrderedDict()

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tokens.values())

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


kept = KeptTokens(KEPT_BYTES)


def prepare(host: Host, pair: ModelPair, request: Request) -> tuple[KeyValues, tuple[Noted, ...]]:
    """K_j and V_j of all subjects, and what there is to say of it. Raises SteppedAside where the user stops the job meanwhile."""
    shown = host.tell("AnyMS reads the reference pictures")
    try:
        return _prepare(host, pair, request)
    finally:
        host.tell(shown)


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
    """c_j of each subject and of nobody; the encoder is loaded for those that are not kept, and gone afterwards."""
    made_of = (*_identity(pair.adapter.path), *_identity(pair.encoder.path), _precise(dtype))
    nobody: Key = (*made_of, "nobody")
    keys: list[Key] = [(*made_of, request.fit, request.combine, *map(_digest, group)) for group in request.pictures]
    found = {key: tokens for key in (nobody, *keys) if (tokens := kept.find(key)) is not None}
    lacking = {key: group for key, group in zip(keys, request.pictures) if key not in found}
    if lacking or nobody not in found:
        computed = _encode(device, dtype, host, pair, request, lacking)
        made = {nobody: computed.unconditional, **dict(zip(lacking, computed.subjects))}
        for key, tokens in made.items():
            kept.keep(key, tokens)
        found.update(made)
    return ImageTokens(tuple(found[key].to(device) for key in keys), found[nobody].to(device))


def _encode(
    device: torch.device, dtype: torch.dtype, host: Host, pair: ModelPair, request: Request, lacking: dict[Key, Group]
) -> ImageTokens:
    encoder_dtype = _precise(dtype) if device.type == "cpu" else torch.float16
    if device == host.device():
        host.make_room(_need(pair, encoder_dtype, max(map(len, lacking.values()), default=1)))
    _stop_if_asked(host)
    encoder = Encoder(pair.encoder, device, encoder_dtype)
    return image_tokens(pair.adapter, encoder, _one_by_one(host, lacking), request.fit, request.combine)


def _one_by_one(host: Host, lacking: dict[Key, Group]) -> Iterator[Group]:
    """Encoding takes seconds a subject on a CPU: a user who stops the job is heard between two."""
    for number, group in enumerate(lacking.values(), 1):
        _stop_if_asked(host)
        host.tell(f"AnyMS reads the reference pictures: {number} of {len(lacking)}")
        yield group


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _stop_if_asked(host: Host) -> None:
    if host.interrupted():
        raise SteppedAside("interrupted")


def _need(pair: ModelPair, dtype: torch.dtype, pictures: int) -> int:
    """Bytes: the encoder in `dtype`, what it computes for `pictures` at once, and the adapter's projection in float32."""
    with open_tensors(pair.adapter.path) as file:
        projection = sum(prod(file.shapes[key]) for key in pair.adapter.projection.values())
    size = torch.empty(0, dtype=dtype).element_size()
    return size * (pair.encoder.parameters + pictures * pair.encoder.activations) + 4 * projection


def _identity(path: Path) -> Key:
    """Which file this is: one that was replaced is another."""
    facts = path.stat()
    return str(path), facts.st_size, facts.st_mtime_ns


def _digest(picture: Image.Image) -> Key:
    return picture.size, hashlib.sha256(picture.tobytes()).digest()


def _as_written(device: torch.device) -> AbstractContextManager[Any]:
    """A1111 samples within autocast, which would make float32 half precision."""
    return torch.autocast(device.type, enabled=False) if device.type in _AUTOCASTS else nullcontext()

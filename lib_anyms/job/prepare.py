"""The keys and values of a job: on the host's device, or on the CPU where the device's memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import torch

from lib_anyms.cards.card import Card, Encoding
from lib_anyms.engine.key_values import KeyValues
from lib_anyms.engine.memory import collect, out_of_memory, release
from lib_anyms.errors import Noted, Refused
from lib_anyms.ip_adapter.cutting import NOTHING_ERASED
from lib_anyms.ip_adapter.finite import largest, rows_usable, usable
from lib_anyms.ip_adapter.key_value_projection import project_key_values
from lib_anyms.ip_adapter.references import ANIMATED
from lib_anyms.ip_adapter.tokens import ImageTokens
from lib_anyms.job.card_tokens import card_encoding
from lib_anyms.job.encode_host import CPU, PrepareHost
from lib_anyms.job.encoding import EncodeTask, encode_pictures, without_autocast
from lib_anyms.job.kept_key_values import KeptKeyValues
from lib_anyms.job.request import Request
from lib_anyms.job.token_cache import Key, card_digest, image_digest, models_version
from lib_anyms.models.model_files import ModelPair
from lib_anyms.runtime import runtime
from lib_anyms.tensor_files.tensor_file import open_tensors

log = logging.getLogger("anyms")
COMPUTED_IN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def prepare(host: PrepareHost, pair: ModelPair, request: Request) -> tuple[KeyValues, tuple[Noted, ...]]:
    """K_j and V_j of all subjects, and notes for the user. Opens the adapter's file once, and closes it.

    Raises SteppedAside where the user stops the job, Refused for a file or a card that does not fit.
    """
    previous_status = host.show_status("AnyMS reads the reference pictures")
    try:
        keys_values, notes = _prepare(host, pair, request)
        return keys_values, (*notes, *picture_notes(request))
    finally:
        host.show_status(previous_status)


def picture_notes(request: Request) -> Iterator[Noted]:
    """Notes on each subject: an animated picture, of which only the first frame is used; a mask that does nothing."""
    subjects = request.layout.subjects if request.layout else ()
    for subject, pictures in zip(subjects, request.pictures):
        if any(picture.info.get(ANIMATED) for picture in pictures):
            yield Noted("first_frame", name=subject.name)
        if any(picture.info.get(NOTHING_ERASED) for picture in pictures):
            yield Noted("nothing_erased", name=subject.name)
        if subject.silhouette is not None and subject.silhouette.is_white:
            yield Noted("silhouette_white", name=subject.name)


def _prepare(host: PrepareHost, pair: ModelPair, request: Request) -> tuple[KeyValues, tuple[Noted, ...]]:
    # Hosts may store weights in eight bits, which nothing computes in.
    dtype = host.dtype() if host.dtype() in COMPUTED_IN else torch.float16
    unet, key, kept = host.unet(), _key(pair, request, dtype), runtime.of(KeptKeyValues)
    keys_values = kept.find(unet, key, host.device())
    if keys_values is not None:
        return keys_values, ()
    keys_values, notes = _read_and_project(host, pair, request, dtype)
    kept.add(unet, key, keys_values)
    return keys_values, notes


def _key(pair: ModelPair, request: Request, dtype: torch.dtype) -> Key:
    """Everything that keys and values depend on."""
    subjects: list[Key] = []
    for pictures, card in zip(request.pictures, request.cards):
        subjects.append(tuple(map(image_digest, pictures)) if card is None else card_digest(card))
    settings = (request.fit, request.combine, request.unconditional_share)
    return (*models_version(pair), dtype, *settings, *subjects)


def _read_and_project(
    host: PrepareHost, pair: ModelPair, request: Request, dtype: torch.dtype
) -> tuple[KeyValues, tuple[Noted, ...]]:
    with open_tensors(pair.adapter.path) as file:
        task = EncodeTask(host, pair, file, host.device(), dtype, request.fit, request.combine)
        try:
            return _key_values(task, request), ()
        except Exception as error:
            if task.device.type == "cpu" or not out_of_memory(error):
                raise
            log.debug("encoding on %s: %s", task.device, error)
        # Retry outside the handler: the error's traceback would keep the encoder in memory.
        collect(task.device)
        return _key_values(replace(task, device=CPU), request), (Noted("encoded_on_cpu"),)


@torch.no_grad()
def _key_values(task: EncodeTask, request: Request) -> KeyValues:
    share = request.unconditional_share
    with without_autocast(task.device):
        tokens = _image_tokens(task, request)
        keys_values = project_key_values(task.pair.adapter, tokens, task.device, task.dtype, share, task.file)
        _check_finite(keys_values, task, request)
    release(task.device)
    return keys_values


def _card_encoding(card: Card, task: EncodeTask) -> Encoding:
    encoding = card_encoding(card, task.pair.adapter, task.file)
    for tokens in (encoding.tokens, encoding.uncond):
        if not usable(largest(tokens)):
            raise Refused("tokens_not_finite", name=card.name, got=f"{largest(tokens):g}")
    return encoding


def _check_finite(keys_values: KeyValues, task: EncodeTask, request: Request) -> None:
    """Refuse keys and values that no image can be made of, and name their origin: a card, or the adapter's file."""
    rows = rows_usable(keys_values.layers)
    if all(rows):
        return
    for (first, last), card in zip(keys_values.spans, request.cards):
        if card is not None and any(rows) and not all(rows[first:last]):  # the adapter serves the other tokens well
            raise Refused("tokens_not_finite", name=card.name, got="NaN, infinite or huge values")
    path_name = task.pair.adapter.path.name
    raise Refused("file_not_finite", path=path_name, what="a key or value", got="NaN, infinity or a huge number")


def _image_tokens(task: EncodeTask, request: Request) -> ImageTokens:
    """c_j of each subject from its card or its pictures; the unconditional tokens of a card if all are cards."""
    encodings = []
    for card in request.cards:
        encodings.append(None if card is None else _card_encoding(card, task))
    cards = [encoding for encoding in encodings if encoding is not None]
    if len(cards) == len(encodings):
        tokens = tuple(encoding.tokens.to(task.device) for encoding in cards)
        return ImageTokens(tokens, cards[0].uncond.to(task.device))

    pictures = [images for images, encoding in zip(request.pictures, encodings) if encoding is None]
    encoded = encode_pictures(task, pictures)
    encoded_subjects = iter(encoded.subjects)
    subjects = []
    for encoding in encodings:
        subjects.append(next(encoded_subjects) if encoding is None else encoding.tokens.to(task.device))
    return ImageTokens(tuple(subjects), encoded.unconditional)

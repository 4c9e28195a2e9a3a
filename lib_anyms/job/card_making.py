"""Make subject cards from a subject's pictures, for one adapter or several, and add an adapter to a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from lib_anyms.cards.card import MAX_ENCODINGS, Card, Encoding, write_card
from lib_anyms.cards.fingerprint import fingerprint
from lib_anyms.cards.kept_pictures import keep
from lib_anyms.cards.library import Library
from lib_anyms.engine.layer_map import cross_attention_layers
from lib_anyms.errors import Refused
from lib_anyms.job.encoding import encode_on_cpu
from lib_anyms.job.request import Request, refuse_prompts
from lib_anyms.models.model_files import ModelPair, choose_pair
from lib_anyms.tensor_files.tensor_file import open_tensors


def make_card(
    name: str,
    role: str,
    pictures: Sequence[Image.Image],
    pairs: Sequence[ModelPair],
    fit: str = "pad",
    combine: str = "average",
    dtype: torch.dtype = torch.float16,
    prompt: str = "",
    avoid: str = "",
) -> bytes:
    """The file of a card with tokens for the adapter of each of `pairs`, stored as `dtype`. Raises Refused.

    float32 gives exactly the image that the pictures give. float16 halves the file, and the image differs by rounding.
    prompt, avoid: the subject's own prompts.
    """
    refuse_prompts(name, prompt, avoid)
    if not pictures:
        raise Refused("picture_missing", name=name)
    encodings = [_encoding(pair, pictures, fit, combine, dtype) for pair in pairs]
    return write_card(name, role, encodings, [keep(picture) for picture in pictures], prompt, avoid)


def add_adapter(card: Card, pair: ModelPair) -> bytes:
    """The card's file with tokens for one more adapter, encoded from the small pictures it keeps. Raises Refused.

    Replaces tokens the card has for that adapter. Fit, combine and dtype are those of its first encoding.
    """
    first = card.encodings[0]
    pictures = [card.picture(number) for number in range(max(1, len(card.pictures)))]
    new = _encoding(pair, pictures, first.fit, first.combine, first.tokens.dtype)
    others = [encoding for encoding in card.encodings if encoding.adapter != new.adapter]
    if len(others) >= MAX_ENCODINGS:
        raise Refused("card_full", card=card.name, high=MAX_ENCODINGS)
    return write_card(card.name, card.role, [*others, new], card.pictures, card.prompt, card.avoid)


def save_to_library(
    data: Any, library: Library, folders: Sequence[Path], unet: nn.Module | None, checkpoint: str = ""
) -> str:
    """Save the one subject of a request (docs/api.md) as a card -> the file's name in the library.

    The card is for the adapter that a job with this request would use on `unet`, of the checkpoint of that name. The
    subject needs no box. Raises Refused, or SteppedAside where no adapter fits.
    """
    request = Request.from_json(_with_boxes(data), library)
    if request.layout is None or len(request.pictures) != 1:
        raise Refused("subject_count", got=len(request.pictures), low=1, high=1)
    subject = request.layout.subjects[0]
    if request.cards[0] is not None:
        raise Refused("card_already", name=subject.name)
    if unet is None:
        raise Refused("card_model")
    layers = cross_attention_layers(unet)
    pair = choose_pair(folders, unet, layers, request.adapter, request.encoder, checkpoint=checkpoint)
    data = make_card(
        subject.name,
        subject.role,
        request.pictures[0],
        [pair],
        request.fit,
        request.combine,
        prompt=subject.prompt,
        avoid=subject.avoid,
    )
    return library.add(data)


def _with_boxes(data: Any) -> Any:
    """The request with a box for each subject without one, as a request needs boxes."""
    if not isinstance(data, dict) or not isinstance(data.get("subjects"), list):
        return data
    subjects = []
    for subject in data["subjects"]:
        subjects.append({"box": [0, 0, 1, 1], **subject} if isinstance(subject, dict) else subject)
    return {**data, "subjects": subjects}


def _encoding(pair: ModelPair, pictures: Sequence[Image.Image], fit: str, combine: str, dtype: torch.dtype) -> Encoding:
    adapter = pair.adapter
    with open_tensors(adapter.path) as file:
        tokens = encode_on_cpu(pair, [tuple(pictures)], fit, combine, file)
        adapter_hash = fingerprint(adapter, file)
    subject, uncond = tokens.subjects[0].to(dtype), tokens.unconditional.to(dtype)
    return Encoding(adapter_hash, adapter.path.name, adapter.kind, fit, combine, subject, uncond)

"""Subject cards made: from a subject's pictures for one adapter or several, and one more adapter for a card that is
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from lib_anyms.job.request import Request
from lib_anyms.models.model_files import ModelPair, choose_pair


def make_card(
    name: str,
    role: str,
    pictures: Sequence[Image.Image],
    pairs: Sequence[ModelPair],
    fit: str = "pad",
    combine: str = "average",
    dtype: torch.dtype = torch.float16,
) -> bytes:
    """A card's file, for the adapter of each of `pairs`; its tokens are kept in float16 or float32. Raises Refused.

    float16 halves the file; its pictures differ from those of the pictures themselves by rounding, float32's do not.
    """
    if not pictures:
        raise Refused("picture_missing", name=name)
    encodings = [_encoding(pair, pictures, fit, combine, dtype) for pair in pairs]
    return write_card(name, role, encodings, [keep(picture) for picture in pictures])


def add_adapter(card: Card, pair: ModelPair) -> bytes:
    """The card's file with tokens for one more adapter, encoded from the small pictures it keeps. Raises Refused.

    Tokens it has for that adapter already are made anew; fit, combine and dtype are those of its first encoding.
    """
    first = card.encodings[0]
    pictures = [card.picture(number) for number in range(max(1, len(card.pictures)))]
    made = _encoding(pair, pictures, first.fit, first.combine, first.tokens.dtype)
    others = [each for each in card.encodings if each.adapter != made.adapter]
    if len(others) >= MAX_ENCODINGS:
        raise Refused("card_full", card=card.name, high=MAX_ENCODINGS)
    return write_card(card.name, card.role, [*others, made], card.pictures)


def save_to_library(given: Any, library: Library, folders: Sequence[Path], unet: nn.Module | None) -> str:
    """A card of the one subject of a request (docs/api.md), which needs no box -> the file's name in the library.

    It is for the adapter that the request would be made with on `unet`. Raises Refused, and SteppedAside where none
    fits.
    """
    if isinstance(given, dict) and isinstance(given.get("subjects"), list):
        boxed = [{"box": [0, 0, 1, 1], **each} if isinstance(each, dict) else each for each in given["subjects"]]
        given = {**given, "subjects": boxed}
    request = Request.from_json(given, library)
    if request.layout is None or len(request.pictures) != 1:
        raise Refused("subject_count", got=len(request.pictures), low=1, high=1)
    subject = request.layout.subjects[0]
    if request.cards[0] is not None:
        raise Refused("card_already", name=subject.name)
    if unet is None:
        raise Refused("card_model")
    pair = choose_pair(folders, unet, cross_attention_layers(unet), request.adapter, request.encoder)
    return library.add(make_card(subject.name, subject.role, request.pictures[0], [pair], request.fit, request.combine))


def _encoding(pair: ModelPair, pictures: Sequence[Image.Image], fit: str, combine: str, dtype: torch.dtype) -> Encoding:
    made = encode_on_cpu(pair, tuple(pictures), fit, combine)
    adapter = pair.adapter
    whole = Encoding(
        fingerprint(adapter), adapter.path.name, adapter.kind, fit, combine, made.subjects[0], made.unconditional
    )
    return replace(whole, tokens=whole.tokens.to(dtype), uncond=whole.uncond.to(dtype))

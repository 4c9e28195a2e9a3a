"""A card as one of a slot's pictures: its thumbnail as a data: address that also names the card.

The card's hash is a parameter of the media type. Browsers ignore unknown parameters and show the picture.
"""

from __future__ import annotations

import base64
import re

from lib_anyms.cards.card import Card
from lib_anyms.cards.kept_pictures import BLANK

_HEAD = re.compile(r"data:image/[a-z]+;card=([0-9a-f]{12});base64,")


def address(card: Card) -> str:
    """The data: address of the thumbnail, or of a checkered square for a card without pictures."""
    return _data(card.pictures[0] if card.pictures else BLANK, f";card={card.hash}")


def plain_addresses(card: Card) -> list[str]:
    """The pictures' addresses without the card's hash: in a slot, they are encoded again."""
    return [_data(picture, "") for picture in card.pictures]


def card_of(value: object) -> str:
    """The hash of the card that a slot's address stands for; "" for the address of a picture, or no address."""
    match = _HEAD.match(value) if isinstance(value, str) else None
    return match[1] if match else ""


def _data(picture: bytes, parameter: str) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind}{parameter};base64,{base64.b64encode(picture).decode()}"

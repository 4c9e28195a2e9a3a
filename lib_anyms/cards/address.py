"""A card as one of a slot's pictures: its thumbnail as a data: address that also says which card it stands for.

A media type may have parameters that nobody need know, so a page shows the address as any other picture.
"""

from __future__ import annotations

import base64
import re

from lib_anyms.cards.card import Card
from lib_anyms.cards.kept_pictures import BLANK

_HEAD = re.compile(r"data:image/[a-z]+;card=([0-9a-f]{12});base64,")


def address(card: Card) -> str:
    """The thumbnail's data: address, or a checkered square's for a card that keeps no picture."""
    return _data(card.pictures[0] if card.pictures else BLANK, f";card={card.hash}")


def plain_addresses(card: Card) -> list[str]:
    """Its pictures' own addresses: with these in a slot they are encoded anew."""
    return [_data(each, "") for each in card.pictures]


def card_of(given: object) -> str:
    """The hash of the card that an address of a slot stands for; "" for that of a picture."""
    match = _HEAD.match(given) if isinstance(given, str) else None
    return match[1] if match else ""


def _data(picture: bytes, parameter: str) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind}{parameter};base64,{base64.b64encode(picture).decode()}"

"""Image tokens of subject cards: each card has them for some adapters only."""

from __future__ import annotations

from lib_anyms.cards.card import Card, Encoding
from lib_anyms.cards.fingerprint import fingerprint
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.job.request import Request
from lib_anyms.tensor_files.tensor_file import TensorFile


def cards_fit(request: Request, adapter: AdapterCheckpoint) -> bool:
    """Whether all cards of the request have tokens for this adapter."""
    return all(card is None or _find(card, adapter, None) is not None for card in request.cards)


def card_encoding(card: Card, adapter: AdapterCheckpoint, file: TensorFile | None = None) -> Encoding:
    """The card's tokens for this adapter, whose open file is `file` (None opens it). Raises Refused without any."""
    encoding = _find(card, adapter, file)
    if encoding is None:
        adapters = ", ".join(other.file or f"an adapter of the kind {other.kind}" for other in card.encodings)
        raise Refused("card_adapter", name=card.name, got=adapters, expected=adapter.path.name)
    return encoding


def _find(card: Card, adapter: AdapterCheckpoint, file: TensorFile | None) -> Encoding | None:
    # Compare sizes first: a card that cannot fit needs no reading of the adapter's file.
    size = (adapter.tokens, adapter.context_width)
    if all(encoding.uncond.shape != size for encoding in card.encodings):
        return None
    return card.encoding_for(fingerprint(adapter, file))

"""Planted faults of cards."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "a card's tokens are taken for another adapter",
        "lib_anyms/cards/card.py",
        "next((each for each in self.encodings if each.adapter == fingerprint), None)",
        "self.encodings[0]",
        "tests/unit/test_card_making.py -k another_adapter",
    ),
    Fault(
        "a card's numbers may be none",
        "lib_anyms/cards/card.py",
        "if not torch.isfinite(tokens).all():",
        "if False:",
        "tests/unit/test_cards.py -k sound",
    ),
    Fault(
        "a card may hold what nobody looked at",
        "lib_anyms/cards/card.py",
        "    if stored:\n",
        "    if False:\n",
        "tests/unit/test_cards.py -k sound",
    ),
    Fault(
        "a link leads out of the card library",
        "lib_anyms/cards/library.py",
        "if path.is_file() and path.resolve().parent == home:",
        "if path.is_file():",
        "tests/unit/test_cards.py -k link",
    ),
    Fault(
        "a saved card replaces another",
        "lib_anyms/cards/library.py",
        "if name.casefold() not in taken)",
        "if name)",
        "tests/unit/test_cards.py -k kept_listed",
    ),
    Fault(
        "a card's name is made a path of",
        "lib_anyms/cards/library.py",
        "named = next((path for path in paths.values() if name in (path.name, path.stem)), None)",
        "named = next((path for path in [self.folder / name] if path.is_file()), None)",
        "tests/unit/test_cards.py -k leads_out",
    ),
    Fault(
        "upper and lower case are two cards' names",
        "lib_anyms/cards/library.py",
        "taken = {path.name.casefold() for",
        "taken = {path.name for",
        "tests/unit/test_cards.py -k through_a_link",
    ),
    Fault(
        "a card is written through a link",
        "lib_anyms/cards/library.py",
        "        half.unlink(missing_ok=True)\n        half.touch(exist_ok=False)",
        "        half.touch()",
        "tests/unit/test_cards.py -k through_a_link",
    ),
)

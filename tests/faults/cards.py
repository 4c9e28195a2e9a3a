"""Planted faults of cards."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "a card's prompt may clear the console",
        "lib_anyms/cards/card.py",
        "and _CONTROLS.search(header[key]):",
        "and False:",
        "tests/unit/test_cards.py -k damaged",
    ),
    Fault(
        "a card replaces the user's prompt",
        "lib_anyms/webui/ui/cards.py",
        "        if not present:\n            filled[name] = text",
        "        if text:\n            filled[name] = text",
        "tests/unit/test_card_panel.py -k empty_fields",
    ),
    Fault(
        "a card's tokens are used for another adapter",
        "lib_anyms/cards/card.py",
        "next((encoding for encoding in self.encodings if encoding.adapter == fingerprint), None)",
        "self.encodings[0]",
        "tests/unit/test_card_making.py -k another_adapter",
    ),
    Fault(
        "a card's tokens may be infinite or NaN",
        "lib_anyms/cards/card.py",
        "if not torch.isfinite(tokens).all():",
        "if False:",
        "tests/unit/test_cards.py -k damaged_cards",
    ),
    Fault(
        "a card may hold tensors that are not checked",
        "lib_anyms/cards/card.py",
        "if stored:",
        "if False:",
        "tests/unit/test_cards.py -k damaged_cards",
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
        "if name.casefold() not in used)",
        "if name)",
        "tests/unit/test_cards.py -k saved_listed",
    ),
    Fault(
        "a card's name becomes a path",
        "lib_anyms/cards/library.py",
        "match = next((path for path in paths.values() if name in (path.name, path.stem)), None)",
        "match = next((path for path in [self.folder / name] if path.is_file()), None)",
        "tests/unit/test_cards.py -k leads_out",
    ),
    Fault(
        "upper and lower case make two names for cards",
        "lib_anyms/cards/library.py",
        "used = {path.name.casefold() for",
        "used = {path.name for",
        "tests/unit/test_cards.py -k through_a_link",
    ),
    Fault(
        "a card is written through a link",
        "lib_anyms/cards/library.py",
        "half.touch(exist_ok=False)",
        "half.touch()",
        "tests/unit/test_cards.py -k through_a_link",
    ),
    Fault(
        "of two saves at once one is lost",
        "lib_anyms/cards/library.py",
        "        os.link(half, path)",
        "        half.replace(path)",
        "tests/unit/test_cards.py -k at_once",
    ),
)

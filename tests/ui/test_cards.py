"""The list of subject cards in a browser: search, press a card, Generate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from lib_anyms.cards.card import Encoding, write_card
from lib_anyms.cards.kept_pictures import keep
from lib_anyms.cards.library import Library
from tests.ui.editor import CARDS_MESSAGE, Editor

FOLDER = Path("models", "anyms-cards")  # as in lib_anyms/hosts/webui.py
SUBJECTS = {"red fox": "subject", "straw hat": "attribute", "blue robot": "subject"}


def a_card(name: str, role: str) -> bytes:
    tokens = torch.zeros(4, 24)
    encoding = Encoding("a" * 64, "adapter.safetensors", "base", "pad", "average", tokens, tokens)
    return write_card(
        name, role, [encoding], [keep(Image.new("RGB", (60, 40), name.split()[0] if role == "subject" else "gold"))]
    )


@pytest.fixture
def library(editor: Editor) -> Iterator[Library]:
    folder = editor.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name.replace(' ', '-')}.safetensors" for name in SUBJECTS]
    for file, (name, role) in zip(files, SUBJECTS.items()):
        file.write_bytes(a_card(name, role))
    yield Library(folder)
    for file in files:
        file.unlink()


def search(editor: Editor, words: str) -> Any:
    """-> the buttons of the cards that are found."""
    label = editor.ours("cards").get_by_text("Subject library", exact=True).first
    if not editor.ours("cards_search").is_visible():
        label.click()
    field = editor.ours("cards_search").locator("input, textarea").first
    field.fill(words)
    field.press("Tab")
    return editor.ours("cards_shown").locator("button[data-as=card]")


def test_a_card_is_found_used_sent_and_undone(editor: Editor, library: Library) -> None:
    for words, names in (("hat", ["straw hat"]), ("subject", ["blue robot", "red fox"]), ("fo", ["red fox"])):
        expect(search(editor, words)).to_have_text(names)
    editor.name(2, "a dog")
    editor.give(2, "navy")
    search(editor, "fo").click()
    editor.choose(1)
    editor.thumbs(1).first.wait_for()
    editor.ours(CARDS_MESSAGE).get_by_text("Subject 1 is now red fox.").wait_for()
    editor.inside("root.querySelector('.box[data-slot=\"1\"] .name')?.textContent === 'red fox'")
    editor.keep("cards")
    fox, dog = editor.sent()["subjects"]
    (entry,) = library.entries("fox")
    assert (fox["name"], fox["role"], fox["card"]) == ("red fox", "subject", entry.hash)
    assert not fox.get("pictures")
    assert dog["name"] == "a dog"
    assert len(dog["pictures"]) == 1

    editor.press("Undo")
    expect(editor.thumbs(1)).to_have_count(0)
    editor.press("Redo")
    editor.thumbs(1).first.wait_for()
    assert editor.sent()["subjects"][0]["card"] == entry.hash


def test_the_pictures_of_a_card_fill_a_slot(editor: Editor, library: Library) -> None:
    search(editor, "robot")
    chosen = editor.ours("cards_slot").locator("input").first
    chosen.fill("2")
    chosen.press("Enter")
    editor.ours("cards_shown").get_by_role("button", name="Use its pictures").click()
    editor.thumbs(2).first.wait_for(state="attached")
    (robot,) = editor.sent()["subjects"]
    assert robot["name"] == "blue robot"
    assert len(robot["pictures"]) == 1
    assert not robot.get("card")

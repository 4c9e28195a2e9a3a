"""Random actions of a user, undone to the start and done again."""

from __future__ import annotations

from random import Random

from tests.ui.editor import Editor

ACTIONS = 15
NAMES = ("cat", "teapot", "girl with a red hat", "犬", 'a "quoted", name')
COLOURS = ("orange", "navy", "green", "crimson")


def slots(editor: Editor) -> list[int]:
    return editor.topmost_first()


def add(editor: Editor, random: Random) -> None:
    if len(slots(editor)) < 6:
        editor.press("Add subject")


def remove(editor: Editor, random: Random) -> None:
    if len(slots(editor)) > 1:
        editor.press(f"Remove subject {random.choice(slots(editor))}")


def name(editor: Editor, random: Random) -> None:
    editor.name(random.choice(slots(editor)), random.choice(NAMES))


def give(editor: Editor, random: Random) -> None:
    editor.give(random.choice(slots(editor)), random.choice(COLOURS))


def move(editor: Editor, random: Random) -> None:
    editor.box(random.choice(slots(editor))).focus()
    for key in random.choices(("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"), k=3):
        editor.page.keyboard.press(key)


def duplicate(editor: Editor, random: Random) -> None:
    if len(slots(editor)) < 6:
        editor.box(random.choice(slots(editor))).focus()
        editor.page.keyboard.press("Control+d")


def lock(editor: Editor, random: Random) -> None:
    editor.box(random.choice(slots(editor))).press("l")


def arrange(editor: Editor, random: Random) -> None:
    editor.press(random.choice(("Place side by side", "Place on a grid")))


def strength(editor: Editor, random: Random) -> None:
    slot = random.choice(slots(editor))
    editor.choose(slot)
    editor.entry(f"slot{slot}_weight").fill(str(random.choice((0.5, 0.8, 1.2))))
    editor.entry(f"slot{slot}_weight").press("Tab")


def role(editor: Editor, random: Random) -> None:
    slot = random.choice(slots(editor))
    editor.choose(slot)
    label = random.choice(("background", "subject", "detail"))
    editor.ours(f"slot{slot}_inspect").get_by_role("radio", name=label, exact=True).click()


def settled(editor: Editor) -> object:
    """The request once pictures are in their slots."""
    editor.inside("!root.querySelector('.box.busy')")
    return editor.sent()


def test_random_actions_are_undone_to_the_start_and_done_again(editor: Editor) -> None:
    random = Random(7)
    start = settled(editor)
    for _ in range(ACTIONS):
        act = random.choice((add, remove, name, give, give, move, duplicate, lock, arrange, strength, role))
        act(editor, random)
    end = settled(editor)
    undo, redo = (editor.root.locator(f".bar button[aria-label='{label}']") for label in ("Undo", "Redo"))
    steps = 0
    while undo.is_enabled():
        undo.click()
        steps += 1
    assert settled(editor) == start
    while redo.is_enabled():
        redo.click()
        steps -= 1
    assert steps == 0
    assert settled(editor) == end

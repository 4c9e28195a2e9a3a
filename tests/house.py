"""Print the rooms of lib_anyms, the arrows between them, and counts of style: `python -m tests.house [FOLDER]`.

FOLDER is a checkout, by default this one. Standard library only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Words and phrases that only insiders understand. Each is a list of whole words, upper or lower case.
PRIVATE_WORDS = (
    "told",
    "nobody",
    "asked",
    "mistaken",
    "heard",
    "anew",
    "shall",
    "held against",
    "is told",
    "of its own",
    "so that what",
)
_BY_FIRST_WORD: dict[str, list[str]] = {}
for _phrase in PRIVATE_WORDS:
    _BY_FIRST_WORD.setdefault(_phrase.split()[0], []).append(_phrase)
# Names that do not say what the value is.
VAGUE_NAMES = ("told", "found", "given", "made", "asked", "wanted")
# (file, word or name) that stay, each with its reason.
_ELEMENT_ID = "part of an element id, which pages rely on"
_CARD_KEY = "part of a tensor's name in card files"
ALLOWED = {
    ("docs/cards.md", "nobody"): _CARD_KEY,
    ("javascript/anyms/host/fields.mjs", "asked"): _ELEMENT_ID,
    ("javascript/anyms/host/fields.mjs", "told"): _ELEMENT_ID,
    ("lib_anyms/cards/card.py", "nobody"): _CARD_KEY,
    ("lib_anyms/webui/ui/cards.py", "told"): _ELEMENT_ID,
    ("lib_anyms/webui/ui/cutting.py", "told"): _ELEMENT_ID,
    ("lib_anyms/webui/ui/files.py", "told"): _ELEMENT_ID,
    ("lib_anyms/webui/ui/panel.py", "asked"): _ELEMENT_ID,
    ("tests/ui/editor.py", "asked"): _ELEMENT_ID,
    ("tests/ui/editor.py", "told"): _ELEMENT_ID,
    ("tests/unit/test_cards.py", "nobody"): _CARD_KEY,
}
# These files contain the words because they list them.
LISTS = ("tests/house.py", "tests/test_house.py")

SOURCES = ("lib_anyms/**/*.py", "scripts/*.py", "install.py")
PAGE = ("javascript/**/*.mjs", "javascript/*.js", "style.css")
DOCS = ("*.md", "docs/*.md", ".github/**/*.yml", ".github/**/*.md", "lib_anyms/standalone/files/*.md", "examples/*.py")
TESTS = ("tests/**/*.py", "tests/**/*.mjs")
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_TOP = ("__init__", "__main__")


@dataclass(frozen=True)
class Hit:
    """A private word or a vague name; `file` is relative to the checkout."""

    file: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word}"


@dataclass(frozen=True)
class Style:
    """Counts over some Python files."""

    lines: int
    private_words: int
    comprehensions: int
    nested_comprehensions: int
    ternaries: int

    def per_thousand(self, count: int) -> float:
        return 1000 * count / self.lines


def files(root: Path, *patterns: str) -> list[Path]:
    """The files that match, without duplicates."""
    paths = {path for pattern in patterns for path in root.glob(pattern)}
    return sorted(path for path in paths if path.is_file())


def words_of(text: str) -> list[tuple[str, int]]:
    """(lower-case word, line number) of each word; an underscore separates words too."""
    words = []
    for number, line in enumerate(text.lower().splitlines(), 1):
        words += [(word, number) for word in re.findall("[a-z]+", line)]
    return words


def private_words(path: Path, root: Path = ROOT) -> Iterator[Hit]:
    """The private words of a file."""
    name = path.relative_to(root).as_posix()
    if name in LISTS:
        return
    words = words_of(path.read_text(encoding="utf-8"))
    for start, (first, number) in enumerate(words):
        for phrase in _BY_FIRST_WORD.get(first, ()):
            here = " ".join(word for word, _ in words[start : start + phrase.count(" ") + 1])
            if here == phrase and (name, phrase) not in ALLOWED:
                yield Hit(name, number, phrase)


def vague_names(path: Path, root: Path = ROOT) -> Iterator[Hit]:
    """The vague names of variables, parameters, fields, functions and classes in a Python file."""
    name = path.relative_to(root).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        defined = ""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined = node.id
        elif isinstance(node, ast.arg):
            defined = node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined = node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            defined = node.attr
        if defined.lstrip("_") in VAGUE_NAMES and (name, defined) not in ALLOWED:
            yield Hit(name, node.lineno, defined)


def rooms(root: Path = ROOT) -> dict[str, int]:
    """The lines of each room: a folder or a module directly in lib_anyms."""
    lines: Counter[str] = Counter()
    for path in files(root, "lib_anyms/**/*.py"):
        room = room_of(path, root)
        if room not in _TOP:
            lines[room] += len(path.read_text(encoding="utf-8").splitlines())
    return dict(sorted(lines.items()))


def room_of(path: Path, root: Path = ROOT) -> str:
    """The room of a file below lib_anyms."""
    return path.relative_to(root / "lib_anyms").with_suffix("").parts[0]


def arrows(root: Path = ROOT) -> set[tuple[str, str]]:
    """(room, room that it imports from) of each pair of different rooms."""
    known = rooms(root)
    pairs = set()
    for path in files(root, "lib_anyms/**/*.py"):
        here = room_of(path, root)
        for module in imported(path):
            parts = module.split(".")
            if here in known and len(parts) > 1 and parts[0] == "lib_anyms" and parts[1] in known and parts[1] != here:
                pairs.add((here, parts[1]))
    return pairs


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "lib_anyms":
                yield from (f"lib_anyms.{alias.name}" for alias in node.names)


def style(paths: list[Path], root: Path = ROOT) -> Style:
    """Counts over these Python files."""
    lines = words = comprehensions = nested = ternaries = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines += len(text.splitlines())
        words += len(list(private_words(path, root)))
        for node in ast.walk(ast.parse(text)):
            ternaries += isinstance(node, ast.IfExp)
            if isinstance(node, _COMPREHENSIONS):
                comprehensions += 1
                nested += is_nested(node)
    return Style(lines, words, comprehensions, nested, ternaries)


def is_nested(comprehension: ast.AST) -> bool:
    """Whether it contains another comprehension, or has several `for`s."""
    loops = [node for node in ast.walk(comprehension) if isinstance(node, ast.comprehension)]
    return len(loops) > 1


def main(root: Path) -> None:
    counted, pairs = rooms(root), arrows(root)
    total = sum(counted.values())
    print(f"{len(counted)} rooms, {total} lines")
    for room, lines in counted.items():
        targets = sorted(target for source, target in pairs if source == room)
        print(f"  {room:<14} {lines:6} lines {100 * lines / total:4.0f} %  -> {', '.join(targets) or 'nothing'}")
    print(f"{len(pairs)} arrows")
    for title, patterns in (("sources", SOURCES), ("tests", ("tests/**/*.py",))):
        counts = style(files(root, *patterns), root)
        print(f"{title}: {counts.lines} lines; count, and per 1,000 lines:")
        for field in ("private_words", "comprehensions", "nested_comprehensions", "ternaries"):
            count = getattr(counts, field)
            print(f"  {field.replace('_', ' '):<22} {count:5}  {counts.per_thousand(count):5.1f}")
    for title, patterns in (("page", PAGE), ("documents", DOCS)):
        hits = [hit for path in files(root, *patterns) for hit in private_words(path, root)]
        print(f"{title}: {len(hits)} private words")
    names = [hit for path in files(root, *SOURCES, "tests/**/*.py") for hit in vague_names(path, root)]
    print(f"{len(names)} vague names in sources and tests")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)

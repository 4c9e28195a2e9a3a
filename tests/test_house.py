"""The words and names that stay out of this repository, and what `python -m tests.house` counts."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house import (
    ALLOWED,
    DOCS,
    LISTS,
    PAGE,
    PRIVATE_WORDS,
    ROOT,
    SOURCES,
    TESTS,
    VAGUE_NAMES,
    arrows,
    files,
    is_nested,
    main,
    private_words,
    rooms,
    style,
    vague_names,
    words_of,
)


@pytest.mark.parametrize("patterns", [SOURCES, PAGE, DOCS, TESTS], ids=["sources", "page", "documents", "tests"])
def test_there_are_no_private_words(patterns: tuple[str, ...]) -> None:
    paths = files(ROOT, *patterns)
    assert paths
    hits = []
    for path in paths:
        hits += map(str, private_words(path))
    assert hits == []


@pytest.mark.parametrize("patterns", [SOURCES, ("tests/**/*.py",)], ids=["sources", "tests"])
def test_there_are_no_vague_names(patterns: tuple[str, ...]) -> None:
    hits = []
    for path in files(ROOT, *patterns):
        hits += map(str, vague_names(path))
    assert hits == []


def test_every_exception_is_needed_and_has_a_reason() -> None:
    for (file, word), reason in ALLOWED.items():
        assert word in (*PRIVATE_WORDS, *VAGUE_NAMES)
        assert word in dict(words_of((ROOT / file).read_text(encoding="utf-8")))
        assert len(reason.split()) > 2
    assert all((ROOT / file).is_file() for file in LISTS)


def test_words_are_whole_and_phrases_cross_lines(tmp_path: Path) -> None:
    file = tmp_path / "text.md"
    file.write_text("Marshall basked.\nIt was TOLD by is_told, held\nagainst it.\n", encoding="utf-8")
    words = [(hit.line, hit.word) for hit in private_words(file, tmp_path)]
    assert words == [(2, "told"), (2, "is told"), (2, "told"), (2, "held against")]


SOURCE = """
def made(wanted, other=1):
    found = [given for given in wanted]
    other.told = found
    print(asked, other.given)
"""


def test_a_vague_name_is_seen_where_it_is_defined(tmp_path: Path) -> None:
    file = tmp_path / "source.py"
    file.write_text(SOURCE, encoding="utf-8")
    assert sorted(hit.word for hit in vague_names(file, tmp_path)) == ["found", "given", "made", "told", "wanted"]


def test_nested_comprehensions_and_ternaries_are_counted(tmp_path: Path) -> None:
    assert not is_nested(ast.parse("[x for x in y if x]", mode="eval").body)
    assert is_nested(ast.parse("[x for y in z for x in y]", mode="eval").body)
    assert is_nested(ast.parse("[x for x in (y for y in z)]", mode="eval").body)
    file = tmp_path / "source.py"
    file.write_text("a = [x if x else {y for y in x} for x in ()]\n\n", encoding="utf-8")
    counts = style([file], tmp_path)
    assert (counts.lines, counts.comprehensions, counts.nested_comprehensions, counts.ternaries) == (2, 2, 1, 1)
    assert counts.per_thousand(counts.comprehensions) == 1000


def test_the_rooms_of_this_checkout() -> None:
    pairs = arrows()
    assert 10 <= len(rooms()) <= 15
    assert ("webui", "job") in pairs
    assert not [pair for pair in pairs if pair[1] == "lab"]


def test_rooms_and_arrows_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = {
        "lib_anyms/job/pass_result.py": "x = 1\n",
        "lib_anyms/webui/page.py": "from lib_anyms.job import pass_result\ny = [z for z in range(3)]\n",
        "tests/test_page.py": "z = 1 if pass_result else 2\n",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    main(tmp_path)
    text = capsys.readouterr().out
    assert "2 rooms, 3 lines" in text
    assert "1 arrows" in text
    assert "webui               2 lines   67 %  -> job" in text
    assert "comprehensions             1  333.3" in text

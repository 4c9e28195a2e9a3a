"""A planted fault: one wrong expression in a copy of the source, which must turn a test red."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

# These tokens do not count: a fault still fits after its line was wrapped, indented or commented.
_LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
Span = tuple[int, int]


@dataclass(frozen=True)
class Fault:
    """`right` occurs once in `file` and becomes `wrong`; one of `tests` must fail.

    In Python files `right` is compared token by token. Where it is no sequence of whole tokens, and in all other files,
    it is compared character by character.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str

    def planted(self, source: str) -> str:
        """`source` with the fault in it. Raises ValueError where `right` does not occur exactly once."""
        spans = find(source, self.right, self.file.endswith(".py"))
        if len(spans) != 1:
            raise ValueError(f"{self.name}: {self.right!r} occurs {len(spans)} times in {self.file} (expected once)")
        first, last = spans[0]
        return source[:first] + self.wrong + source[last:]


def find(source: str, fragment: str, python: bool) -> list[Span]:
    """(first, last) offset of each occurrence."""
    exact = [start for start in range(len(source)) if source.startswith(fragment, start)] if fragment else []
    if exact or not python:
        return [(start, start + len(fragment)) for start in exact]
    try:
        expected = [text for text, _ in _tokens(fragment.strip())]
    except (tokenize.TokenError, SyntaxError):
        return []
    tokens = list(_tokens(source))
    texts = [text for text, _ in tokens]
    spans = []
    for start in range(len(texts) - len(expected) + 1):
        last = start + len(expected)
        if texts[start:last] == expected:
            spans.append((tokens[start][1][0], tokens[last - 1][1][1]))
    return spans


def _tokens(source: str) -> Iterator[tuple[str, Span]]:
    """Each token that counts, with its span; a comma before a closing bracket does not count."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tokens: list[tuple[str, Span]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _LAYOUT:
            continue
        if token.string in (")", "]", "}") and tokens and tokens[-1][0] == ",":
            tokens.pop()
        first, last = (starts[row - 1] + column for row, column in (token.start, token.end))
        tokens.append((token.string, (first, last)))
    yield from tokens

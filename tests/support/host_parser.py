"""How A1111 v1.10.1 and Forge write the last line of an infotext and read it; tests/hosts compares it with theirs."""

from __future__ import annotations

import json
import re

_PARAMETER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


def written(entries: dict[str, str], prompt: str = "a cat") -> str:
    """The infotext with these entries."""
    texts = [f"{name}: {_quoted(value)}" for name, value in entries.items()]
    return f"{prompt}\n{', '.join(texts)}".strip()


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search("[,\n:]", value) else value


def parsed(infotext: str) -> dict[str, str]:
    """The entries of an infotext: only those of its last line, if it has at least three."""
    found_entries = _PARAMETER.findall(infotext.strip().split("\n")[-1])
    return {name: _unquoted(value) for name, value in found_entries} if len(found_entries) >= 3 else {}


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value[:1] == value[-1:] == '"' else value
    except ValueError:
        return value

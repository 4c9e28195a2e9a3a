from __future__ import annotations

from dataclasses import dataclass, field


class PlainTextResponse: ...


@dataclass
class Response:
    content: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)

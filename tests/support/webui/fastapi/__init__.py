"""A stand-in for fastapi: Depends returns its function; the test creates the requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    method: str = "GET"


class HTTPException(Exception):
    def __init__(self, status_code: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status_code, self.headers = status_code, headers


def Depends(dependency: Callable[..., Any]) -> Callable[..., Any]:
    return dependency


def Body(embed: bool = False) -> str:
    assert embed
    return ""

"""rembg's classes of sessions, each of which opens its model, and fetches it where it is not what rembg knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxruntime import SessionOptions


class Session:
    def __init__(self, model_name: str, sess_opts: SessionOptions) -> None:
        self.model = Path(self.__class__.download_models())

    @classmethod
    def name(cls, *_args: Any, **_options: Any) -> str:
        return cls.__name__.lower()

    @classmethod
    def download_models(cls, *_args: Any, **_options: Any) -> str:
        raise AssertionError(f"{cls.name()} is fetched")


class U2net(Session): ...


class U2netp(Session): ...


sessions_class = [U2net, U2netp]

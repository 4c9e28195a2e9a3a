"""Fixtures of jobs: model files for the TinyUNet, and no session left live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib_anyms.job import encoding
from lib_anyms.job.live_sessions import close_session
from tests.support import windows_files
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.tiny_unet import tiny_unet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A models folder with an adapter and its encoder."""
    write_adapter(tmp_path / "adapter.safetensors", tiny_unet())
    write_encoder(tmp_path / "encoder.safetensors")
    return tmp_path


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry with every encoding."""
    counted: list[int] = []
    whole = encoding.image_tokens
    monkeypatch.setattr(encoding, "image_tokens", lambda *args: counted.append(1) or whole(*args))
    return counted


@pytest.fixture(autouse=True)
def _files_as_windows_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    windows_files.follow(monkeypatch)


@pytest.fixture(autouse=True)
def _nothing_live() -> Iterator[None]:
    yield
    close_session()

"""Stand-ins for programs that users may have beside a WebUI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "ui" / "stand_ins"


@contextmanager
def rembg_installed(monkeypatch: pytest.MonkeyPatch, models: Path) -> Iterator[None]:
    """Install the stand-in for rembg; it keeps its models in `models`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("U2NET_HOME", str(models))
    yield
    for name in [module for module in sys.modules if module.partition(".")[0] in ("rembg", "onnxruntime")]:
        del sys.modules[name]

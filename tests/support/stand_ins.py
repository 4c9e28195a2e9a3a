"""Programs that users may have beside a WebUI, as the page's tests have them in their place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "ui" / "stand_ins"


@contextmanager
def rembg_installed(monkeypatch: pytest.MonkeyPatch, models: Path) -> Iterator[None]:
    """rembg, which keeps its models in `models`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("U2NET_HOME", str(models))
    yield
    for name in [each for each in sys.modules if each.partition(".")[0] in ("rembg", "onnxruntime")]:
        del sys.modules[name]

"""Freed memory returns to the system; without help the C library keeps it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from lib_anyms.engine.memory import _malloc_trim, release


def anonymous() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="host: only Linux reports, and keeps, freed memory")
def test_memory_below_a_block_that_stays_is_returned() -> None:
    if _malloc_trim() is None:
        pytest.skip("host: not glibc")
    release(torch.device("cpu"))  # memory freed by earlier tests would be used first
    before = anonymous()
    pieces = [torch.ones(2**13) for _ in range(4096)]  # 32 KiB each, so within the heap: 128 MiB
    stays = torch.ones(2**13)
    assert anonymous() - before > 100 * 2**20
    del pieces
    release(torch.device("cpu"))
    assert anonymous() - before < 30 * 2**20
    assert stays.sum() == 2**13


def test_without_glibc_nothing_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib_anyms.engine.memory._malloc_trim", lambda: None)
    release(torch.device("cpu"))

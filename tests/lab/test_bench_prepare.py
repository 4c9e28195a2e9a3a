"""The preparation is measured for each way to a subject's tokens; memory is measured while in use."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.job import encoding
from lib_anyms.lab.bench.memory import peak_mib
from lib_anyms.lab.bench.prepare import AGAIN, CARD, COLD, PROJECTION, WARM, prepare_results
from lib_anyms.models.model_files import ModelPair


def test_each_way_to_the_tokens_is_a_row_and_only_the_cold_one_encodes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, whole = [], encoding.Encoder
    monkeypatch.setattr(encoding, "Encoder", lambda *args: loaded.append(1) or whole(*args))
    pair = ModelPair(read_adapter(folder / "adapter.safetensors"), read_encoder(folder / "encoder.safetensors"))
    rows = list(prepare_results(pair, (1, 3), rounds=2))
    assert [(row.case, row.subjects) for row in rows] == [
        (f"prepare, {name}", count) for count in (1, 3) for name in (COLD, WARM, CARD, PROJECTION, AGAIN)
    ]
    assert len(loaded) == 2 * 2  # once a count and round
    assert all(row.ratio == 1 for row in rows if COLD in row.case)
    assert all(row.ratio < 1 for row in rows if any(name in row.case for name in (WARM, CARD, AGAIN)))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="host: only Linux reports a process's memory this way")
def test_memory_that_is_gone_again_is_seen() -> None:
    def act() -> None:
        held = np.ones(2**25)  # 256 MiB
        held += 1

    assert 240 < peak_mib(act) < 400
    assert peak_mib(lambda: None) < 20

"""bfloat16 where a processor multiplies it, float32 where it would be imitated."""

from __future__ import annotations

import pytest
import torch

from lib_anyms.standalone.sprites.precision import mixed


@pytest.mark.parametrize(
    ("found", "dtype"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_a_cpu_computes_in_what_it_multiplies(
    found: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    with mixed(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_gpu_always_computes_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    made: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch, "autocast", lambda *args, enabled: made.append((*args, enabled)))
    mixed(torch.device("cuda"))
    assert made == [("cuda", torch.bfloat16, True)]

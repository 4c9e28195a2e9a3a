"""The quality gate measures again exactly when its sources change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import quality


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A checkout with one source; grows by one with each measurement, which passes if the list was empty."""
    for folder in quality.SOURCES:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / quality.SOURCES[0] / "attention.py").write_bytes(b"one\ntwo\n")
    measured: list[int] = []

    def measure() -> tuple[int, str]:
        measured.append(1)
        return len(measured) - 1, "a table\n\nmIoU holds\nidentity holds\n"

    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setattr(quality, "RESULT", tmp_path / "quality.json")
    monkeypatch.setattr(quality, "measure", measure)
    return measured


def test_a_result_is_reused_until_a_source_changes(runs: list[int], tmp_path: Path) -> None:
    source = tmp_path / quality.SOURCES[0] / "attention.py"
    assert quality.main([]) == 0
    assert json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))["bars"] == "mIoU holds\nidentity holds"
    source.write_bytes(b"one\r\ntwo\r\n")
    assert quality.main([]) == 0
    assert len(runs) == 1
    source.write_bytes(b"one\n")
    before = (tmp_path / "quality.json").read_bytes()
    assert quality.main([]) == 1  # this measurement fails
    assert len(runs) == 2
    assert (tmp_path / "quality.json").read_bytes() == before


def test_all_measures_again(runs: list[int]) -> None:
    assert quality.main([]) == 0
    assert quality.main(["--all"]) == 1


def test_a_damaged_result_is_no_result(runs: list[int], tmp_path: Path) -> None:
    (tmp_path / "quality.json").write_text("[]", encoding="utf-8")
    assert quality.main([]) == 0
    assert len(runs) == 1


def test_the_sources_are_there() -> None:
    for folder in quality.SOURCES:
        assert (quality.ROOT / folder).is_dir()
    assert any(path.name == "attention.py" for path in quality.sources(quality.ROOT))

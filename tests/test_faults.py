"""Each planted fault finds its place: a change of the source that moves one is seen here, long before the faults run."""

from __future__ import annotations

import pytest

from tests.faults import FAULTS
from tests.faults.__main__ import ROOT, due
from tests.faults.fault import Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_its_place_is_found(fault: Fault) -> None:
    assert fault.planted((ROOT / fault.file).read_text(encoding="utf-8"))
    assert fault.right != fault.wrong
    for test in fault.tests.partition(" -k ")[0].split():
        assert (ROOT / test).exists()


def test_a_fault_is_found_however_its_line_is_laid_out() -> None:
    fault = Fault("", "some.py", "call(first, second + 1)", "call(second, first)", "")
    source = "def f():\n    x = call(\n        first,  # why\n        second + 1,\n    )\n"
    assert fault.planted(source) == "def f():\n    x = call(second, first)\n"
    for wrong in ("call(first, second)", source + source):
        with pytest.raises(ValueError, match="expected once"):
            fault.planted(wrong)


def test_every_fault_is_planted_within_ten_days_and_at_once_where_its_file_changed() -> None:
    days = [due(FAULTS, (), day) for day in range(10)]
    assert sum(map(len, days)) == len(FAULTS)
    assert {fault.name for day in days for fault in day} == {fault.name for fault in FAULTS}
    assert max(map(len, days)) < len(FAULTS) / 4
    changed = FAULTS[0].file
    assert {fault.name for fault in FAULTS if fault.file == changed} <= {
        fault.name for fault in due(FAULTS, {changed}, 3)
    }

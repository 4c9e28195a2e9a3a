"""Each planted fault fits the source: a change that moves one is seen here, long before the faults run."""

from __future__ import annotations

import pytest

from tests.faults import FAULTS
from tests.faults.__main__ import MOST_CHANGED, due
from tests.faults.fault import Fault
from tests.faults.planting import ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_fits_its_file(fault: Fault) -> None:
    assert fault.planted((ROOT / fault.file).read_text(encoding="utf-8"))
    assert fault.right != fault.wrong
    for test in fault.tests.partition(" -k ")[0].split():
        assert (ROOT / test).exists()


def test_a_fault_fits_in_any_layout_of_its_line() -> None:
    fault = Fault("", "some.py", "call(first, second + 1)", "call(second, first)", "")
    source = "def f():\n    x = call(\n        first,  # why\n        second + 1,\n    )\n"
    assert fault.planted(source) == "def f():\n    x = call(second, first)\n"
    for wrong in ("call(first, second)", source + source):
        with pytest.raises(ValueError, match="expected once"):
            fault.planted(wrong)


def test_each_fault_is_due_once_in_twenty_days() -> None:
    days = [due(FAULTS, (), day) for day in range(20)]
    assert sum(map(len, days)) == len(FAULTS)
    assert {fault.name for day in days for fault in day} == {fault.name for fault in FAULTS}
    assert max(map(len, days)) < len(FAULTS) / 4


def test_faults_of_changed_files_are_due_at_once_up_to_a_limit() -> None:
    changed = FAULTS[0].file
    of_changed = {fault.name for fault in FAULTS if fault.file == changed}
    assert of_changed <= {fault.name for fault in due(FAULTS, {changed}, 3)}
    everything = {fault.file for fault in FAULTS}
    today = due(FAULTS, everything, 3)
    assert MOST_CHANGED <= len(today) <= MOST_CHANGED + len(due(FAULTS, (), 3))
    assert len(set(today)) == len(today)
    assert today[:MOST_CHANGED] != due(FAULTS, everything, 4)[:MOST_CHANGED]

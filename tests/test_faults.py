"""Each planted fault finds its line: a change of the source that moves one is seen here, long before the faults run."""

from __future__ import annotations

import pytest

from tests.faults import FAULTS, ROOT, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_its_line_stands_once(fault: Fault) -> None:
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.right) == 1
    assert fault.right != fault.wrong
    for test in fault.tests.partition(" -k ")[0].split():
        assert (ROOT / test).exists()

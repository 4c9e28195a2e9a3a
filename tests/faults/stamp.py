"""Planted faults of the source stamps."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "the stamp leaves out the page's JavaScript",
        "lib_anyms/stamp.py",
        '*_walk(root / "javascript", ".mjs"), *styles]',
        "*styles]",
        "tests/unit/test_stamp.py -k every_shipped_file",
    ),
    Fault(
        "the stamp ignores a change of the same size",
        "lib_anyms/stamp.py",
        "return facts.st_size, facts.st_mtime_ns",
        "return facts.st_size, 0",
        "tests/unit/test_stamp.py -k same_size",
    ),
    Fault(
        "the marks count in the page's stamp",
        "lib_anyms/stamp.py",
        'content = _MARK.sub(b"", content)',
        "pass",
        "tests/unit/test_stamp.py -k marks",
    ),
    Fault(
        "the page carries a stale stamp",
        "javascript/anyms.mjs",
        'customElements.define("anyms-editor", AnymsEditor);',
        'customElements.define("anyms-editor", AnymsEditor); // changed',
        "tests/unit/test_stamp.py -k carries",
    ),
)

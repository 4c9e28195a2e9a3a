"""Planted faults of tensor_files."""

from __future__ import annotations

from tests.faults.fault import Fault

FAULTS = (
    Fault(
        "a loaded tensor is a view of the file",
        "lib_anyms/tensor_files/tensor_file.py",
        ".clone(memory_format=torch.contiguous_format)",
        ".contiguous()",
        "tests/unit/test_files.py -k held",
    ),
    Fault(
        "files: names that multiply are all read",
        "lib_anyms/tensor_files/torch_pickle.py",
        "TENSOR_LIMIT = 2**15",
        "TENSOR_LIMIT = 2**19",
        "tests/unit/test_damaged_files.py -k 'unfolds and tensor'",
    ),
)

"""An adapter's file: a job opens it once and passes the open file down."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from lib_anyms.ip_adapter.checkpoint import AdapterCheckpoint
from lib_anyms.tensor_files.tensor_file import TensorFile, open_tensors


def adapter_file(adapter: AdapterCheckpoint, file: TensorFile | None) -> AbstractContextManager[TensorFile]:
    """`file`, the open file of `adapter`, which stays open. None: open it now and close it at the end.

    Raises Refused for a file that cannot be read.
    """
    return open_tensors(adapter.path) if file is None else nullcontext(file)

"""Whether AnyMS was updated while the WebUI runs.

"Reload UI" runs scripts/ again, but lib_anyms stays as it was imported. A job would then mix two versions.
"""

from __future__ import annotations

from lib_anyms.errors import Refused
from lib_anyms.stamp import DIGITS, SourceTree, running

RUNNING = running()  # at import: later an update may have changed the files
SHORT = RUNNING[:DIGITS]  # as the doctor and the API show it
_TREE = SourceTree()


def update() -> Refused | None:
    """Why no job may run: the sources on disk are no longer the ones that run.

    None while they are the same, and while they cannot be read (in the middle of an update).
    """
    try:
        on_disk = _TREE.stamp()
    except OSError:
        return None
    if on_disk == RUNNING:
        return None
    return Refused("restart_needed", got=SHORT, expected=on_disk[:DIGITS])


def restart_sentence() -> str:
    """The sentence of `update` for the page and the doctor; "" if there is none."""
    return str(update() or "")

"""Whether AnyMS was updated while the WebUI ran: "Reload UI" reads scripts/ anew, lib_anyms stays as it was imported."""

from __future__ import annotations

import re
from pathlib import Path

from lib_anyms import __version__
from lib_anyms.errors import Refused

_FILE = Path(__file__).parents[1] / "__init__.py"
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


def update() -> Refused | None:
    """Why no job may run: what it imports would be the new version's, beside the old one's. None where the versions
    agree, or the file cannot be read just now.
    """
    try:
        found = _VERSION.search(_FILE.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    if not found or found[1] == __version__:
        return None
    return Refused("restart_needed", got=__version__, expected=found[1])


def restart_sentence() -> str:
    """What the page and the doctor say of it; "" where there is nothing to say."""
    return str(update() or "")

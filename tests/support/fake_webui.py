"""Put the stand-ins of tests/support/webui into this process: during a test, modules that import a WebUI can load."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

STAND_INS = ("gradio", "modules", "fastapi", "backend", "ldm_patched")
OURS = ("lib_anyms.webui.ui", "lib_anyms.webui.web_api", "lib_anyms.hosts.facts")


class FakeWebUI:
    """Loaded modules by name, as `webui("lib_anyms.webui.ui.paste")`."""

    def __call__(self, name: str):
        return importlib.import_module(name)


def _forget() -> dict[str, object]:
    """Remove the stand-ins, or the packages they replace, and all their importers from sys.modules; return them."""
    hosts = {name for name in sys.modules if name.partition(".")[0] in STAND_INS}
    importers = {name for name in sys.modules if name.startswith(OURS)}
    return {name: sys.modules.pop(name) for name in hosts | importers}


@contextlib.contextmanager
def fake_webui(models: Path) -> Iterator[FakeWebUI]:
    """A WebUI whose models folder is `models`."""
    before, folder = _forget(), str(Path(__file__).parent / "webui")
    sys.path.insert(0, folder)
    try:
        paths = importlib.import_module("modules.paths")
        paths.models_path = paths.data_path = str(models)
        yield FakeWebUI()
    finally:
        sys.path.remove(folder)
        _forget()
        sys.modules.update(before)

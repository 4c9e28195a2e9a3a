"""One server per host for the whole run; measurements are printed at its end."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib_anyms.standalone import bundle
from lib_anyms.standalone.random_sdxl import RandomFiles, write_random_sdxl
from lib_anyms.standalone.structure import SMALL
from tests.hosts import peer, server, tiny
from tests.hosts.kinds import KINDS
from tests.hosts.studio import Studio, as_before

SPRITES_LIST = bundle.FILES / bundle.LIST

_MEASURED: list[str] = []


@pytest.fixture(scope="session")
def measured() -> list[str]:
    """Lines for the end of the run."""
    return _MEASURED


@pytest.fixture(scope="session", params=[*KINDS])
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A real host with our extension, the tiny SDXL and the probe. Its own folder must not change."""
    place = server.find(request.param)
    if isinstance(place, str):
        pytest.skip(place)
    before = server.listing(place.folder)
    data = tmp_path_factory.mktemp(f"hôst data {place.name}")
    files = tiny.install(place.name, data)
    server.install_extension(data)
    host = server.HostServer(place, data)
    try:
        host.start()
        yield Studio(host, files)
    finally:
        host.stop()
    assert server.listing(place.folder) == before, "something was left in the host's own folder"


@pytest.fixture
def untouched(studio: Studio) -> Iterator[None]:
    """Every test leaves the host as it was."""
    with as_before(studio):
        yield


@contextlib.contextmanager
def with_sprites(studio: Studio, name: str, files: RandomFiles | None = None) -> Iterator[Studio]:
    """The same host with the small world's structure loaded: `files`, or random weights."""
    placed = tiny.place(studio.host.place.name, studio.host.data, "sprites", files, name)
    studio.host.post("/sdapi/v1/refresh-checkpoints", {})
    try:
        with studio.options(sd_model_checkpoint=placed.checkpoint.name, **peer.OPTIONS):
            yield Studio(studio.host, placed)
    finally:
        tiny.remove(placed)
        studio.host.post("/sdapi/v1/refresh-checkpoints", {})


@pytest.fixture(scope="module")
def untrained(studio: Studio) -> Iterator[Studio]:
    with with_sprites(studio, "untrained") as visited:
        yield visited


@pytest.fixture(scope="module")
def sprites(studio: Studio, sprites_files: RandomFiles) -> Iterator[Studio]:
    with with_sprites(studio, "trained", sprites_files) as visited:
        yield visited


@pytest.fixture(scope="session")
def sprites_files(tmp_path_factory: pytest.TempPathFactory) -> RandomFiles:
    """The trained small world's files: from ANYMS_SPRITES_DIR if set, else from this checkout."""
    folder = Path(os.environ.get("ANYMS_SPRITES_DIR") or tmp_path_factory.mktemp("sprites"))
    if "ANYMS_SPRITES_DIR" not in os.environ:
        if not SPRITES_LIST.is_file():
            pytest.fail(f"the trained sprites are missing: there is no {SPRITES_LIST}")
        bundle.join_files(SPRITES_LIST, folder)
    adapters = {kind: folder / name for kind, name in bundle.ADAPTERS.items()}
    return RandomFiles(folder / bundle.CHECKPOINT, folder / bundle.ENCODER, adapters)


@pytest.fixture
def other_family(studio: Studio, tmp_path: Path) -> Iterator[str]:
    """The name of an adapter for a smaller UNet in the host's folder."""
    adapter = write_random_sdxl(tmp_path, SMALL, adapters=["base"]).adapters["base"]
    placed = Path(shutil.copy(adapter, studio.files.adapters["plus"].with_name("another.safetensors")))
    yield placed.stem
    placed.unlink()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test's message ends with the host's log."""
    outcome = yield
    report = outcome.get_result()
    studio = getattr(item, "funcargs", {}).get("studio")
    if report.when == "call" and report.failed and studio is not None:
        report.sections.append(("the host", studio.host.tail()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _MEASURED:
        terminalreporter.section("measured on the hosts")
        for line in _MEASURED:
            terminalreporter.write_line(line)

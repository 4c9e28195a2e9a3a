"""Install and remove AnyMS as users do: "Install from URL", restart, update, "Reload UI", removal of the folder.

All of it on the host's own page, with a git remote on loopback.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import TimeoutError

from lib_anyms import __version__
from tests.hosts import server, tiny
from tests.hosts.drive import Page, opened
from tests.hosts.kinds import KINDS
from tests.hosts.remote import Remote, git, serve
from tests.hosts.studio import SCENE, Studio, two_subjects

PULLED, UPDATED = "0.999.1", "0.999.2"  # published while the host has this one
RESTART = "restart the WebUI"
PATIENCE = 300_000  # milliseconds; git uses the network, and the host builds its page again
INSTALLED = "#extensions_installed_html"


class Extensions(Page):
    """The host's tab of that name."""

    def open(self) -> None:
        self.tab.set_default_timeout(PATIENCE)
        self.tab.goto(self.studio.host.url, wait_until="load")
        self.tab.locator("#txt2img_generate").wait_for()
        for _ in range(20):  # an unfinished page loses a click
            self.turn_to("Extensions")
            with contextlib.suppress(TimeoutError):
                return self.tab.locator(INSTALLED).get_by_text("anyms-probe").wait_for(timeout=PATIENCE / 20)
        raise AssertionError("the tab Extensions does not open")

    def turn_to(self, name: str) -> None:
        """The tab of that name, in this host's spelling: Forge's is "Txt2img"."""
        spelling = re.compile(rf"^\s*{name}\s*$", re.IGNORECASE)
        self.tab.locator(".tab-nav button").get_by_text(
            spelling
        ).first.click()  # Neo's settings have a tab of the same name

    def press(self, name: str) -> None:
        self.tab.locator("#tab_extensions").get_by_role("button", name=name, exact=True).click()

    def install(self, url: str) -> None:
        self.turn_to("Install from URL")
        self.tab.get_by_label("URL for extension's git repository").fill(url)
        self.press("Install")
        self.tab.locator("#extension_install_result").get_by_text("Installed into").wait_for()

    def look_for_updates(self) -> None:
        self.press("Check for updates")
        self.tab.locator(INSTALLED).get_by_text("new commits").wait_for()

    def apply(self) -> None:
        """Apply the marked updates, which a check has found; this stops the host."""
        self.press("Apply and quit")
        self.studio.host.wait_for_end()

    def reload(self) -> None:
        """Press "Reload UI", which is not a restart.

        The page may reload itself too early, so it is opened again.
        """
        self.tab.locator("#footer a").get_by_text("Reload UI", exact=True).click()
        self.studio.host.wait_for_start(2)
        self.open()


@pytest.fixture(params=[*KINDS])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Studio]:
    """A started host without AnyMS.

    Files of an update in the host's own folder are removed; nothing else may remain there.
    """
    place = server.find(request.param)
    if isinstance(place, str):
        pytest.skip(place)
    before = server.listing(place.folder)
    data = tmp_path / f"hôst data {place.name}"
    host = server.HostServer(place, data)
    files = tiny.install(place.name, data)
    try:
        host.start()
        yield Studio(host, files)
    finally:
        host.stop()
        for path in server.listing(place.folder).keys() - before.keys():
            if Path(path).parent.name == "config_states":
                Path(path).unlink()
    assert server.listing(place.folder) == before, "something was left in the host's own folder"


@contextlib.contextmanager
def extensions(studio: Studio) -> Iterator[Extensions]:
    with contextlib.contextmanager(opened)(Extensions, studio) as page:
        yield page


def test_install_update_reload_remove(bare: Studio, tmp_path: Path, measured: list[str]) -> None:
    baseline = bare.paint().pixels
    folder = bare.host.data / "extensions" / server.EXTENSION
    with serve(tmp_path) as remote:
        install(bare, remote, folder, measured)
        assert works(bare, __version__, baseline)
        reload_after_a_pull(bare, remote, folder, baseline)
        bare.host.stop()
        bare.host.start()
        assert works(bare, PULLED, baseline)
        update(bare, remote, measured)
        assert works(bare, UPDATED, baseline)
    bare.host.stop()
    shutil.rmtree(folder)
    bare.host.start()
    assert bare.host.get("/anyms/v1/version").status == 404
    assert "anyms" not in bare.host.get("/sdapi/v1/scripts").body["txt2img"]
    assert bare.paint().pixels == baseline


def install(studio: Studio, remote: Remote, folder: Path, measured: list[str]) -> None:
    with extensions(studio) as page:
        began = time.monotonic()
        page.install(remote.url)
        seconds = time.monotonic() - began
        page.turn_to("Installed")
        page.tab.locator(INSTALLED).get_by_text(remote.url).first.wait_for()
        page.keep("installed")
        page.apply()
    size, history = megabytes(folder), megabytes(folder / ".git")
    measured.append(
        f"{studio.host.place.name}, installed from URL: {seconds:.1f} s, {size:.0f} MB, {history:.0f} of them .git"
    )
    studio.host.start()


def reload_after_a_pull(studio: Studio, remote: Remote, folder: Path, baseline: list[bytes]) -> None:
    """New files, old imports: page and API say what to do, and other jobs still work."""
    remote.publish(PULLED)
    git("pull", "--quiet", at=folder)
    with extensions(studio) as page:
        page.reload()
        page.turn_to("txt2img")
        page.tab.get_by_text(f"AnyMS could not be loaded: {RESTART}").first.wait_for()
        page.keep("reloaded")
    answer = studio.ask(two_subjects())
    assert answer.status == 500
    assert RESTART in answer.sentence.lower().replace("webui", "WebUI")
    assert studio.paint().pixels == baseline


def update(studio: Studio, remote: Remote, measured: list[str]) -> None:
    """Update as the host does it; this stops the host."""
    remote.publish(UPDATED)
    with extensions(studio) as page:
        began = time.monotonic()
        page.look_for_updates()
        page.keep("updates")
        page.apply()
        measured.append(f"{studio.host.place.name}, found an update and made it: {time.monotonic() - began:.1f} s")
    studio.host.start()


def works(studio: Studio, version: str, baseline: list[bytes]) -> bool:
    """Check that this version answers, acts inside the boxes, and leaves pictures without it unchanged."""
    answer = studio.host.get("/anyms/v1/version")
    assert answer.status == 200
    assert answer.body["anyms"] == version
    request = two_subjects()
    job = studio.paint(request)
    assert "AnyMS" in studio.parameters(job.images[0])
    for subject in request["subjects"]:
        changed = np.abs(within(subject["box"], job.pixels[0]) - within(subject["box"], baseline[0]))
        assert changed.mean() > 1, subject["name"]
    return studio.paint().pixels == baseline


def within(box: list[float], pixels: bytes) -> Any:
    """The box's part of a picture."""
    width, height = SCENE["width"], SCENE["height"]
    picture = np.frombuffer(pixels, np.uint8).reshape(height, width, 3).astype(int)
    x0, y0, x1, y1 = (round(edge * side) for edge, side in zip(box, (width, height, width, height)))
    return picture[y0:y1, x0:x1]


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6

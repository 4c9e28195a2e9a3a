"""The host's page in a real browser: what a user does with the mouse gives what the API gives."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image

from tests.hosts.server import EXTENSION
from tests.hosts.studio import SCENE, Studio, encoded, pixels_of, reference, two_subjects
from tests.support.programs import find_program

PageT = TypeVar("PageT", bound="Page")
QUIET = ("--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
WAIT = 60_000  # milliseconds
NAMES = {"cat": "orange", "straw hat": "navy"}  # and the colours of their pictures


class Page:
    """The txt2img tab with our accordion."""

    def __init__(self, tab: Any, studio: Studio) -> None:
        self.tab = tab
        self.studio = studio
        self.complaints: list[str] = []
        tab.set_default_timeout(WAIT)
        tab.on("console", lambda told: self._listen(told.type, told.text, told.location.get("url", "")))
        tab.on("pageerror", lambda error: self._listen("error", error.message, error.stack or ""))

    def open(self) -> None:
        self.tab.goto(self.studio.host.url, wait_until="load")
        self.tab.locator("#txt2img_generate").wait_for()
        self.tab.wait_for_function("document.querySelector('#script_txt2img_anyms_enabled-visible-checkbox') !== null")

    def ours(self, name: str) -> Any:
        return self.tab.locator(f"#script_txt2img_anyms_{name}")

    def switch_on(self) -> None:
        self.ours("enabled").locator(".label-wrap").first.click()
        self.ours("slot2_name").wait_for()
        assert self.ours("enabled-visible-checkbox").is_checked()

    def fill(self, field: Any, value: object) -> None:
        entry = field.locator("textarea, input[type=number], input[type=text]").first
        entry.fill(str(value))
        entry.press("Tab")

    def set_scene(self) -> None:
        self.fill(self.tab.locator("#txt2img_prompt"), SCENE["prompt"])
        self.fill(self.tab.locator("#txt2img_neg_prompt"), SCENE["negative_prompt"])
        for name in ("steps", "width", "height", "cfg_scale", "seed"):
            self.fill(self.tab.locator(f"#txt2img_{name}"), SCENE[name])

    def set_subjects(self) -> None:
        for number, (name, colour) in enumerate(NAMES.items(), 1):
            picture = {"name": f"{colour}.png", "mimeType": "image/png", "buffer": base64.b64decode(encoded(reference(colour)))}
            slot = self.ours(f"slot{number}_shown")
            slot.locator("input[type=file]").set_input_files(picture)
            slot.locator(".thumb").first.wait_for()
            self.fill(self.ours(f"slot{number}_name"), name)

    def generate(self) -> str:
        """-> the picture's file, as base64."""
        self.tab.locator("#txt2img_generate").click()
        return self.made()

    def made(self, kind: str = "txt2img") -> str:
        """The picture in a tab's gallery, not the preview before it (a `data:` address) -> its file, as base64."""
        shown = self.tab.locator(f"#{kind}_gallery img:not([src^='data:'])").first
        shown.wait_for()
        answer = self.tab.request.get(shown.get_attribute("src"))
        assert answer.ok
        return base64.b64encode(answer.body()).decode()

    def keep(self, name: str) -> Path:
        """The page as it looks, in ANYMS_ARTIFACTS or with the host's data."""
        folder = Path(os.environ.get("ANYMS_ARTIFACTS") or self.studio.host.data)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.studio.host.place.name}-{name}.png"
        seen = Image.open(io.BytesIO(self.tab.screenshot(full_page=True)))
        seen.convert("RGB").quantize(64).save(path, optimize=True)  # small enough for the docs
        return path

    def _listen(self, kind: str, text: str, where: str) -> None:
        """Stock pages complain too: only our own files count."""
        if kind == "error" and (EXTENSION in where or "anyms" in text.lower()):
            self.complaints.append(f"{text} ({where})")


def opened(kind: type[PageT], studio: Studio) -> Iterator[PageT]:
    """The host's page in a browser; it must not have complained of our files in the end."""
    chromium = os.environ.get("ANYMS_CHROMIUM") or find_program("chromium", "chromium")
    if chromium is None:
        pytest.skip("no Chromium for the host's page: install chromium, or set ANYMS_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = kind(browser.new_page(viewport={"width": 1400, "height": 1000}), studio)
        page.open()
        yield page
        browser.close()
    assert not page.complaints


@pytest.fixture
def page(studio: Studio) -> Iterator[Page]:
    yield from opened(Page, studio)


def test_the_page_makes_what_the_api_makes(page: Page, measured: list[str]) -> None:
    page.switch_on()
    page.set_subjects()
    page.set_scene()
    made = page.generate()
    measured.append(f"{page.studio.host.place.name}, its page: {page.keep('page')}")

    told = page.studio.parameters(made)
    subjects = [
        {"name": "cat", "images": [encoded(reference("orange"))], "box": [0.05, 0.15, 0.48, 0.95]},
        {"name": "straw hat", "role": "attribute", "images": [encoded(reference("navy"))], "box": [0.52, 0.15, 0.95, 0.95]},
    ]
    request = two_subjects(subjects=subjects, scale=0.6)
    by_api = page.studio.paint(request, sampler_name=told["Sampler"], scheduler=told["Schedule type"])
    assert told["AnyMS"] == page.studio.parameters(by_api.images[0])["AnyMS"]
    assert pixels_of(made) == by_api.pixels[0]
    plain = page.studio.paint(sampler_name=told["Sampler"], scheduler=told["Schedule type"])
    assert by_api.pixels != plain.pixels


def test_a_bad_box_is_told_on_the_page(page: Page) -> None:
    page.switch_on()
    page.set_subjects()
    page.set_scene()
    page.tab.locator("anyms-editor[tab=txt2img]").get_by_role("button", name="Show the plain fields").click()
    page.fill(page.ours("slot1_x0"), 1.2)
    page.fill(page.ours("slot1_x1"), 1.4)
    page.tab.locator("#txt2img_generate").click()
    sentence = "AnyMS: the box 1.2, 0.15, 1.4, 0.95 lies wholly outside the picture"
    page.tab.locator("#html_log_txt2img").get_by_text(sentence).first.wait_for()
    assert sentence in page.studio.host.tail()
    page.keep("refused")
    assert page.tab.locator("#txt2img_gallery img").count() == 0

    page.fill(page.ours("slot1_x0"), 0.05)  # and the page goes on working
    page.fill(page.ours("slot1_x1"), 0.48)
    assert "AnyMS" in page.studio.parameters(page.generate())


def test_stepping_aside_is_told_on_the_page(page: Page, other_family: str) -> None:
    page.switch_on()
    page.set_subjects()
    page.set_scene()
    adapter = page.ours("adapter").locator("input").first
    adapter.fill(other_family)
    adapter.press("Enter")
    assert "AnyMS skipped" in page.studio.parameters(page.generate())
    page.tab.locator("#html_log_txt2img").get_by_text("so the picture was made without AnyMS").first.wait_for()
    page.keep("skipped")

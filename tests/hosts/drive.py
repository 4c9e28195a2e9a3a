"""A host's own page in a browser, driven as in tests/ui. The generated picture's infotext shows what was sent."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from PIL import Image

from lib_anyms.job import infotext
from tests.hosts.studio import SCENE, Studio, encoded, reference
from tests.support.programs import find_browser
from tests.ui.editor import QUIET, Editor

PageT = TypeVar("PageT", bound="Page")
WAIT = 120_000  # milliseconds; hosts run on the CPU here
NAMES = {"cat": "orange", "straw hat": "navy"}  # and the colours of their pictures
SCREEN = {"width": 1400, "height": 1000}
_seeds = itertools.count(1000)
_ANSWERED = """(seed) => {
    const error = document.querySelector("#html_log_txt2img .error:not([data-old])");
    const made = document.querySelector("#html_info_txt2img").textContent;
    return made.includes(`Seed: ${seed},`) || error?.textContent.includes("AnyMS");
}"""


class Page(Editor):
    """The txt2img tab with our accordion."""

    def __init__(self, context: Any, studio: Studio) -> None:
        host = studio.host
        super().__init__(context, SimpleNamespace(gradio=host.place.name, url=f"{host.url}/", folder=host.data))
        self.studio = studio
        self.tab = self.page  # of the browser: a test calls this object its page
        self.tab.set_default_timeout(WAIT)

    def open(self, options: str = "") -> None:
        self.tab.goto(self.url + options, wait_until="load")
        self.tab.locator("#txt2img_generate").wait_for()
        self.tab.wait_for_function("document.querySelector('#script_txt2img_anyms_enabled-visible-checkbox') !== null")

    def switch_on(self) -> None:
        self.ours("enabled").locator(".label-wrap").first.click()
        self.ours("slot1_name").wait_for()
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
            picture = {
                "name": f"{colour}.png",
                "mimeType": "image/png",
                "buffer": base64.b64decode(encoded(reference(colour))),
            }
            slot = self.ours(f"slot{number}_shown")
            slot.locator("input[type=file]").set_input_files(picture)
            slot.locator(".thumb").first.wait_for()
            self.fill(self.ours(f"slot{number}_name"), name)  # its picture has chosen the subject

    def open_fold(self, name: str, is_open: bool = True) -> None:
        """Open or close one of the panel's folds, unless it is so already."""
        label = self.ours(name).locator(".label-wrap").first
        if ("open" in (label.get_attribute("class") or "").split()) != is_open:
            label.click()

    def generate(self) -> str:
        """Return the picture's file as base64."""
        self.tab.locator("#txt2img_generate").click()
        return self.shown_picture()

    def shown_picture(self, kind: str = "txt2img") -> str:
        """The picture in a tab's gallery as base64, not the live preview (a `data:` address)."""
        shown = self.tab.locator(f"#{kind}_gallery img:not([src^='data:'])").first
        shown.wait_for()
        answer = self.tab.request.get(shown.get_attribute("src"))
        assert answer.ok
        return base64.b64encode(answer.body()).decode()

    def keep(self, name: str) -> str:
        """Save a screenshot of the whole page if ANYMS_ARTIFACTS names a folder -> its path."""
        folder = os.environ.get("ANYMS_ARTIFACTS")
        if not folder:
            return "not kept, for ANYMS_ARTIFACTS names no folder"
        Path(folder).mkdir(parents=True, exist_ok=True)
        path = Path(folder, f"{self.gradio}-{name}.png")
        seen = Image.open(io.BytesIO(self.tab.screenshot(full_page=True)))
        seen.convert("RGB").quantize(64).save(path, optimize=True)  # small enough for the docs
        return str(path)


def opened(kind: type[PageT], studio: Studio) -> Iterator[PageT]:
    """The host's page in a browser. It must report no error in our files."""
    chromium = find_browser()
    if chromium is None:
        pytest.skip("no Chromium for the host's page: install chromium, or set ANYMS_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = kind(browser.new_context(viewport=SCREEN), studio)
        page.open()
        yield page
        page.close()
        browser.close()


class HostEditor(Page):
    """The host's page with AnyMS on, the sizes of tests/ui/page.py, a prompt and one step."""

    def open(self, options: str = "") -> None:
        super().open(options)
        self.switch_on()
        self.root.locator(".box").nth(1).wait_for()
        for name, value in (("steps", 1), ("width", 768), ("height", 512)):
            self.number(name, value)
        self.inside("root.querySelector('.shape').textContent === '768 × 512'")
        self.root.scroll_into_view_if_needed()

    def speak(self, words: dict[str, str]) -> None:
        """Translate the page, as a chosen localisation file of the host does."""
        none, translated = "window.localization = {}", f"window.localization = {json.dumps(words)}"

        def brought(route: Any) -> None:
            answer = route.fetch()
            page = answer.text()
            assert page.count(none) == 1
            route.fulfill(response=answer, body=page.replace(none, translated))

        self.page.route(self.url, brought)
        self.open()

    def number(self, name: str, value: float) -> None:
        """One of the host's settings."""
        field = self.page.locator(f"#txt2img_{name} input[type=number], #txt2img_{name} input[type=text]").first
        field.fill(str(value))
        field.press("Tab")

    def make(self) -> None:
        """Return when there is a picture, or a sentence of AnyMS that says why not."""
        seed = next(_seeds)
        self.number("seed", seed)
        self.page.evaluate(
            "document.querySelectorAll('#html_log_txt2img .error').forEach((old) => { old.dataset.old = 1; })"
        )
        self.page.locator("#txt2img_generate").click()
        self.page.wait_for_function(_ANSWERED, arg=seed)

    def sent(self) -> dict[str, Any] | str:
        self.make()
        entry = infotext.entries(self.page.locator("#html_info_txt2img").first.inner_text()).get(infotext.NAME)
        return (
            infotext.read(entry).to_json()
            if entry
            else self.page.locator("#html_log_txt2img .error").first.inner_text()
        )

    def paste(self, text: str) -> None:
        line = f"a cat\nSteps: 1, Sampler: Euler, Size: 768x512, {infotext.NAME}: {json.dumps(text)}, Version: 1"
        self.field("txt2img_prompt").fill(line)
        self.page.locator("#txt2img_tools #paste").click()

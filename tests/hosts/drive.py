"""The drive of tests/ui on a host's own page, where Generate makes a picture, and what was sent is what the picture tells."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

from lib_anyms import infotext
from tests.hosts.server import HostServer
from tests.ui.editor import Editor

WAIT = 120_000  # milliseconds; a host makes its pictures on the CPU here
_seeds = itertools.count(1000)
_TOLD = """(seed) => {
    const error = document.querySelector("#html_log_txt2img .error:not([data-old])");
    const made = document.querySelector("#html_info_txt2img").textContent;
    return made.includes(`Seed: ${seed},`) || error?.textContent.includes("AnyMS");
}"""


class HostEditor(Editor):
    """Its page is opened with AnyMS switched on, in the size of tests/ui/page.py, with a prompt and a single step."""

    def __init__(self, context: Any, host: HostServer) -> None:
        super().__init__(context, SimpleNamespace(gradio=host.place.name, url=f"{host.url}/", folder=host.data))
        self.page.set_default_timeout(WAIT)

    def open(self, options: str = "") -> None:
        self.page.goto(self.url + options, wait_until="load")
        self.page.locator("#txt2img_generate").wait_for()
        self.page.wait_for_function("document.querySelector('#script_txt2img_anyms_enabled-visible-checkbox') !== null")
        self.ours("enabled").locator(".label-wrap").first.click()
        self.root.locator(".box").nth(1).wait_for()
        for name, value in (("steps", 1), ("width", 768), ("height", 512)):
            self.number(name, value)
        self.inside("root.querySelector('.shape').textContent === '768 × 512'")
        self.root.scroll_into_view_if_needed()

    def number(self, name: str, value: float) -> None:
        """One of the host's settings."""
        field = self.page.locator(f"#txt2img_{name} input[type=number], #txt2img_{name} input[type=text]").first
        field.fill(str(value))
        field.press("Tab")

    def generate(self) -> None:
        """Returns when there is a picture, or AnyMS has said why there is none."""
        seed = next(_seeds)
        self.number("seed", seed)
        self.page.evaluate("document.querySelectorAll('#html_log_txt2img .error').forEach((old) => { old.dataset.old = 1; })")
        self.page.locator("#txt2img_generate").click()
        self.page.wait_for_function(_TOLD, arg=seed)

    def sent(self) -> dict[str, Any] | str:
        self.generate()
        told = infotext.entries(self.page.locator("#html_info_txt2img").first.inner_text()).get(infotext.NAME)
        return json.loads(told) if told else self.page.locator("#html_log_txt2img .error").first.inner_text()

    def paste(self, text: str) -> None:
        line = f"a cat\nSteps: 1, Sampler: Euler, Size: 768x512, {infotext.NAME}: {json.dumps(text)}, Version: 1"
        self.field("txt2img_prompt").fill(line)
        self.page.locator("#txt2img_tools #paste").click()

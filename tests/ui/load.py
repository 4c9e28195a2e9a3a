"""What a page costs to open with our panel in both tabs, closed as in the hosts, and without: `python -m
tests.ui.load`.

Told are milliseconds of the page's own thread at work, which a busy machine changes little, and those a user waits.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.support.programs import find_program
from tests.ui.gradios import GRADIOS, serve

TIMES = 5
BUILT = """document.querySelector('#img2img_generate')
    && (!window.anyms || [...document.querySelectorAll('anyms-editor')].every((node) => node.editor))"""
Cost = tuple[float, float]  # milliseconds at work, and until it is there


def opened(browser: Any, url: str) -> Cost:
    """Open the page once, until it is built and, with us, both editors have started."""
    context = browser.new_context()
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(url, wait_until="commit")
    page.wait_for_function(BUILT)
    waited = float(page.evaluate("performance.now()"))
    told = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    context.close()
    return 1000 * told["TaskDuration"], waited


def measure(browser: Any, gradio: str, folder: Path, *options: str) -> Cost:
    """Medians of the second and later openings: the first one fills the server's caches."""
    page = serve(gradio, folder / f"{gradio}{''.join(options)}.log", *options)
    try:
        costs = [opened(browser, page.url) for _ in range(TIMES + 1)][1:]
    finally:
        page.stop()
    return statistics.median(cost[0] for cost in costs), statistics.median(cost[1] for cost in costs)


def main() -> None:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("ANYMS_CHROMIUM") or find_program("chromium", "chromium")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for gradio in GRADIOS:
            without, with_us = (
                measure(browser, gradio, Path(folder), *options) for options in (["--without"], ["--closed"])
            )
            told = [f"{work:.0f} ms of work ({waited:.0f} ms waited)" for work, waited in (without, with_us)]
            print(
                f"{gradio}: without {told[0]}, with {told[1]}, cost {with_us[0] - without[0]:.0f} ms of work",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main()

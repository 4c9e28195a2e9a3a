"""How much longer a page takes to open with the AnyMS panel in both tabs: `python -m tests.ui.load`.

Prints two times in milliseconds: the work of the page's thread, which a busy machine changes little, and the wait of a
user. The panel is closed, as in the hosts.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.support.programs import find_browser
from tests.ui.gradios import GRADIOS, serve

TIMES = 5
BUILT = """document.querySelector('#img2img_generate')
    && (!window.anyms || [...document.querySelectorAll('anyms-editor')].every((node) => node.editor))"""
Cost = tuple[float, float]  # milliseconds of work, and of waiting


def opened(browser: Any, url: str) -> Cost:
    """Open the page once, until it is built and both editors, if there are any, have started."""
    context = browser.new_context()
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(url, wait_until="commit")
    page.wait_for_function(BUILT)
    waited = float(page.evaluate("performance.now()"))
    metrics = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    context.close()
    return 1000 * metrics["TaskDuration"], waited


def measure(browser: Any, gradio: str, folder: Path, *options: str) -> Cost:
    """Medians of all openings but the first, which fills the server's caches."""
    page = serve(gradio, folder / f"{gradio}{''.join(options)}.log", *options)
    try:
        costs = [opened(browser, page.url) for _ in range(TIMES + 1)][1:]
    finally:
        page.stop()
    return statistics.median(cost[0] for cost in costs), statistics.median(cost[1] for cost in costs)


def main() -> None:
    from playwright.sync_api import sync_playwright

    chromium = find_browser()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for gradio in GRADIOS:
            costs = {}
            for label, option in (("without", "--without"), ("with", "--closed")):
                work, waited = measure(browser, gradio, Path(folder), option)
                costs[label] = work
                print(f"{gradio} {label} AnyMS: {work:.0f} ms of work, {waited:.0f} ms waited", flush=True)
            print(f"{gradio}: AnyMS costs {costs['with'] - costs['without']:.0f} ms of work", flush=True)
        browser.close()


if __name__ == "__main__":
    main()

"""What the AnyMS panel costs the browser: `python -m tests.ui.load`.

Prints for each gradio, as medians: opening the page with and without the panel in both tabs (closed, as in the hosts),
its elements, a letter typed into the host's prompt, and the script of a frame while one of twelve boxes with pictures
is dragged. Times are of the page's thread, which a busy machine changes little; `waited` is a user's time.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.support.programs import find_browser
from tests.ui.editor import QUIET, Editor
from tests.ui.gradios import GRADIOS, Served, serve

TIMES = 5
FRAMES, LETTERS = 60, "a photo of a cat and a teapot on a wooden table"
SUBJECTS = 12
BUILT = """document.querySelector('#img2img_generate')
    && (!window.anyms || [...document.querySelectorAll('anyms-editor')].every((node) => node.editor))"""
COUNT = """(() => {
    const count = (root) => [...root.querySelectorAll('*')].reduce(
        (sum, node) => sum + 1 + (node.shadowRoot ? count(node.shadowRoot) : 0), 0);
    return count(document);
})()"""
FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Thread:
    """The time of a page's thread, in milliseconds."""

    def __init__(self, page: Any) -> None:
        self.devtools = page.context.new_cdp_session(page)
        self.devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent(self, metric: str) -> float:
        metrics = self.devtools.send("Performance.getMetrics")["metrics"]
        return 1000 * next(entry["value"] for entry in metrics if entry["name"] == metric)


def opened(browser: Any, url: str) -> tuple[float, float, int]:
    """Open the page once, until it and its editors are built -> (work, wait, elements)."""
    context = browser.new_context()
    page = context.new_page()
    thread = Thread(page)
    page.goto(url, wait_until="commit")
    page.wait_for_function(BUILT)
    cost = (thread.spent("TaskDuration"), float(page.evaluate("performance.now()")), int(page.evaluate(COUNT)))
    context.close()
    return cost


def opening(browser: Any, page: Served) -> tuple[float, float, int]:
    """Medians of all openings but the first, which fills the server's caches."""
    costs = [opened(browser, page.url) for _ in range(TIMES + 1)][1:]
    work, waited, elements = zip(*costs)
    return statistics.median(work), statistics.median(waited), elements[-1]


def typing(page: Any) -> float:
    """Milliseconds of work for a letter in the host's prompt."""
    thread, costs = Thread(page), []
    page.locator("#txt2img_prompt textarea").click()
    for letter in LETTERS:
        before = thread.spent("TaskDuration")
        page.keyboard.type(letter)
        page.evaluate(FRAME)
        costs.append(thread.spent("TaskDuration") - before)
    return statistics.median(costs)


def dragging(editor: Editor) -> float:
    """Milliseconds of script for a frame in which the box moves."""
    thread, costs = Thread(editor.page), []
    x, y = editor.middle(editor.box(1))
    editor.page.mouse.move(x, y)
    editor.page.mouse.down()
    for frame in range(FRAMES):
        before = thread.spent("ScriptDuration")
        editor.page.mouse.move(x + 2 * (frame % 30), y + frame % 20)
        editor.page.evaluate(FRAME)
        costs.append(thread.spent("ScriptDuration") - before)
    editor.page.mouse.up()
    return statistics.median(costs)


def filled(browser: Any, page: Served) -> Editor:
    """The panel with all subjects, each with a picture and a name."""
    editor = Editor(browser.new_context(viewport={"width": 1000, "height": 900}), page)
    editor.open()
    for slot in range(1, SUBJECTS + 1):
        if slot > editor.root.locator(".box").count():
            editor.press("Add subject")
        editor.give(slot, "orange")
        editor.name(slot, f"cat{slot}")
    return editor


def measure(browser: Any, gradio: str, folder: Path) -> None:
    """Print the rows of one gradio."""
    without = serve(gradio, folder / "without.log", "--without")
    closed = serve(gradio, folder / "closed.log", "--closed")
    shown = serve(gradio, folder / "shown.log")
    try:
        rows = [opening(browser, page) for page in (without, closed)]
        for label, (work, waited, _) in zip(("without", "with"), rows):
            print(f"{gradio} {label} AnyMS: opened in {work:.0f} ms of work, {waited:.0f} ms waited", flush=True)
        print(f"{gradio}: opening {rows[1][0] / rows[0][0]:.2f} times; {rows[1][2] - rows[0][2]} elements more")
        plain = browser.new_page()
        plain.goto(without.url)
        plain.wait_for_function(BUILT)
        editor = filled(browser, shown)
        letters = [typing(page) for page in (plain, editor.page)]
        print(f"{gradio}: a letter {letters[0]:.1f} ms without, {letters[1] / letters[0]:.2f} times with", flush=True)
        print(f"{gradio}: a frame of a drag with {SUBJECTS} pictures {dragging(editor):.1f} ms of script", flush=True)
    finally:
        for page in (without, closed, shown):
            page.stop()


def main() -> None:
    from playwright.sync_api import sync_playwright

    chromium = find_browser()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        for gradio in GRADIOS:
            measure(browser, gradio, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()

"""Make the pictures of docs/guide.md in a real A1111 with the small world.

Run `ANYMS_A1111_DIR=... python -m tests.hosts.guide`.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from lib_anyms.standalone import bundle, default_scene
from lib_anyms.standalone.demo import PRESETS, SPRITES
from lib_anyms.standalone.processes import CHECKOUT
from lib_anyms.standalone.random_sdxl import RandomFiles
from tests.hosts import server, tiny
from tests.hosts.drive import QUIET, SCREEN, HostEditor
from tests.hosts.studio import Studio
from tests.support.programs import find_browser

FOLDER = CHECKOUT / "docs" / "pictures"
HOST = "a1111"
SUBJECTS = ("fish", "house")  # of the demo
PROMPT = f"a fish and a house on {default_scene.BACKGROUND}"
SMALL_WORLD = PRESETS[SPRITES]  # the small world's settings
SAMPLING = {"steps": SMALL_WORLD.steps, "cfg_scale": SMALL_WORLD.guidance, "seed": default_scene.SEED}
STRENGTHS = {"scale": SMALL_WORLD.scale, "fade": SMALL_WORLD.fade}
WIDTH, COLOURS = 720, 96  # of a picture: readable, and a few tens of kilobytes
MARGIN = 4  # pixels around what is shown; the next part is 6 away


def reference(name: str) -> dict[str, Any]:
    """A picture of one subject, as a file to choose."""
    return {"name": f"{name}.png", "mimeType": "image/png", "buffer": default_scene.picture_file(name).read_bytes()}


class Guide:
    """The six steps on one page."""

    def __init__(self, editor: HostEditor) -> None:
        self.editor = editor

    def make(self) -> None:
        editor = self.editor
        mat, rows = editor.root.locator(".mat"), editor.root.locator(".subjects")
        gallery = editor.page.locator("#txt2img_gallery")
        self.show(1, [editor.root.locator(".bar").first, rows])
        for slot, name in enumerate(SUBJECTS, 1):
            editor.ours(f"slot{slot}_shown").locator("input[type=file]").first.set_input_files(reference(name))
            editor.box(slot).locator("img").wait_for()
        self.show(2, [mat, rows], [editor.ours("slots")])
        editor.type("txt2img_prompt", PROMPT)
        for slot, name in enumerate(SUBJECTS, 1):
            editor.name(slot, name)
        self.show(3, [editor.page.locator("#txt2img_prompt_row")], [editor.ours("slots")])
        editor.drag(editor.box(1), (0, -0.1))
        for slot, edge, by in ((1, "n", (0, 0.3)), (2, "s", (0, -0.3))):
            editor.box(slot).focus()
            editor.drag(editor.handle(edge), by)
        self.show(4, [mat, rows])
        for name, value in SAMPLING.items():
            editor.number(name, value)
        editor.open_fold("more")
        for name, value in STRENGTHS.items():
            editor.entry(name).fill(str(value))
            editor.entry(name).press("Tab")
        editor.open_fold("more", False)
        editor.make()
        self.settled(1)
        self.show(5, [gallery])
        editor.foot("Compare three ways").click()
        self.settled(4)
        self.show(6, [gallery])

    def settled(self, count: int) -> None:
        """Wait for `count` pictures and no live preview."""
        shown = "new Set([...document.querySelectorAll('#txt2img_gallery img')].map((image) => image.src)).size"
        done = f"{shown} >= {count} && !document.querySelector('#txt2img_gallery_container .livePreview')"
        self.editor.page.wait_for_function(done, timeout=300_000)

    def show(self, step: int, *groups: list[Any]) -> None:
        """Save a screenshot: each group of parts, one below the other."""
        self.editor.page.mouse.move(0, 0)
        pieces = [self.piece(parts) for parts in groups]
        seen = Image.new("RGB", (max(piece.width for piece in pieces), sum(piece.height for piece in pieces)), "white")
        top = 0
        for piece in pieces:
            seen.paste(piece, (0, top))
            top += piece.height
        seen.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
        path = FOLDER / f"guide-{step}.png"
        seen.quantize(COLOURS).save(path, optimize=True)
        print(
            f"{path.relative_to(CHECKOUT)}: {seen.width} x {seen.height}, {path.stat().st_size / 1000:.0f} kB",
            flush=True,
        )

    def piece(self, parts: list[Any]) -> Image.Image:
        areas = [part.first.bounding_box() for part in parts]
        scrolled = self.editor.page.evaluate("[scrollX, scrollY]")
        left, top = (min(area[side] for area in areas) - MARGIN for side in "xy")
        right = min(
            max(area["x"] + area["width"] for area in areas) + MARGIN, left + WIDTH
        )  # a prompt is a screen wide
        bottom = max(area["y"] + area["height"] for area in areas) + MARGIN
        clip = {"x": left + scrolled[0], "y": top + scrolled[1], "width": right - left, "height": bottom - top}
        return Image.open(io.BytesIO(self.editor.page.screenshot(full_page=True, clip=clip))).convert("RGB")


def main() -> None:
    place = server.find(HOST)
    if isinstance(place, str):
        raise SystemExit(f"The pictures are made in a real A1111: {place}.")
    from playwright.sync_api import sync_playwright

    chromium = find_browser()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = Path(folder, "data")
        data.mkdir()
        bundle.join_files(bundle.FILES / bundle.LIST, Path(folder))
        adapters = {kind: Path(folder, name) for kind, name in bundle.ADAPTERS.items()}
        sprites = RandomFiles(Path(folder, bundle.CHECKPOINT), Path(folder, bundle.ENCODER), adapters)
        tiny.install(place.name, data, "sprites", sprites)
        server.install_extension(data)
        host = server.HostServer(place, data)
        try:
            host.start()
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            editor = HostEditor(browser.new_context(viewport=SCREEN), Studio(host, sprites))
            editor.open()
            for side in ("width", "height"):
                editor.number(side, 256)
            Guide(editor).make()
            editor.close()
            browser.close()
        finally:
            host.stop()


if __name__ == "__main__":
    main()

"""Pictures of the documents: `python -m tests.readme_pictures` writes docs/pictures/.

`pair` runs the demo without and with AnyMS; `editor` records the region editor in a browser; `report` measures three
scenes of the small world with `evaluate --bench` and shows the report.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from lib_anyms.standalone import bundle, default_scene
from tests.support.programs import find_browser
from tests.ui.conftest import QUIET
from tests.ui.editor import Editor
from tests.ui.gradios import GRADIOS, serve

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
WITHOUT_AND_WITH = {  # label -> options of the demo
    "without AnyMS": ["--mode", "off"],
    "with AnyMS": ["--mode", "crop-merge"],
}
SIDE, GAP, LABEL = 300, 14, 32  # pixels
VIEWPORT = {"width": 640, "height": 2400}  # nothing scrolls
WIDTH, QUALITY = 560, 70  # of the moving picture
SHORT, LONG = 90, 900  # milliseconds a frame is shown
GROUNDS, REPORTED = ("grass", "snow", "sky"), "text-only,global-mean,crop-merge"
REPORT_VIEW = {"width": 900, "height": 2300}
MAX_BYTES = 2 * 10**6
PATIENCE = 120_000  # milliseconds
MOVES = 8  # frames of one drag
POINTER = """() => {
  const dot = document.createElement("div");
  dot.style.cssText = "position:fixed;z-index:9999;width:18px;height:18px;margin:-9px;border-radius:50%;"
    + "background:#0008;border:2px solid white;pointer-events:none;left:-50px";
  document.body.append(dot);
  const follow = (event) => { dot.style.left = `${event.clientX}px`; dot.style.top = `${event.clientY}px`; };
  document.addEventListener("pointermove", follow, true);
}"""


def demo_picture(options: list[str], folder: Path) -> Image.Image:
    """The demo's picture with these options, its boxes drawn on it."""
    command = [sys.executable, "-m", "lib_anyms", "demo", *options, "--out", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT)
    return Image.open(folder / "layout.png").convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def references() -> list[Image.Image]:
    return [group[0] for group in default_scene.pictures()]


def make_pair() -> Path:
    """with-without.png: references, then the same seed without and with AnyMS."""
    small = (SIDE - 2 * GAP) // 3
    canvas = Image.new("RGB", (small + GAP + len(WITHOUT_AND_WITH) * (SIDE + GAP), SIDE + LABEL), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(19)
    draw.text((0, 4), "references", "black", font)
    for number, picture in enumerate(references()):
        canvas.paste(picture.resize((small, small)), (0, LABEL + number * (small + GAP)))
    left = small + GAP
    with tempfile.TemporaryDirectory() as folder:
        for label, options in WITHOUT_AND_WITH.items():
            canvas.paste(demo_picture(options, Path(folder, label)), (left, LABEL))
            draw.text((left, 4), label, "black", font)
            left += SIDE + GAP
    path = PICTURES / "with-without.png"
    canvas.crop((0, 0, left - GAP, canvas.height)).save(path, optimize=True)
    return path


class Recorder:
    """Frames of the editor while it is used."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.frames: list[Image.Image] = []
        self.milliseconds: list[int] = []

    def frame(self, milliseconds: int = LONG) -> None:
        self.editor.page.evaluate("scrollTo(0, 0)")  # the browser scrolls to a slot whose file is chosen
        area = self.editor.root.bounding_box()
        strip = self.editor.root.locator(".strip").bounding_box()
        clip = {**area, "height": strip["y"] + strip["height"] - area["y"]}
        shot = Image.open(io.BytesIO(self.editor.page.screenshot(clip=clip))).convert("RGB")
        self.frames.append(shot)
        self.milliseconds.append(milliseconds)

    def drag(self, part: Any, by: tuple[float, float]) -> None:
        """Drag `part` by a fraction of the canvas, one frame a move."""
        mouse = self.editor.page.mouse
        x, y = self.editor.middle(part)
        dx, dy = self.editor.shift(by)
        mouse.move(x, y)
        mouse.down()
        for step in range(1, MOVES + 1):
            mouse.move(x + dx * step / MOVES, y + dy * step / MOVES)
            self.frame(SHORT)
        mouse.up()
        self.frame()

    def save(self, path: Path) -> None:
        """All frames on one size of canvas, as an animated WebP."""
        height = max(frame.height for frame in self.frames)
        shown = []
        for frame in self.frames:
            canvas = Image.new("RGB", (frame.width, height), "white")
            canvas.paste(frame, (0, 0))
            shown.append(canvas.resize((WIDTH, height * WIDTH // frame.width), Image.Resampling.LANCZOS))
        more = {"append_images": shown[1:], "duration": self.milliseconds, "loop": 0}
        shown[0].save(path, save_all=True, quality=QUALITY, method=6, minimize_size=True, **more)


def give_reference(editor: Editor, slot: int, name: str, picture: Image.Image) -> None:
    """Choose `picture` in a subject's slot and name the subject."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    file = {"name": f"{name}.png", "mimeType": "image/png", "buffer": data.getvalue()}
    editor.ours(f"slot{slot}_shown").locator("input[type=file]").first.set_input_files(file)
    editor.box(slot).locator("img").wait_for()
    editor.name(slot, name)


def use_editor(editor: Editor, recorder: Recorder) -> None:
    """Two references, drags, a third subject, a resize."""
    house, heart, fish = references()
    editor.type("txt2img_prompt", default_scene.PROMPT)
    editor.page.evaluate(POINTER)
    recorder.frame()
    give_reference(editor, 1, "house", house)
    recorder.frame()
    give_reference(editor, 2, "heart", heart)
    recorder.frame()
    for slot in (1, 2):
        editor.box(slot).focus()
        recorder.drag(editor.handle("s"), (0, -0.35))
    editor.root.locator(".bar button").first.click()  # adds a subject
    give_reference(editor, 3, "fish", fish)
    recorder.frame()
    recorder.drag(editor.box(3), (-0.08, 0.15))
    recorder.drag(editor.handle("e"), (0.15, 0))
    recorder.drag(editor.box(2), (-0.18, 0.12))
    recorder.frame(2 * LONG)


def add_models(models: Path) -> None:
    """The small world's files as the page's model folder: without them the editor shows a notice."""
    models.mkdir()
    bundle.join_files(bundle.FILES / bundle.LIST, models)
    (models / "ipadapter").mkdir()
    for file in models.glob("*.safetensors"):
        file.rename(models / "ipadapter" / file.name)


def record_editor() -> Path:
    """editor.webp: the region editor in use, on the small page of tests/ui."""
    from playwright.sync_api import sync_playwright

    chromium = find_browser()
    path = PICTURES / "editor.webp"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        add_models(Path(folder, "models"))
        served = serve(GRADIOS[-1], Path(folder, "page.log"))
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            editor = Editor(browser.new_context(viewport=VIEWPORT), served)
            editor.page.set_default_timeout(PATIENCE)
            editor.open()
            recorder = Recorder(editor)
            use_editor(editor, recorder)
            recorder.save(path)
            browser.close()
        finally:
            served.stop()
    return path


def write_scenes(folder: Path) -> None:
    """A folder of scenes for `evaluate --bench`: the demo's subjects on three grounds."""
    names = [name for name, *_ in default_scene.IDENTITIES]
    for name in names:
        shutil.copy(default_scene.picture_file(name), folder / f"{name}.png")
    boxes = ([0.03, 0.2, 0.33, 0.8], [0.35, 0.2, 0.65, 0.8], [0.67, 0.2, 0.97, 0.8])
    subjects = [{"name": name, "files": [f"{name}.png"], "box": box} for name, box in zip(names, boxes)]
    listed = ", ".join(f"a {name}" for name in names)
    scenes = []
    for ground in GROUNDS:
        words = {"name": ground, "prompt": f"{listed} on {ground}", "background": ground, "group": "three"}
        scenes.append({**words, "subjects": subjects})
    content = {"version": 1, "name": "three scenes", "seeds": [0], "scenes": scenes}
    (folder / "scenes.json").write_text(json.dumps(content), encoding="utf-8")


def show_report() -> Path:
    """real-weights-report.png: the first screens of a report."""
    from playwright.sync_api import sync_playwright

    path = PICTURES / "real-weights-report.png"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_scenes(Path(folder))
        out = Path(folder, "out")
        options = ["--bench", folder, "--detector", "small-world", "--modes", REPORTED, "--out", str(out)]
        subprocess.run([sys.executable, "-m", "lib_anyms", "evaluate", *options], check=True, cwd=ROOT)
        browser = playwright.chromium.launch(executable_path=find_browser(), args=QUIET)
        page = browser.new_page(viewport=REPORT_VIEW)
        page.goto((out / "report.html").as_uri())
        page.screenshot(path=str(path))
        browser.close()
    Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE).save(path, optimize=True)
    return path


MAKERS = {"pair": make_pair, "editor": record_editor, "report": show_report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*MAKERS, []], help="what to make; all if not given")
    which = parser.parse_args().which or list(MAKERS)
    for name in which:
        path = MAKERS[name]()
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB", flush=True)
        if path.stat().st_size > MAX_BYTES:
            raise SystemExit(f"{path.name} is larger than {MAX_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()

"""Drives the region editor as a user does, and reads what the page and the server then have."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tests.ui.gradios import Served

# Chromium without a sandbox, as in containers, and without traffic.
QUIET = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

WAIT = 60_000  # milliseconds; a loaded machine is slow
EDGES = ("x0", "y0", "x1", "y1")
EXTRA_OUTPUT, CARDS_MESSAGE = "asked", "cards_told"  # element ids
Box = tuple[float, float, float, float]


def picture(colour: str, size: tuple[int, int] = (90, 120)) -> bytes:
    """PNG of a disc."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((10, 10, size[0] - 10, size[1] - 10), fill=colour)
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


class Editor:
    """The panel in txt2img. Subclasses adapt it to the page of a real host."""

    def __init__(self, context: Any, served: Served, page: Any = None) -> None:
        """page: of an earlier test, see conftest.Screen; else a new one."""
        self.context = context
        self.gradio = served.gradio
        self.url = served.url
        self.folder = served.folder
        self.page = page or context.new_page()
        self.page.set_default_timeout(WAIT)
        self.root = self.page.locator("anyms-editor[tab=txt2img]")
        self.other = self.page.locator("anyms-editor[tab=img2img]")
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.scripted = False  # the page has a script for every address it opens, which cannot be removed
        self._listeners = {
            "pageerror": lambda error: self._note(error.message, error.stack or ""),
            "console": self._note_message,
            "request": lambda request: self.requests.append(request.url),
        }
        for event, listener in self._listeners.items():
            self.page.on(event, listener)

    def open(self, options: str = "") -> None:
        self.page.goto(self.url + options, wait_until="load")
        self.root.locator(".box").nth(1).wait_for()

    def speak(self, words: dict[str, str]) -> None:
        """Open the page with these translations, as a host's language file has them."""
        self.scripted = True
        self.page.add_init_script(f"window.getTranslation = (words) => ({json.dumps(words)})[words];")
        self.open()

    def close(self) -> None:
        self.context.close()
        assert not self.complaints

    def leave(self) -> None:
        """Make the page ready for another Editor: nothing stored, the mouse at rest, no listener of this one."""
        self.page.evaluate("sessionStorage.clear()")
        self.page.goto("about:blank")
        self.page.mouse.up()
        self.page.mouse.move(0, 0)
        session = self.context.new_cdp_session(self.page)
        session.send("Storage.clearDataForOrigin", {"origin": self.url.rstrip("/"), "storageTypes": "all"})
        session.detach()
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def _note_message(self, message: Any) -> None:
        if message.type == "error":
            self._note(message.text, message.location.get("url", ""))

    def _note(self, text: str, where: str) -> None:
        """Keep an error of AnyMS; gradio has errors too."""
        if "anyms" in text.lower() or "anyms" in where:
            self.complaints.append(f"{text} ({where})")

    # -- the editor's element -----------------------------------------------------------------------------------------

    def box(self, slot: int) -> Any:
        return self.root.locator(f".box[data-slot='{slot}']")

    def handle(self, edges: str) -> Any:
        return self.root.locator(f".canvas .handle[data-edges='{edges}']")

    def subject(self, slot: int) -> Any:
        """A subject in the list."""
        return self.root.locator(f".subject[data-slot='{slot}']")

    def press(self, name: str) -> None:
        """Press a button of the editor; opens the menu that holds it, and chooses the subject that it names."""
        button = self.root.locator(f"button[aria-label={json.dumps(name, ensure_ascii=False)}]")
        subject = re.search(r"subject (\d+)", name)
        if subject:
            self.choose(int(subject[1]))
        elif not button.is_visible():
            self.open_menu(button)
        button.click()

    def open_menu(self, part: Any) -> None:
        """Open the menu of the toolbar that holds `part`, unless it is open."""
        part.evaluate(
            "(node) => { const menu = node.closest('.menu');"
            " if (menu?.querySelector('.panel').hidden) menu.querySelector('.opens').click(); }"
        )

    def choose(self, slot: int) -> None:
        """Choose a subject in the film strip: the inspector then shows its fields."""
        if self.subject(slot).get_attribute("class").split().count("chosen") == 0:
            self.subject(slot).locator(".chip").click()
        self.ours(f"slot{slot}_name").wait_for()

    def unfold(self, slot: int) -> list[Any]:
        """The number fields of a subject's box: left, top, width, height."""
        self.choose(slot)
        inspector = self.ours(f"slot{slot}_inspect")
        if not inspector.locator(".numbers").is_visible():
            inspector.get_by_role("button", name="Position, timing, layers").click()
        return list(inspector.locator(".numbers input").all())

    def open_fold(self, name: str, is_open: bool = True) -> None:
        """Open or close one of the panel's folds, unless it is so already."""
        label = self.ours(name).locator(".label-wrap").first
        if ("open" in (label.get_attribute("class") or "").split()) != is_open:
            label.click()

    def foot(self, name: str) -> Any:
        """A button of the panel's last row."""
        return self.ours("foot").get_by_role("button", name=name, exact=True)

    def topmost_first(self) -> list[int]:
        """The slots in the list."""
        return [int(subject.get_attribute("data-slot")) for subject in self.root.locator(".subject").all()]

    def visibility(self, slot: int) -> str:
        return self.subject(slot).locator(".visibility").inner_text().strip()

    def status(self) -> str:
        """The last announcement to screen readers."""
        return self.root.locator("[role=status]").text_content()

    def focused(self) -> str:
        return self.page.evaluate(
            "(() => { const at = document.querySelector('anyms-editor').shadowRoot.activeElement;"
            " return at ? at.dataset.slot ?? at.getAttribute('aria-label') ?? at.textContent : ''; })()"
        )

    def hints(self, slot: int) -> list[str]:
        lines = self.root.locator(f"#hints{slot} li > span").all()
        return [line.text_content() for line in lines]

    # -- the page's fields --------------------------------------------------------------------------------------------

    def ours(self, name: str) -> Any:
        return self.page.locator(f"#script_txt2img_anyms_{name}")

    def entry(self, name: str) -> Any:
        return self.ours(name).locator("textarea, input:not([type=range])").first

    def fields(self, slot: int) -> Box:
        """The host's own number fields."""
        return tuple(float(self.entry(f"slot{slot}_{edge}").input_value()) for edge in EDGES)

    def until_fields(self, slot: int, box: Box) -> None:
        """Wait until the number fields have these values: changes by the server arrive later."""
        names = [f"script_txt2img_anyms_slot{slot}_{edge}" for edge in EDGES]
        self.until(
            f"{json.dumps(names)}.every((id, n) => +document.querySelector(`#${{id}} input`).value === {list(box)}[n])"
        )

    def until(self, condition: str) -> None:
        self.page.wait_for_function(condition)

    def inside(self, condition: str) -> None:
        """Wait for a condition about `root`, the editor's shadow root."""
        self.until(
            f"(() => {{ const root = document.querySelector('anyms-editor').shadowRoot; return {condition}; }})()"
        )

    def thumbs(self, slot: int) -> Any:
        """The pictures in the slot's card."""
        return self.ours(f"slot{slot}_shown").locator(".thumb")

    def name(self, slot: int, name: str) -> None:
        self.choose(slot)
        self.entry(f"slot{slot}_name").fill(name)
        self.inside(f"root.querySelector('.box[data-slot=\"{slot}\"] .name')?.textContent === {json.dumps(name)}")

    def give(self, slot: int, colour: str) -> None:
        """Add a picture by the slot's file dialog."""
        file = {"name": f"{colour}.png", "mimeType": "image/png", "buffer": picture(colour)}
        self.choose(slot)
        before = self.thumbs(slot).count()
        self.ours(f"slot{slot}_shown").locator("input[type=file]").set_input_files(file)
        self.thumbs(slot).nth(before).wait_for()
        self.box(slot).locator("img").wait_for()

    def field(self, name: str) -> Any:
        """A field of the host."""
        return self.page.locator(f"#{name}").locator("textarea, input").first

    def type(self, name: str, text: object) -> None:
        self.field(name).fill(str(text))
        self.field(name).press("Tab")

    def size(self, side: str, value: int) -> None:
        field = self.page.locator(f"#txt2img_{side} input[type=number]")
        field.fill(str(value))
        field.press("Tab")

    def sent(self) -> dict[str, Any] | str:
        """The request that Generate would send, or the message why there is none."""
        field = self.page.locator("#txt2img_sent textarea")
        field.fill("waiting")
        self.page.locator("#txt2img_generate").click()
        self.until("!['waiting', ''].includes(document.querySelector('#txt2img_sent textarea').value)")
        text = field.input_value()
        return json.loads(text) if text.startswith("{") else text

    def paste(self, text: str) -> None:
        field = self.page.locator("#txt2img_infotext textarea")
        field.fill(text)
        field.press("Tab")
        self.page.locator("#txt2img_paste").click()

    # -- mouse and finger ---------------------------------------------------------------------------------------------

    def middle(self, part: Any) -> tuple[float, float]:
        part.scroll_into_view_if_needed()
        area = part.bounding_box()
        return area["x"] + area["width"] / 2, area["y"] + area["height"] / 2

    def shift(self, by: tuple[float, float]) -> tuple[float, float]:
        """Fractions of the picture as pixels of the screen."""
        area = self.root.locator(".canvas").bounding_box()
        return by[0] * area["width"], by[1] * area["height"]

    def grab(self, part: Any, by: tuple[float, float]) -> None:
        """Press and move, without releasing."""
        x, y = self.middle(part)
        dx, dy = self.shift(by)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + dx / 2, y + dy / 2)
        self.page.mouse.move(x + dx, y + dy)

    def drag(self, part: Any, by: tuple[float, float]) -> None:
        self.grab(part, by)
        self.page.mouse.up()

    def touch(self) -> Any:
        """A function that sends `touchStart`, `touchMove`, `touchEnd`, `touchCancel` with points as [(x, y), ...]."""
        session = self.context.new_cdp_session(self.page)

        def send(kind: str, *points: tuple[float, float]) -> None:
            touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

        return send

    def keep(self, name: str) -> None:
        """Save a screenshot of the tab in the folder ANYMS_ARTIFACTS, if it is set."""
        folder = os.environ.get("ANYMS_ARTIFACTS")
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.page.locator("#tab_txt2img").screenshot(path=str(Path(folder, f"editor-{self.gradio}-{name}.png")))

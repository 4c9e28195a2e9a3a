"""Model files and subject cards on the hosts' pages: missing files are downloaded; cards need no encoder."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.models.known_files import FIRST_ADAPTER, HOME, KnownFile, known_file
from tests.hosts.drive import NAMES, Page, opened
from tests.hosts.neighbours import apart
from tests.hosts.studio import Studio, encoded, pixels_of, reference, renamed, two_subjects
from tests.support.file_server import FileServer, file_server
from tests.ui.editor import CARDS_MESSAGE

MIRROR = "anyms_mirror"  # our setting
ROUNDING = 2  # of 255: a card stores tokens in half precision
SUBJECTS = {"cat": [0.05, 0.15, 0.48, 0.95], "straw hat": [0.52, 0.15, 0.95, 0.95]}
FILES_MESSAGE = CARDS_MESSAGE.replace("cards", "files")  # an element id
SOON = 60  # seconds
ENCODER = known_file(FIRST_ADAPTER.encoder)


class Files(Page):
    """The page with its parts "model files" and "subject cards"."""

    def set_up(self) -> None:
        self.switch_on()
        self.set_subjects()
        self.set_scene()

    def unfold(self, part: str, shows: str) -> None:
        if not self.ours(shows).is_visible():
            self.ours(part).locator(".label-wrap").first.click()
        self.ours(shows).wait_for()

    def pick(self, list_: str, value: str) -> None:
        entry = self.ours(list_).locator("input").first
        entry.fill(value)
        entry.press("Enter")
        entry.press("Tab")

    def press(self, name: str) -> None:
        """Our button: gradio's element itself, or inside it."""
        self.tab.locator(f"button#script_txt2img_anyms_{name}, #script_txt2img_anyms_{name} button").first.click()

    def says(self, where: str, sentence: str) -> None:
        self.tab.locator(where).get_by_text(sentence).first.wait_for()

    def shows(self, part: str, sentence: str) -> None:
        self.says(f"#script_txt2img_anyms_{part}", sentence)

    def refused(self, sentence: str) -> None:
        self.tab.locator("#txt2img_generate").click()
        self.says("#html_log_txt2img", sentence)

    def generate_again(self) -> str:
        """Return the picture's file as base64; the gallery may still show an older one."""
        shown = self.tab.locator("#txt2img_gallery img").first
        before = shown.get_attribute("src") if shown.count() else ""
        self.tab.locator("#txt2img_generate").click()
        self.tab.wait_for_function(
            "before => { const shown = document.querySelector('#txt2img_gallery img');"
            " return shown && shown.src.startsWith('http') && shown.getAttribute('src') !== before; }",
            arg=before,
        )
        return self.generated()

    def generated(self) -> str:
        answer = self.tab.request.get(self.tab.locator("#txt2img_gallery img").first.get_attribute("src"))
        assert answer.ok
        return base64.b64encode(answer.body()).decode()

    def card(self, file: str, as_: str = "card") -> Any:
        return self.ours("cards_shown").locator(f"button[data-card='{file}'][data-as={as_}]")

    def put(self, file: str, slot: int, as_: str = "card") -> None:
        self.pick("cards_slot", str(slot))
        self.card(file, as_).click()
        self.shows(CARDS_MESSAGE, f"Subject {slot} is")
        self.tab.wait_for_timeout(500)  # gradio copies the slot's values


@pytest.fixture
def page(studio: Studio) -> Iterator[Files]:
    assert studio.baseline.pixels  # Forge loads its model with the first picture
    rest = studio.hooks()
    yield from opened(Files, studio)
    assert studio.hooks() == rest
    log = studio.host.tail(100_000)
    for colour in NAMES.values():
        assert encoded(reference(colour))[40:100] not in log, "a picture's content is in the log"


@contextlib.contextmanager
def fetched_from(
    studio: Studio, content: bytes, file: KnownFile = FIRST_ADAPTER, gives: Sequence[tuple[str, int]] = ()
) -> Iterator[FileServer]:
    """A mirror whose `file` has `content`, an encoder with the widths `gives`. Removes the download afterwards."""
    facts = {"name": file.name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "gives": gives}
    before = studio.host.post("/anyms-probe/known-file", facts).body
    try:
        with file_server(content) as server:
            studio.host.post("/sdapi/v1/options", {MIRROR: server.address})
            yield server
    finally:
        studio.host.post("/sdapi/v1/options", {MIRROR: HOME})  # Forge does not report a setting that never changed
        studio.host.post("/anyms-probe/known-file", before)
        for left in (studio.host.data / "models" / file.folder).glob(f"{file.name}*"):
            left.unlink()


def request(**subject: Any) -> dict[str, Any]:
    """The page's two subjects as an API request; `subject`: name -> fields instead of its pictures."""
    roles = {"straw hat": {"role": "attribute"}}
    subjects = [
        {
            "name": name,
            "box": box,
            **roles.get(name, {}),
            **subject.get(name, {"images": [encoded(reference(NAMES[name]))]}),
        }
        for name, box in SUBJECTS.items()
    ]
    return two_subjects(subjects=subjects, scale=0.6)


def sampling(studio: Studio, picture: str) -> dict[str, Any]:
    parameters = studio.parameters(picture)
    return {"sampler_name": parameters["Sampler"], "scheduler": parameters["Schedule type"]}


def test_a_missing_adapter_is_named_fetched_with_consent_and_used(page: Files, measured: list[str]) -> None:
    studio, name = page.studio, FIRST_ADAPTER.name
    content = studio.files.adapters["plus"].read_bytes()
    with fetched_from(studio, content) as server, renamed(*studio.files.adapters.values()):
        page.set_up()
        page.refused("no IP-Adapter for SDXL was found")
        page.says("#html_log_txt2img", f"Put {name}")
        assert server.ranges == []

        page.unfold("files", "files_download")
        busy(studio, name)
        assert server.ranges == []
        measured.append(f"{studio.host.place.name}, a download: {fetch(page, server, FIRST_ADAPTER)}")
        picture = page.generate_again()
        by_api = studio.paint({**request(), "adapter": name}, **sampling(studio, picture))
        assert pixels_of(picture) == by_api.pixels[0]
    assert (
        studio.paint({**request(), "adapter": studio.files.adapters["plus"].name}, **sampling(studio, picture)).pixels
        == by_api.pixels
    )


def fetch(page: Files, server: FileServer, file: KnownFile) -> Path:
    """Press the button for the chosen file and wait for the download -> a screenshot taken meanwhile."""
    server.behaviours = [f"slow {len(server.content) // 150}"]
    page.press("files_download")
    bar = "document.querySelector('#script_txt2img_anyms_files_progress progress')?.value"
    page.tab.wait_for_function(f"{bar} > 0 && {bar} < 100")
    seen = page.keep(f"download-{file.folder}")
    page.shows("files_progress", f"{file.name} is installed; its SHA-256 is right")
    log = page.studio.host.tail(400)
    assert f"AnyMS downloads {file.name} (" in log
    assert f"AnyMS downloads {file.name}: 50 %" in log
    assert (page.studio.host.data / "models" / file.folder / file.name).read_bytes() == server.content
    return seen


def test_where_nothing_is_there_the_button_fetches_the_adapter_and_then_its_encoder(page: Files) -> None:
    studio, plus = page.studio, page.studio.files.adapters["plus"]
    gives = [("plus", read_encoder(studio.files.encoder).width_for("plus"))]
    own = {"adapter": plus.name, "encoder": studio.files.encoder.name}
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(fetched_from(studio, studio.files.encoder.read_bytes(), ENCODER, gives))
        first = stack.enter_context(fetched_from(studio, plus.read_bytes()))
        with renamed(studio.files.encoder, *studio.files.adapters.values()):
            page.set_up()
            page.unfold("files", "files_download")
            fetch(page, first, FIRST_ADAPTER)
            page.shows(FILES_MESSAGE, f"Put {ENCODER.name}")
            page.refused("no image encoder with")
            studio.host.post("/sdapi/v1/options", {MIRROR: second.address})
            assert second.ranges == []
            fetch(page, second, ENCODER)  # the list has selected it by now
            page.shows(FILES_MESSAGE, "An adapter and its image encoder are installed.")
            picture = page.generate_again()
        assert studio.paint({**request(), **own}, **sampling(studio, picture)).pixels == [pixels_of(picture)]


def busy(studio: Studio, name: str) -> None:
    """No download starts while an image is generating."""
    job = threading.Thread(target=lambda: studio.ask(steps=150))
    job.start()
    deadline = time.monotonic() + SOON
    while not studio.host.get("/sdapi/v1/progress").body["state"]["job_count"] > 0:
        assert time.monotonic() < deadline
    answer = studio.host.post("/anyms/v1/downloads", {"name": name})
    studio.host.post("/sdapi/v1/interrupt", {})
    job.join()
    assert answer.status == 409
    assert "is not downloaded while an image is generating" in str(answer.body)


def test_cards_are_saved_found_and_used_without_an_encoder_and_with_another_adapter_say_so(
    page: Files, measured: list[str]
) -> None:
    studio = page.studio
    page.set_up()
    pictured = page.generate_again()
    page.unfold("cards", "cards_save")
    for slot, file in enumerate(("cat.safetensors", "straw-hat.safetensors"), 1):
        page.pick("cards_slot", str(slot))
        page.press("cards_save")
        page.shows(CARDS_MESSAGE, f"Saved as {file} in anyms-cards.")
    search = page.ours("cards_search").locator("textarea, input").first
    search.fill("hat")
    page.card("cat.safetensors").wait_for(state="detached")
    page.put("straw-hat.safetensors", 2)
    search.fill("")
    page.card("cat.safetensors").wait_for()
    page.put("cat.safetensors", 1)
    measured.append(f"{studio.host.place.name}, cards: {page.keep('cards')}")

    with renamed(studio.files.encoder):
        carded = page.generate_again()
        difference = apart(pixels_of(carded), pixels_of(pictured))
        measured.append(f"{studio.host.place.name}: the cards' picture is the pictures' own to {difference} of 255")
        assert difference <= ROUNDING
        assert studio.parameters(carded)["AnyMS"].count("card") == 2
        cards = {"cat": {"card": "cat"}, "straw hat": {"card": "straw-hat.safetensors"}}
        assert studio.paint(request(**cards), **sampling(studio, carded)).pixels == [pixels_of(carded)]
        answer = studio.ask(request())  # pictures still need it
        assert answer.status == 500
        assert "no image encoder" in answer.sentence

    other = studio.files.adapters["plus"].name
    page.pick("adapter", other)
    page.refused(f"has no tokens for the adapter {other}")
    page.says("#html_log_txt2img", "Use its pictures on the page")
    for slot, file in enumerate(("cat.safetensors", "straw-hat.safetensors"), 1):
        page.put(file, slot, "pictures")
    again = page.generate_again()
    assert studio.parameters(again)["AnyMS"].count("card") == 0
    assert pixels_of(again) != pixels_of(carded)

"""What users did on real hosts: opened the accordion only, copied files in, sent huge or unfinished requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.hosts.drive import Page, opened
from tests.hosts.studio import SCENE, Studio, encoded, renamed, two_subjects

MIB = 2**20


@pytest.mark.parametrize("request_sent", [{}, {"subjects": []}, {"enabled": True}])
def test_a_request_without_subjects_is_refused(studio: Studio, request_sent: dict[str, Any]) -> None:
    answer = studio.ask(request_sent)
    assert answer.status == 500
    assert "AnyMS: the request has 0 subjects (expected 1 to 12)" in answer.sentence


def test_a_version_in_quotes_has_a_true_sentence(studio: Studio) -> None:
    answer = studio.ask(two_subjects(version="1"))
    assert answer.status == 500
    assert "AnyMS: the request has version '1', this AnyMS reads version 1, a number" in answer.sentence


def test_nothing_more_is_read_of_a_request_that_is_not_enabled(studio: Studio) -> None:
    job = studio.paint({"enabled": False, "subjects": [{"box": [5, 5, 5, 5]}]})
    assert job.pixels == studio.baseline.pixels


def test_a_form_without_subjects_makes_the_host_s_picture(studio: Studio) -> None:
    """As the page sends it when only the accordion was opened."""
    scripts = {"AnyMS": {"args": ["", True]}}
    answer = studio.host.post("/sdapi/v1/txt2img", {**SCENE, "alwayson_scripts": scripts})
    assert answer.status == 200
    assert not {"AnyMS", "AnyMS skipped"} & studio.parameters(answer.body["images"][0]).keys()


def test_huge_pictures_leave_no_memory_behind(studio: Studio, measured: list[str]) -> None:
    """63 megapixels each, in files of 99 KB."""
    studio.paint(two_subjects())
    before = _resident(studio)
    images = [encoded(Image.new("RGB", (9000, 7000), (40 * number, 30, 40))) for number in range(4)]
    boxes = ([0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1])
    subjects = [
        {"name": f"subject {number}", "box": box, "images": [image]}
        for number, (box, image) in enumerate(zip(boxes, images))
    ]
    began = studio.host.cpu_seconds()
    studio.paint(two_subjects(subjects=subjects))
    first, after = studio.host.cpu_seconds() - began, _resident(studio)
    began = studio.host.cpu_seconds()
    studio.paint(two_subjects(subjects=subjects))
    again = studio.host.cpu_seconds() - began
    name = studio.host.place.name
    measured.append(
        f"{name}, four pictures of 63 MP: {first:.1f} s CPU, again {again:.1f} s, RSS {before} -> {after} MiB"
    )
    assert after - before < 300
    assert again < first / 2


@pytest.fixture
def page(studio: Studio) -> Iterator[Page]:
    yield from opened(Page, studio)


def test_an_opened_accordion_makes_the_host_s_picture_and_says_so(page: Page) -> None:
    page.switch_on()
    page.set_scene()
    parameters = page.studio.parameters(page.generate())
    assert not {"AnyMS", "AnyMS skipped"} & parameters.keys()
    page.tab.locator("#html_log_txt2img").get_by_text("AnyMS: no subject has a picture yet").first.wait_for()


def test_files_that_come_and_go_are_seen_on_the_page(studio: Studio) -> None:
    """Without Reload UI, which builds the page again."""
    files = [*studio.files.adapters.values()]
    with renamed(*files):
        for page in opened(Page, studio):
            _says(page, "No IP-Adapter for SDXL was found")
    for page in opened(Page, studio):
        _says(page, "An adapter and its image encoder are installed")
        with renamed(*files):
            page.tab.evaluate("document.querySelector('#script_txt2img_anyms_files_check').click()")
            _says(page, "No IP-Adapter for SDXL was found")


def _says(page: Page, sentence: str) -> None:
    page.tab.wait_for_function(
        "(text) => document.querySelector('#script_txt2img_anyms_files').textContent.includes(text)", arg=sentence
    )


def _resident(studio: Studio) -> int:
    """Resident memory of the host in MiB."""
    process = studio.host._process
    assert process is not None
    pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 // MIB

"""The host's page in a real browser: the mouse gives the same as the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.drive import Page, opened
from tests.hosts.studio import Studio, encoded, pixels_of, reference, two_subjects


@pytest.fixture
def page(studio: Studio) -> Iterator[Page]:
    yield from opened(Page, studio)


def test_the_page_makes_what_the_api_makes(page: Page, measured: list[str]) -> None:
    page.switch_on()
    page.set_subjects()
    page.set_scene()
    picture = page.generate()
    measured.append(f"{page.studio.host.place.name}, its page: {page.keep('page')}")

    parameters = page.studio.parameters(picture)
    subjects = [
        {"name": "cat", "images": [encoded(reference("orange"))], "box": [0.05, 0.15, 0.48, 0.95]},
        {
            "name": "straw hat",
            "role": "attribute",
            "images": [encoded(reference("navy"))],
            "box": [0.52, 0.15, 0.95, 0.95],
        },
    ]
    request = two_subjects(subjects=subjects, scale=0.6)
    by_api = page.studio.paint(request, sampler_name=parameters["Sampler"], scheduler=parameters["Schedule type"])
    assert parameters["AnyMS"] == page.studio.parameters(by_api.images[0])["AnyMS"]
    assert pixels_of(picture) == by_api.pixels[0]
    plain = page.studio.paint(sampler_name=parameters["Sampler"], scheduler=parameters["Schedule type"])
    assert by_api.pixels != plain.pixels


def test_a_bad_box_is_reported_on_the_page(page: Page) -> None:
    page.switch_on()
    page.set_subjects()
    page.set_scene()
    page.press("Bring subject 1 forward")
    page.press("Show the number fields")
    page.fill(page.ours("slot1_x0"), 1.2)
    page.fill(page.ours("slot1_x1"), 1.4)
    page.tab.locator("#txt2img_generate").click()
    sentence = "AnyMS: the box 1.2, 0.15, 1.4, 0.95 is completely outside the image"
    page.tab.locator("#html_log_txt2img").get_by_text(sentence).first.wait_for()
    assert sentence in page.studio.host.tail()
    page.keep("refused")
    assert page.tab.locator("#txt2img_gallery img").count() == 0

    page.fill(page.ours("slot1_x0"), 0.05)  # the page still works
    page.fill(page.ours("slot1_x1"), 0.48)
    assert "AnyMS" in page.studio.parameters(page.generate())


def test_stepping_aside_is_reported_on_the_page(page: Page, other_family: str) -> None:
    page.switch_on()
    page.set_subjects()
    page.set_scene()
    page.open_fold("more")
    adapter = page.ours("adapter").locator("input").first
    adapter.fill(other_family)
    adapter.press("Enter")
    assert "AnyMS skipped" in page.studio.parameters(page.generate())
    page.tab.locator("#html_log_txt2img").get_by_text("so the image was made without AnyMS").first.wait_for()
    page.keep("skipped")

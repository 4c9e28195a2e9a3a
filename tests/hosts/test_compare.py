"""On the host's page: one click compares three modes, one shows where each subject acts. Nothing stays behind."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.hosts.drive import NAMES, Page, opened
from tests.hosts.studio import SCENE, Studio, encoded, pixels_of, reference, two_subjects
from tests.ui.editor import EXTRA_OUTPUT

MODES = ("off", "masked-sum", "crop-merge")
AMBER, SKY = (240, 168, 48), (108, 188, 240)  # the first two subjects' frames on the sheet
SIZE = (SCENE["width"], SCENE["height"])


class Comparing(Page):
    """The page with two subjects whose boxes overlap."""

    @property
    def editor(self) -> Any:
        return self.tab.locator("anyms-editor[tab=txt2img]")

    def set_up(self) -> None:
        self.switch_on()
        for number, (name, colour) in enumerate(NAMES.items(), 1):
            picture = {
                "name": f"{colour}.png",
                "mimeType": "image/png",
                "buffer": base64.b64decode(encoded(reference(colour))),
            }
            self.ours(f"slot{number}_shown").locator("input[type=file]").first.set_input_files(picture)
            self.editor.locator(f".box[data-slot='{number}'] img").wait_for()
            self.fill(self.ours(f"slot{number}_name"), name)
        self.set_scene()
        self.editor.locator(".chip[data-slot='1']").click()
        inspector = self.ours("slot1_inspect")
        inspector.get_by_role("button", name="Position, timing, layers").click()
        width = inspector.get_by_label("width of subject 1, %", exact=True)
        width.fill("70")
        width.press("Enter")

    def pictures_of(self, button: str, count: int) -> list[str]:
        """Press a button of the editor and wait for `count` pictures in the gallery -> their files as base64."""
        self.ours("foot").get_by_role("button", name=button).click()
        every = "[...document.querySelectorAll('#txt2img_gallery img')].map((image) => image.src)"
        shown = f"[...new Set({every}.filter((address) => address.startsWith('http')))]"  # without live previews
        self.tab.wait_for_function(f"{shown}.length >= {count}", timeout=300_000)
        addresses = self.tab.evaluate(shown)
        answers = [self.tab.request.get(address) for address in addresses]
        assert all(answer.ok for answer in answers)
        return [base64.b64encode(answer.body()).decode() for answer in answers]


@pytest.fixture
def page(studio: Studio) -> Iterator[Comparing]:
    with studio.options(grid_format="png"):  # JPEG would change the sheet's colours
        yield from opened(Comparing, studio)


def opened_picture(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def test_one_click_makes_the_three_modes_of_one_seed_with_boxes_drawn(page: Comparing, measured: list[str]) -> None:
    studio = page.studio
    assert studio.baseline.pixels  # Forge loads its model with the first picture
    at_rest = studio.hooks()
    page.set_up()
    pictures = page.pictures_of("Compare three ways", 4)
    measured.append(f"{studio.host.place.name}, a comparison: {page.keep('compare')}")
    clean = {pixels_of(picture) for picture in pictures if opened_picture(picture).size == SIZE}
    parameters = next(parameters for parameters in map(studio.parameters, pictures) if "AnyMS" in parameters)
    subjects = [
        {"name": "cat", "images": [encoded(reference("orange"))], "box": [0.05, 0.15, 0.75, 0.95]},
        {
            "name": "straw hat",
            "role": "attribute",
            "images": [encoded(reference("navy"))],
            "box": [0.52, 0.15, 0.95, 0.95],
        },
    ]
    request = two_subjects(subjects=subjects, scale=0.6)
    sampling = {"sampler_name": parameters["Sampler"], "scheduler": parameters["Schedule type"]}
    expected = [studio.paint({**request, "mode": mode}, **sampling).pixels[0] for mode in MODES]
    assert len(set(expected)) == 3
    assert clean == set(expected)

    (sheet,) = [picture for picture in map(opened_picture, pictures) if picture.size != SIZE]
    assert sheet.width > 3 * SIZE[0]
    columns = [sheet.crop((n * sheet.width // 3, 0, (n + 1) * sheet.width // 3, sheet.height)) for n in range(3)]
    for column in columns:
        colours = [colour for _, colour in column.getcolors(1 << 20)]
        assert AMBER in colours
        assert SKY in colours

    assert studio.hooks() == at_rest
    assert page.ours(EXTRA_OUTPUT).locator("textarea, input").first.input_value() == ""
    page.tab.reload()
    assert studio.paint({**request, "mode": "crop-merge"}, **sampling).pixels[0] == expected[2]


def test_another_click_shows_where_each_subject_acts(page: Comparing, measured: list[str]) -> None:
    page.set_up()
    pictures = page.pictures_of("Influence maps", 3)
    measured.append(f"{page.studio.host.place.name}, maps: {page.keep('maps')}")
    maps = [picture for picture in map(opened_picture, pictures) if picture.size != SIZE]
    assert len(maps) == 2
    hottest = [_hottest(picture) for picture in maps]
    assert hottest[0] < 0.52 < hottest[1] or hottest[1] < 0.52 < hottest[0]  # each in its own visible part


def _hottest(picture: Image.Image) -> float:
    """The horizontal range of the map's warm colours, in fractions of its width."""
    gap = (picture.width - SIZE[0]) // 2
    shown = picture.crop((gap, picture.height - SIZE[1] - gap, gap + SIZE[0], picture.height - gap))
    warm = [(x, red - blue) for x in range(SIZE[0]) for red, _, blue in [shown.resize((SIZE[0], 1)).getpixel((x, 0))]]
    least = min(value for _, value in warm)
    return sum(x * (value - least) ** 2 for x, value in warm) / sum((value - least) ** 2 for _, value in warm) / SIZE[0]

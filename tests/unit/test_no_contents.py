"""A user's pictures stay private: no sentence and no line of the log has their content."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_anyms.cards.library import Library
from lib_anyms.errors import LONGEST, AnyMSError, Refused
from lib_anyms.job.card_making import save_to_library
from lib_anyms.job.request import Request
from lib_anyms.layout.layout import Layout
from lib_anyms.webui.picture_cache import PictureStore
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.fake_webui import fake_webui
from tests.support.tiny_unet import tiny_unet


def content() -> str:
    """A picture as the page sends it: about ten thousand letters that occur nowhere else."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


CONTENT = content()
DAMAGED = CONTENT[:4000] + CONTENT[4400:]
BOX = [0, 0, 1, 1]


def subject(**data: Any) -> dict[str, Any]:
    return {"subjects": [{"name": "cat", "images": [CONTENT], "box": BOX, **data}]}


# Fields that may hold a picture by mistake, or on purpose.
MISPLACED: dict[str, Any] = {
    "the request": CONTENT,
    "its version": {"version": CONTENT, **subject()},
    "its mode": {"mode": CONTENT, **subject()},
    "its adapter": {"adapter": CONTENT, **subject()},
    "a field's name": {CONTENT: 1, **subject()},
    "the subjects": {"subjects": CONTENT},
    "a subject's name": subject(name=CONTENT),
    "a subject's role": subject(role=CONTENT),
    "a subject's field": subject(**{CONTENT: 1}),
    "a box": subject(box=CONTENT),
    "a weight": subject(weight=CONTENT),
    "a card": subject(images=[], card=CONTENT),
    "a card beside pictures": subject(card=CONTENT[:200]),
    "a damaged picture": subject(images=[DAMAGED]),
    "no base64": subject(images=["?" + CONTENT]),
    "a list": subject(images=[[CONTENT]]),
    "an object's field": subject(images=[{"data": CONTENT, CONTENT: 1}]),
    "an object's name": subject(images=[{CONTENT: 1}]),
    "a mask": subject(images=[{"data": CONTENT, "mask": DAMAGED}]),
    "a mask in a list": subject(images=[{"data": CONTENT, "mask": [CONTENT]}]),
    "a crop": subject(images=[{"data": CONTENT, "crop": CONTENT}]),
}


def leaks(text: str) -> bool:
    """Whether `text` has more of the picture than a sentence quotes."""
    return any(CONTENT[at : at + 300] in text for at in range(0, len(CONTENT) - 300, 50)) or len(text) > 4 * LONGEST


@pytest.mark.parametrize("where", MISPLACED)
def test_a_picture_in_the_wrong_place_is_refused_and_not_quoted(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AnyMSError) as refusal:
        Request.from_json(MISPLACED[where], Library(tmp_path))
    assert not leaks(str(refusal.value))
    assert not leaks(caplog.text)


def test_the_check_recognises_a_picture() -> None:
    assert leaks(f"got {CONTENT}")
    assert not leaks(f"got {CONTENT[:200]}")
    assert str(Refused("request_version", got=[CONTENT], expected=1)).count(CONTENT[:100]) == 1


def test_so_is_a_picture_in_a_layout() -> None:
    for data in (
        {"version": CONTENT, "subjects": []},
        {"version": 1, "subjects": [{"box": BOX, "name": "x", CONTENT: 1}]},
    ):
        with pytest.raises(Refused) as refusal:
            Layout.from_json(data)
        assert not leaks(str(refusal.value))


def test_a_slot_s_pictures_arrive_as_text_that_is_not_printed(tmp_path: Path) -> None:
    """A1111 prints the arguments of a refused job."""
    with fake_webui(tmp_path) as webui:
        panel, gradio = webui("lib_anyms.webui.ui.panel"), webui("gradio")
        gradio.COMPONENTS.clear()
        built = panel.build(lambda name: name)
        slots = [slot for slot in built.components if str(slot.label).startswith("pictures ")]
        assert len(slots) == 12
        text = json.dumps([CONTENT])
        for slot in slots:
            arrived = slot.preprocess(text)
            assert arrived == text
            assert isinstance(arrived, str)
            assert json.loads(arrived) == [CONTENT]
            assert not leaks(f"Arguments: {(1, arrived)} {{}}")


def test_no_pixels_are_logged_when_a_picture_is_encoded_cached_and_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    unet = tiny_unet()
    write_adapter(tmp_path / "adapter.safetensors", unet)
    write_encoder(tmp_path / "encoder.safetensors")
    library = Library(tmp_path / "cards")
    assert save_to_library(subject(), library, [tmp_path], unet) == "cat.safetensors"
    request = Request.from_json(subject(), library)
    PictureStore(tmp_path / "kept", 2**20).keep(request.pictures[0][0])
    output = caplog.text + "".join(capfd.readouterr()) + json.dumps(request.to_json()) + repr(library.find("cat"))
    assert not leaks(output)
    assert repr(request.pictures[0][0].tobytes()[:40])[2:-1] not in output

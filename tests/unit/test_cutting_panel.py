"""The server's help for the crop dialog: a mask of the subject, and the list "fit"."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.support.fake_webui import fake_webui
from tests.support.stand_ins import rembg_installed

SIZE = (10, 6)


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The two fields, with a rembg that finds the subject in the left half."""
    (tmp_path / "u2net.onnx").touch()
    with rembg_installed(monkeypatch, tmp_path), fake_webui(tmp_path) as webui:
        cutting, gradio = webui("lib_anyms.webui.ui.cutting"), webui("gradio")
        gradio.COMPONENTS.clear()
        fit = gradio.Dropdown(["pad", "crop"], value="pad", label="fit")
        result = cutting.element(lambda name: name, {"fit": fit})
        put = next(component for component in gradio.COMPONENTS if component.label == cutting.PUT)
        yield SimpleNamespace(put=put, result=result, fit=fit, models=tmp_path)


def answered(part: SimpleNamespace, question: Any) -> list[Any]:
    """The new values of the answer and of the list after a question; None: unchanged."""
    answer, inputs, outputs = part.put.events["change"]
    assert (inputs, outputs) == ([part.put], [part.result, part.fit])
    return [update.get("value") if isinstance(update, dict) else update for update in answer(question)]


def picture() -> str:
    data = io.BytesIO()
    Image.new("RGB", SIZE, "red").save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def test_a_mask_comes_back_with_the_count_of_its_question(part: SimpleNamespace) -> None:
    result, fit = answered(part, json.dumps({"picture": picture(), "count": 7}))
    answer = json.loads(result)
    assert answer.keys() == {"count", "mask"}
    assert answer["count"] == 7
    mask = Image.open(io.BytesIO(base64.b64decode(answer["mask"].partition(",")[2])))
    assert (mask.mode, mask.size, mask.getpixel((1, 3)), mask.getpixel((8, 3))) == ("L", SIZE, 255, 0)
    assert fit is None


def test_a_failure_is_one_sentence(part: SimpleNamespace) -> None:
    for source, sentence in (
        (picture()[:-30], "cannot be read"),
        ("http://127.0.0.1/a.png", "not base64"),
        ("/etc/passwd", "not base64"),
    ):
        answer = json.loads(answered(part, json.dumps({"picture": source, "count": 1}))[0])
        assert answer["count"] == 1
        assert sentence in answer["problem"]
    (part.models / "u2net.onnx").unlink()
    assert "has none of its models" in answered(part, json.dumps({"picture": picture(), "count": 2}))[0]


def test_the_list_takes_a_fit_and_nothing_else(part: SimpleNamespace) -> None:
    assert answered(part, '{"fit": "crop", "count": 1}') == [None, "crop"]
    for question in (
        "",
        "no JSON",
        "[]",
        "{}",
        "null",
        '{"fit": "crop"}',
        '{"fit": "x", "count": 1}',
        '{"picture": [1], "count": 1}',
        '{"count": []}',
    ):
        assert answered(part, question) == [None, None]

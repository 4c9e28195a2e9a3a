"""Reference images of every kind become CLIP's input; damaged files and bombs give one sentence."""

from __future__ import annotations

import base64
import io
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from transformers import CLIPImageProcessor

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter import cutting
from lib_anyms.ip_adapter.cutting import background_mask, cropped, masked, without_background
from lib_anyms.ip_adapter.references import ANIMATED, as_rgb, pixel_values, read_mask, read_picture
from lib_anyms.job.prepare import picture_notes
from lib_anyms.job.request import Request, picture_hash
from lib_anyms.job.schema import request_schema
from lib_anyms.layout.geometry import Box
from tests.support.stand_ins import rembg_installed

WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def file(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def cause(data: bytes) -> str:
    with pytest.raises(Refused) as refusal:
        read_picture(data, "fox")
    assert "\n" not in str(refusal.value)
    return refusal.value.cause


# -- CLIP's input -----------------------------------------------------------------------------------------------------


def processed(picture: Image.Image, **options: Any) -> torch.Tensor:
    values = CLIPImageProcessor(**options)(images=picture, return_tensors="np")["pixel_values"]
    return torch.as_tensor(np.asarray(values))


@pytest.mark.parametrize("size", [(224, 224), (417, 300), (300, 417), (100, 60), (1024, 1023), (225, 224), (640, 161)])
def test_crop_equals_transformers_own_preprocessing(size: tuple[int, int]) -> None:
    picture = noise(*size)
    assert (pixel_values([picture], 224, "crop") - processed(picture)).abs().max() <= 1e-5


@pytest.mark.parametrize("size", [(512, 512), (90, 90), (417, 300), (30, 400)])
def test_stretch_and_pad_equal_it_on_the_square(size: tuple[int, int]) -> None:
    picture = noise(*size)
    # The picture is resized here, because the transformers of A1111 accepts no height and width.
    stretched = processed(picture.resize((224, 224), Image.Resampling.BICUBIC))
    assert (pixel_values([picture], 224, "stretch") - stretched).abs().max() <= 1e-5
    padded = pixel_values([picture], 224, "pad")
    if size[0] == size[1]:
        assert (padded - processed(picture)).abs().max() <= 1e-5
        return
    factor = 224 / max(size)
    inner = (round(size[0] * factor), round(size[1] * factor))
    square = Image.new("RGB", (224, 224), WHITE)
    corner = (round((224 - inner[0]) / 2), round((224 - inner[1]) / 2))
    square.paste(picture.resize(inner, Image.Resampling.BICUBIC), corner)
    assert (padded - processed(square)).abs().max() <= 1e-5


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (1, 1), (3, 2000)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_line_of_pixels_is_accepted(size: tuple[int, int], fit: str) -> None:
    values = pixel_values([Image.new("RGB", size, RED)], 224, fit)
    assert values.shape == (1, 3, 224, 224)
    assert (values[0, 2, 110:114, 110:114] < 0).any()  # red contains no blue


# -- files -------------------------------------------------------------------------------------------------------------


def test_every_way_to_store_red_is_red() -> None:
    red = Image.new("RGB", (8, 6), RED)
    files = {
        "jpeg": file(red, "JPEG", quality=100),
        "cmyk jpeg": file(red.convert("CMYK"), "JPEG", quality=100),
        "cmyk tiff": file(red.convert("CMYK"), "TIFF"),
        "palette": file(red.convert("P")),
        "gif": file(red, "GIF"),
        "webp": file(red, "WEBP", lossless=True),
        "transparency": file(Image.new("RGBA", (8, 6), (255, 0, 0, 255))),
        "lab": file(red, "BMP"),
    }
    for kind, data in files.items():
        read = read_picture(data, kind)
        assert (read.mode, read.size) == ("RGB", (8, 6)), kind
        assert np.abs(np.asarray(read).astype(int) - RED).max() <= 4, kind


def test_every_way_to_store_middle_grey_is_grey() -> None:
    shape = (6, 8)
    pictures = {
        "16 bit png": file(Image.fromarray(np.full(shape, 0x8000, np.uint16))),
        "16 bit tiff": file(Image.fromarray(np.full(shape, 0x8000, np.uint16)), "TIFF"),
        "32 bit tiff": file(Image.fromarray(np.full(shape, 0x8000, np.int32)), "TIFF"),
        "float of 1": file(Image.fromarray(np.full(shape, 0.5, np.float32)), "TIFF"),
        "float of 255": file(Image.fromarray(np.full(shape, 128, np.float32)), "TIFF"),
        "grey and alpha": file(Image.new("LA", (8, 6), (128, 255))),
    }
    for kind, data in pictures.items():
        assert np.abs(np.asarray(read_picture(data, kind)).astype(int) - 128).max() <= 1, kind
    bits = Image.new("1", (8, 6), 1)
    assert read_picture(file(bits), "bits").getpixel((0, 0)) == WHITE
    nowhere = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    assert read_picture(file(Image.fromarray(nowhere), "TIFF"), "nan").getpixel((0, 0)) == (0, 0, 0)


def test_transparency_is_on_white_in_every_mode() -> None:
    hidden = Image.new("RGBA", (8, 6), (255, 0, 0, 0))
    palette = Image.new("P", (8, 6), 1)
    palette.putpalette([0, 0, 0, *RED])
    for data in (
        file(hidden),
        file(hidden, "WEBP", lossless=True),
        file(palette, transparency=1),
        file(hidden.convert("LA")),
    ):
        assert read_picture(data, "x").getpixel((3, 3)) == WHITE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(orientation: int) -> None:
    upright = Image.new("RGB", (8, 4), WHITE)
    upright.paste(RED, (0, 0, 4, 2))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that the tag undoes
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_picture(file(stored, "PNG", exif=exif.tobytes()), "x")
    assert np.array_equal(np.asarray(read), np.asarray(upright))


def test_the_first_frame_of_an_animation_is_used_and_reported() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in (RED, BLUE)]
    moving = [file(frames[0], form, save_all=True, append_images=frames[1:]) for form in ("GIF", "WEBP", "PNG")]
    for data in moving:
        read = read_picture(data, "x")
        assert np.abs(np.asarray(read).astype(int) - RED).max() <= 4
        assert read.info[ANIMATED]
    assert ANIMATED not in read_picture(file(frames[0], "GIF"), "x").info
    images = [base64.b64encode(data).decode() for data in (moving[0], file(frames[1]))]
    request = Request.from_json(
        {"subjects": [{"name": name, "box": [0, 0, 1, 1], "images": [each]} for name, each in zip("ab", images)]}
    )
    assert [str(note) for note in picture_notes(request)] == [
        "AnyMS: a reference picture of subject 'a' is animated. AnyMS uses its first frame only."
    ]


# -- other and damaged files -------------------------------------------------------------------------------------------


def png_of(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_bombs_are_refused_by_their_header() -> None:
    assert cause(png_of(100_000, 100_000)) == "picture_too_large"
    assert cause(png_of(8001, 8000)) == "picture_too_large"
    assert cause(png_of(2**31 - 1, 2**31 - 1)) in ("picture_too_large", "picture_unreadable")
    assert cause(png_of(8, 8, zlib.compress(bytes(10)))) == "picture_unreadable"
    with pytest.raises(Refused) as refusal:
        read_mask(png_of(100_000, 100_000), "fox")
    assert refusal.value.cause == "picture_too_large"
    text = zlib.compress(bytes(2**27))  # of a text chunk: 128 MiB
    bomb = file(Image.new("RGB", (4, 4)))
    chunk = b"zTXt" + b"a\0\0" + text
    bomb = bomb[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bomb[33:]
    assert read_picture(bomb, "fox").size == (4, 4)  # the text is left out, not unpacked


SOUND = tuple(file(noise(12, 9), form) for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"))


@pytest.mark.filterwarnings("ignore")  # Pillow's own
@settings(max_examples=300)
@given(
    data=st.sampled_from(SOUND),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), min_size=1, max_size=5),
)
def test_a_damaged_file_gives_a_picture_or_one_sentence(data: bytes, changes: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(data)
    for offset, run in changes:
        damaged[offset % len(data) : offset % len(data) + len(run)] = run
    cause = ""
    try:
        assert read_picture(bytes(damaged), "fox").mode == "RGB"
    except Refused as refusal:
        cause = refusal.cause
    assert cause in ("", "picture_unreadable", "picture_too_large", "picture_line")


# -- crops and masks ---------------------------------------------------------------------------------------------------


def test_a_crop_is_exact_and_never_empty() -> None:
    picture = noise(10, 20)
    part = cropped(picture, Box(0.5, 0.25, 1, 0.5))
    assert np.array_equal(np.asarray(part), np.asarray(picture)[5:10, 5:10])
    assert cropped(picture, Box(0, 0, 1, 1)).size == (10, 20)
    assert cropped(picture, Box(0.99, 0.999, 1, 1)).size == (1, 1)


@pytest.mark.parametrize("mode", ["L", "RGBA", "1", "P"])
def test_a_mask_leaves_the_subject_on_white(mode: str) -> None:
    grey = Image.new("L", (20, 20), 0)
    ImageDraw.Draw(grey).rectangle((0, 0, 9, 19), fill=255)
    mask = grey.convert(mode)
    if mode == "RGBA":
        white = Image.new("L", (20, 20), 255)
        mask = Image.merge("RGBA", (white, white, white, grey))
    result = masked(Image.new("RGB", (10, 10), RED), read_mask(file(mask), "x"))
    assert (result.getpixel((1, 5)), result.getpixel((8, 5))) == (RED, WHITE)


def encoded(picture: Image.Image) -> str:
    return base64.b64encode(file(picture)).decode()


def request(image: Any) -> Request:
    return Request.from_json({"subjects": [{"name": "fox", "box": [0, 0, 1, 1], "images": [image]}]})


def test_a_request_may_crop_and_mask_a_picture() -> None:
    picture, mask = noise(10, 20), Image.new("L", (10, 20), 255)
    mask.paste(0, (0, 0, 10, 10))
    whole = request(encoded(picture))
    assert request({"data": encoded(picture)}).pictures == whole.pictures
    cut = request({"data": encoded(picture), "crop": [0, 0, 1, 0.5]}).pictures[0][0]
    assert cut == picture.crop((0, 0, 10, 10))
    both = request({"data": encoded(picture), "mask": encoded(mask), "crop": [0, 0.25, 1, 0.75]})
    assert both.pictures[0][0] == as_rgb(masked(picture, mask)).crop((0, 5, 10, 15))
    assert both.to_json()["subjects"][0]["pictures"] == [picture_hash(both.pictures[0][0])]
    shown = request_schema()["properties"]["subjects"]["items"]["properties"]["images"]["items"]["anyOf"][1]
    assert set(shown["properties"]) == {"data", "mask", "crop"}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"crop": [0, 0, 1, 1]}, "picture_form"),
        ({"data": 5}, "picture_form"),
        ({"data": "AAAA", "path": "/etc/passwd"}, "field_unknown"),
        ({"data": encoded(noise(4, 4)), "mask": "file:///etc/passwd"}, "picture_unreadable"),
        ({"data": encoded(noise(4, 4)), "mask": ["x"]}, "picture_form"),
        ({"data": encoded(noise(4, 4)), "crop": [0, 0, 0, 1]}, "box_empty"),
        ({"data": encoded(noise(4, 4)), "crop": "all"}, "box_form"),
    ],
)
def test_bad_pictures_of_a_request_are_refused_by_cause(image: Any, expected: str) -> None:
    with pytest.raises(Refused) as refusal:
        request(image)
    assert refusal.value.cause == expected


# -- the background ----------------------------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the stand-in for rembg, which finds the subject in the left half; returns its empty model folder."""
    with rembg_installed(monkeypatch, tmp_path):
        yield tmp_path


def test_rembg_removes_a_background_once_it_has_a_model(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (10, 10), RED)
    with pytest.raises(Refused) as refusal:
        without_background(picture)
    assert refusal.value.cause == "rembg_model"
    assert str(models) in str(refusal.value)
    assert cutting.background_model() is None
    assert "rembg" not in sys.modules
    (models / "u2net.onnx").touch()
    assert cutting.background_model() == "u2net"
    alone = without_background(picture)
    assert (alone.getpixel((1, 5)), alone.getpixel((8, 5))) == (RED, WHITE)
    monkeypatch.setattr(sys.modules["rembg"], "remove", lambda *_, **__: 1 / 0)
    with pytest.raises(Refused, match="ZeroDivisionError"):
        without_background(picture)


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("U2NET_HOME", "u2net.onnx"),
        ("U2NET_HOME", "models/u2net/u2net.onnx"),
        ("REMBG_HOME", "models/u2net/u2net.onnx"),
        ("XDG_DATA_HOME", "rembg/models/u2net/u2net.onnx"),
        ("XDG_DATA_HOME", ".u2net/u2net.onnx"),
        ("HOME", ".rembg/models/u2net/u2net.onnx"),
        ("HOME", ".u2net/u2net.onnx"),
    ],
)
def test_rembg_s_models_are_found_where_each_version_keeps_them(
    models: Path, monkeypatch: pytest.MonkeyPatch, variable: str, place: str
) -> None:
    for name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(models / "empty"))
    monkeypatch.setenv(variable, str(models))
    if variable == "HOME":
        monkeypatch.setenv("USERPROFILE", str(models))
    file = models / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert background_mask(Image.new("RGB", (10, 10))).getpixel((1, 5)) == 255


def test_a_model_that_this_rembg_does_not_know_is_ignored(models: Path) -> None:
    (models / "bria-rmbg.onnx").touch()
    with pytest.raises(Refused) as refusal:
        background_mask(Image.new("RGB", (10, 10)))
    assert refusal.value.cause == "rembg_model"
    (models / "u2netp.onnx").touch()
    assert background_mask(Image.new("RGB", (10, 10))).mode == "L"


def test_rembg_without_its_runtime_gives_one_sentence(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rembg alone would end the process."""
    (models / "u2net.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Refused, match="onnxruntime") as refusal:
        background_mask(Image.new("RGB", (10, 10)))
    assert refusal.value.cause == "rembg_failed"
    assert "rembg" not in sys.modules


def test_without_rembg_the_refusal_says_so_and_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "find_spec", lambda _: None)
    assert cutting.background_model() is None
    with pytest.raises(Refused) as refusal:
        without_background(noise(4, 4))
    assert refusal.value.cause == "rembg_absent"
    assert "rembg" not in sys.modules

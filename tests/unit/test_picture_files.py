"""Pictures as other programs write them: only pixels count, in sRGB; masks by one rule; bounds for a whole request."""

from __future__ import annotations

import argparse
import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageCms

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter import references
from lib_anyms.ip_adapter.cutting import masked
from lib_anyms.ip_adapter.references import MAX_SIDE, PixelBudget, as_rgb, read_mask, read_picture
from lib_anyms.job import pictures
from lib_anyms.job.pictures import Decoded, DecodedPictures
from lib_anyms.job.prepare import picture_notes
from lib_anyms.job.request import Request, picture_hash
from lib_anyms.standalone.commands import cut

COLOUR = (200, 30, 40)
RED, WHITE = (255, 0, 0), (255, 255, 255)


def file(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def encoded(picture: Image.Image, form: str = "PNG") -> str:
    return base64.b64encode(file(picture, form)).decode()


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def with_chunk(added: bytes, last: bool = False) -> bytes:
    data = file(Image.new("RGB", (64, 48), COLOUR))
    at = data.index(b"IEND") - 4 if last else 33
    return data[:at] + added + data[at:]


def request(*images: Any, **subject: Any) -> Request:
    return Request.from_json({"subjects": [{"name": "cat", "box": [0, 0, 1, 1], "images": list(images), **subject}]})


# -- metadata ----------------------------------------------------------------------------------------------------------

BIG = b'{"a":1}' * 350_000  # 2.4 MB of text
METADATA = {
    "EXIF that is text": chunk(b"eXIf", b"b'Exif\\x00\\x00MM\\x00*'"),
    "EXIF that ends early": chunk(b"eXIf", b"MM\0*\0\0"),
    "compressed iTXt": chunk(b"iTXt", b"workflow\0\x01\0\0\0" + zlib.compress(BIG)),
    "compressed zTXt": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(BIG)),
    "damaged zTXt": chunk(b"zTXt", b"workflow\0\0no zlib"),
    "plain tEXt": chunk(b"tEXt", b"workflow\0" + BIG),
    "a text with a wrong checksum": chunk(b"tEXt", b"a\0b", crc=1),
    "a colour profile that is text": chunk(b"iCCP", b"name\0\0" + zlib.compress(b"no profile" * 20)),
    "a colour profile of 8 MiB": chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**23))),
    "a private chunk with a wrong checksum": chunk(b"prVt", b"x", crc=1),
    "a time that is none": chunk(b"tIME", b"x"),
    "a density that is none": chunk(b"pHYs", b"x"),
}


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "after them"])
@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_metadata_of_any_kind_and_size_do_not_hide_the_pixels(metadata: bytes, last: bool) -> None:
    data = with_chunk(metadata, last)
    read = read_picture(data, "cat")
    assert (read.size, read.getpixel((3, 3))) == ((64, 48), COLOUR)
    assert read_mask(data, "cat").size == (64, 48)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_damaged_exif_in_other_formats_is_ignored(form: str) -> None:
    data = file(Image.new("RGB", (64, 48), COLOUR), form, exif=b"Exif\0\0II*\0 no directory")
    assert read_picture(data, "cat").size == (64, 48)


def test_a_jpeg_with_a_damaged_segment_is_read() -> None:
    data = file(Image.new("RGB", (64, 48), COLOUR), "JPEG")
    segments = (b"\xff\xe2\0\x12ICC_PROFILE\0\x09\x01xx", b"\xff\xe2\0\x08MPF\0xx", b"\xff\xed\0\x06Phot")
    for segment in segments:
        assert read_picture(data[:2] + segment + data[2:], "cat").size == (64, 48)


# -- colours -----------------------------------------------------------------------------------------------------------

DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def profile(primaries: tuple[tuple[float, float, float], ...]) -> bytes:
    """sRGB's profile with these primaries (XYZ at D50) and another name."""
    data = bytearray(SRGB.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")).replace(b"sRGB ", b"wide "))
    (count,) = struct.unpack_from(">I", data, 128)
    for number in range(count):
        tag, offset, _ = struct.unpack_from(">4sII", data, 132 + 12 * number)
        if tag in (b"rXYZ", b"gXYZ", b"bXYZ"):
            xyz = primaries[(b"rXYZ", b"gXYZ", b"bXYZ").index(tag)]
            data[offset + 8 : offset + 20] = struct.pack(">3i", *(round(part * 65536) for part in xyz))
    return bytes(data)


FORMS = [
    ("RGB", "WEBP"),
    ("RGBA", "WEBP"),
    *((mode, form) for form in ("PNG", "TIFF") for mode in ("RGB", "RGBA", "P")),
]


@pytest.mark.parametrize(("mode", "form"), FORMS)
def test_a_wide_profile_is_converted_as_browsers_show_it(mode: str, form: str) -> None:
    picture = Image.new("RGB", (64, 48), COLOUR)
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    lossless = {"lossless": True} if form == "WEBP" else {}
    read = read_picture(file(picture, form, icc_profile=profile(DISPLAY_P3), **lossless), "cat")
    assert np.abs(np.subtract(read.getpixel((3, 3)), (218, 0, 27))).max() <= 3
    assert "icc_profile" not in read.info
    assert as_rgb(read).getpixel((3, 3)) == read.getpixel((3, 3))  # converted once


def test_a_request_and_its_crop_read_colours_alike() -> None:
    data = file(Image.new("RGB", (64, 48), COLOUR), icc_profile=profile(DISPLAY_P3))
    text = base64.b64encode(data).decode()
    for image in (text, {"data": text, "crop": [0, 0, 0.5, 0.5]}):
        assert np.abs(np.subtract(request(image).pictures[0][0].getpixel((3, 3)), (218, 0, 27))).max() <= 3


def test_transparency_stays_beside_a_profile() -> None:
    picture = Image.new("RGBA", (8, 6), (*COLOUR, 0))
    assert read_picture(file(picture, icc_profile=profile(DISPLAY_P3)), "cat").getpixel((0, 0)) == WHITE


def test_srgb_and_profiles_for_other_pixels_change_nothing() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for data in (SRGB, lab, b"x" * 200):
        picture = Image.new("RGB", (8, 6), COLOUR)
        assert read_picture(file(picture, icc_profile=data), "cat").getpixel((0, 0)) == COLOUR


# -- masks -------------------------------------------------------------------------------------------------------------


def halves(mode: str) -> Image.Image:
    """A mask that is white on the left and black on the right, opaque everywhere."""
    grey = Image.new("L", (64, 64))
    grey.paste(255, (0, 0, 32, 64))
    return grey.convert(mode)


def alpha_halves() -> Image.Image:
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 32, 64))
    return mask


MASKS = {
    **{mode: halves(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "16 bit": Image.fromarray(np.asarray(halves("L")).astype(np.uint16) * 257),
    "alpha": alpha_halves(),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_white_stays_and_black_goes_whatever_the_mask_s_type(mask: Image.Image) -> None:
    masked_request = request({"data": encoded(Image.new("RGB", (64, 64), RED)), "mask": encoded(mask)})
    assert (masked_request.pictures[0][0].getpixel((5, 5)), masked_request.pictures[0][0].getpixel((60, 60))) == (
        RED,
        WHITE,
    )
    assert not list(picture_notes(masked_request))


def test_a_mask_that_erases_everything_is_refused() -> None:
    for mask in (Image.new("L", (4, 4), 0), Image.new("RGBA", (4, 4), (255, 255, 255, 0)), Image.new("RGBA", (4, 4))):
        with pytest.raises(Refused) as refusal:
            masked(Image.new("RGB", (4, 4)), mask)
        assert refusal.value.cause == "mask_empty"


def test_a_mask_that_erases_nothing_is_said() -> None:
    for mask in (Image.new("L", (4, 4), 255), Image.new("RGBA", (4, 4), (255, 255, 255, 255))):
        image = {"data": encoded(Image.new("RGB", (9, 9), RED)), "mask": encoded(mask), "crop": [0, 0, 0.5, 1]}
        assert [note.cause for note in picture_notes(request(image))] == ["nothing_erased"]


def test_the_command_reads_masks_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 64), RED).save(tmp_path / "a.png")
    halves("RGBA").save(tmp_path / "mask.png")
    Image.new("L", (2, 2), 255).save(tmp_path / "white.png")

    def run(mask: str, out: str) -> Image.Image:
        arguments = argparse.Namespace(
            picture=tmp_path / "a.png", out=tmp_path / out, crop=None, mask=tmp_path / mask, remove_background=False
        )
        assert cut.run(arguments) == 0
        return Image.open(tmp_path / out)

    assert run("mask.png", "b.png").getpixel((60, 60)) == WHITE
    assert capsys.readouterr().err == ""
    run("white.png", "c.png")
    assert "erases nothing" in capsys.readouterr().err


# -- bounds and formats ------------------------------------------------------------------------------------------------


def test_other_formats_reach_no_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    for form, data in {"EPS": eps, "SGI": file(Image.new("RGB", (4, 4)), "SGI")}.items():
        with pytest.raises(Refused) as refusal:
            read_picture(data, form)
        assert refusal.value.cause == "picture_unreadable"


def test_a_large_picture_is_shrunk_to_what_the_page_sends() -> None:
    large = encoded(Image.new("RGB", (3000, 1500), RED))
    picture = request(large).pictures[0][0]
    assert (picture.size, picture.getpixel((9, 9))) == ((MAX_SIDE, MAX_SIDE // 2), RED)
    corner = request({"data": large, "crop": [0, 0, 0.2, 0.4]}).pictures[0][0]
    assert corner.size == (600, 600)  # cropped before it is shrunk
    assert request(encoded(Image.new("RGB", (MAX_SIDE, 16), RED))).pictures[0][0].size == (MAX_SIDE, 16)


def test_a_request_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MAX_TOTAL_PIXELS", 25_000)
    image, mask = encoded(Image.new("RGB", (100, 100), RED)), encoded(halves("L"))
    assert len(request(image, image).pictures[0]) == 2
    for images in ([image] * 3, [{"data": image, "mask": mask}, {"data": image, "mask": mask}]):
        with pytest.raises(Refused) as refusal:
            request(*images)
        assert refusal.value.cause == "pictures_too_large"
        assert "cat" in str(refusal.value)


@pytest.mark.parametrize("size", [(64_000_000, 1), (1, 640_000), (200_000, 300)])
def test_a_line_is_refused_before_it_is_decoded(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    monkeypatch.setattr(references, "as_rgb", lambda _: pytest.fail("decoded"))
    with pytest.raises(Refused) as refusal:
        read_picture(data, "cat")
    assert refusal.value.cause == "picture_line"


def test_the_budget_counts_down() -> None:
    budget = PixelBudget(10)
    budget.take((2, 5), "a")
    with pytest.raises(Refused):
        budget.take((1, 1), "a")


# -- the same pictures again -------------------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets an entry for each image that Pillow decodes."""
    seen: list[str] = []
    whole = references._decode
    monkeypatch.setattr(
        references, "_decode", lambda image, name, *more: seen.append(name) or whole(image, name, *more)
    )
    return seen


def photo(size: tuple[int, int]) -> Image.Image:
    """Smooth, so that a JPEG decoded at half its size is the whole one shrunk."""
    picture = Image.radial_gradient("L").resize(size, Image.Resampling.BICUBIC)
    return Image.merge("RGB", (picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), picture))


def test_a_picture_of_an_earlier_job_is_not_decoded_again(decodings: list[str]) -> None:
    image, mask = encoded(photo((90, 80))), encoded(halves("L"))
    images = [image, {"data": image, "mask": mask}, {"data": image, "crop": [0, 0, 0.5, 1]}]
    first = request(*images)
    assert len(decodings) == 4  # with the mask
    assert request(*images) == first
    assert len(decodings) == 4
    other = request({"data": image, "crop": [0, 0, 0.25, 1]}, {"data": image, "mask": encoded(halves("LA"))})
    assert len({picture_hash(each) for each in (*first.pictures[0], *other.pictures[0])}) >= 4
    assert len(decodings) == 7


def test_notes_on_a_picture_stay_where_it_is_not_decoded_again() -> None:
    white = {"data": encoded(photo((9, 9))), "mask": encoded(Image.new("L", (9, 9), 255))}
    for _ in range(2):
        assert [note.cause for note in picture_notes(request(white))] == ["nothing_erased"]


def test_the_bound_of_a_request_counts_pictures_of_earlier_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [encoded(Image.new("RGB", (100, 100), (shade, 0, 0))) for shade in range(3)]
    request(*images)
    monkeypatch.setattr(references, "MAX_TOTAL_PIXELS", 25_000)
    for _ in range(2):
        with pytest.raises(Refused, match="too large together"):
            request(*images)


def test_the_pictures_kept_in_memory_are_bounded() -> None:
    kept = DecodedPictures(limit=3 * 9 * 9 * 2)
    for number in range(5):
        kept.add((bytes([number]),), Decoded(Image.new("RGB", (9, 9)), 81))
    assert [kept.find((bytes([number]),)) is not None for number in range(5)] == [False] * 3 + [True] * 2
    assert kept.bytes <= kept.limit


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "P", "I;16", "1"])
def test_shrinking_before_conversion_changes_only_rounding(mode: str) -> None:
    """A 64-megapixel file is shrunk in its own mode, as further conversions would take gigabytes."""
    picture = photo((1500, 1200))
    if mode in ("LA", "RGBA"):
        picture.putalpha(photo((1500, 1200)).getchannel("G"))
    saved = Image.new("I;16", (1500, 1200), 30_000) if mode == "I;16" else picture.convert(mode)
    text = encoded(saved, "TIFF") if mode == "CMYK" else encoded(saved)
    early, late = request(text).pictures[0][0], references.shrunk(references.read_base64(text, "cat"))
    assert early.size == late.size == (1024, 819)
    assert apart(early, late) <= (40 if mode == "1" else 3)  # "1" is dithered


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    whole = references.as_rgb
    monkeypatch.setattr(references, "upright", lambda image: sizes.append(image.size) or image)
    picture = photo((4000, 2400))
    text = encoded(picture, "JPEG")
    small = request(text).pictures[0][0]
    assert sizes[0] == (2000, 1200)
    assert small.size == (1024, 614)
    assert apart(small, references.shrunk(whole(picture))) <= 4
    request({"data": text, "crop": [0, 0, 0.25, 0.5]})
    assert sizes[-1] == (4000, 2400)  # a crop needs all pixels


def test_memory_of_large_pictures_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the request is refused. The C library kept gigabytes until the next job."""
    freed: list[int] = []
    monkeypatch.setattr(pictures, "release", freed.append)
    monkeypatch.setattr(pictures, "LARGE", 15_000)
    one, two = (encoded(Image.new("RGB", (100, 100), colour)) for colour in ("red", "blue"))
    request(one)
    assert not freed
    request(encoded(Image.new("RGB", (100, 100), "green")), two)
    assert len(freed) == 1
    with pytest.raises(Refused):
        request(encoded(Image.new("RGB", (200, 100), "green")), "broken")
    assert len(freed) == 2


def apart(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of two pictures' values."""
    return max(high for _, high in ImageChops.difference(one, other).getextrema())

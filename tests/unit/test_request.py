"""Requests: one table of fields for all inputs, and one clear cause for each error."""

from __future__ import annotations

import base64
import io
import json
import re

import pytest
from PIL import Image

from lib_anyms.engine.ablations import MERGE_FUNCTIONS
from lib_anyms.engine.layer_map import BLOCK_PRESETS
from lib_anyms.errors import AnyMSError, Refused, SteppedAside
from lib_anyms.ip_adapter import references
from lib_anyms.ip_adapter.tokens import COMBINE
from lib_anyms.job import infotext
from lib_anyms.job.prepare import picture_notes
from lib_anyms.job.request import MAX_PICTURES, Request, picture_hash
from lib_anyms.layout import fields
from lib_anyms.layout.geometry import TokenGrid
from lib_anyms.layout.layout import BLOCKS, Layout


def encoded(size: tuple[int, int] = (8, 6), mode: str = "RGB", form: str = "PNG", colour: object = None) -> str:
    buffer = io.BytesIO()
    Image.new(mode, size, colour or 0).save(buffer, form)
    return base64.b64encode(buffer.getvalue()).decode()


def data(**changes: object) -> dict:
    subject = {"name": "cat", "images": [encoded()], "box": [0.1, 0.2, 0.5, 0.9]}
    return {"version": 1, "scale": 0.5, "subjects": [subject], **changes}


def refused(value: object) -> Refused:
    with pytest.raises(Refused) as refusal:
        Request.from_json(value)
    return refusal.value


def test_the_contract_s_own_example_is_read() -> None:
    request = Request.from_json(
        {
            "version": 1,
            "enabled": True,
            "scale": 0.6,
            "mode": "crop-merge",
            "adapter": "auto",
            "subjects": [
                {
                    "name": "cat",
                    "images": [encoded()],
                    "box": [0, 0, 0.5, 1],
                    "weight": 1,
                    "start": 0,
                    "end": 1,
                    "role": "subject",
                }
            ],
        }
    )
    assert request.active
    assert request.layout is not None
    assert request.layout.subjects[0].name == "cat"
    assert request.pictures[0][0].size == (8, 6)


def test_the_order_of_subjects_is_never_sorted() -> None:
    subject = data()["subjects"][0]
    sea = {**subject, "name": "sea", "role": "background", "box": [0, 0, 1, 1]}
    order = [{**subject, "name": "hat", "role": "attribute"}, sea]
    layout = Request.from_json(data(subjects=order)).layout
    assert layout is not None
    assert [placed.name for placed in layout.subjects] == ["hat", "sea"]


def test_to_json_names_pictures_by_hash_and_is_json() -> None:
    request = Request.from_json(data())
    written = json.loads(json.dumps(request.to_json()))
    assert written["subjects"][0]["pictures"] == [picture_hash(request.pictures[0][0])]
    assert written["scale"] == 0.5
    assert "images" not in written["subjects"][0]


@pytest.mark.parametrize("change", [{"enabled": False}, {"mode": "off"}, {"scale": 0}])
def test_off_is_valid_and_inactive(change: dict) -> None:
    assert not Request.from_json(data(**change)).active
    assert not Request.from_json({"enabled": False}).active


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (None, "request_form"),
        ("cat", "request_form"),
        ([], "request_form"),
        (data(version=2), "request_version"),
        (data(subject=[]), "field_unknown"),
        (data(scale=3), "field_range"),
        (data(scale="0.6"), "field_type"),
        (data(enabled="yes"), "field_type"),
        (data(mode="sum"), "field_choice"),
        (data(fit="zoom"), "field_choice"),
        (data(subjects={}), "field_type"),
        (data(subjects=[]), "subject_count"),
        (data(subjects=[data()["subjects"][0]] * 13), "subject_count"),
        (data(scale=10**400), "field_range"),
        (data(scale=-(10**5000)), "field_range"),
        (data(version=10**5000), "request_version"),
        (data(subjects=[{**data()["subjects"][0], "box": [0, 0, 50, 100]}]), "box_units"),
        (data(subjects=[{**data()["subjects"][0], "box": [0, 0, 10**400, 1]}]), "box_units"),
    ],
)
def test_bad_requests_are_refused_by_cause(value: object, cause: str) -> None:
    assert refused(value).cause == cause


@pytest.mark.parametrize(
    "more",
    [
        {"subjects": [{"box": [5, 5, 5, 5]}]},
        {"subjects": [{"name": "cat", "box": [0, 0, 1, 1], "images": ["no picture"]}]},
        {"subjects": "none", "scale": 10**400},
        {"version": 2, "typo": 1},
    ],
)
def test_nothing_more_is_read_of_a_request_that_is_not_enabled(more: dict) -> None:
    request = Request.from_json({"enabled": False, **more})
    assert not request.active
    assert Request.from_json(request.to_json()) == request


@pytest.mark.parametrize("version", ["1", "one", 1.5, True, None, [1]])
def test_a_version_that_is_no_number_is_shown_as_it_was_sent(version: object) -> None:
    """Not: has version 1, this AnyMS reads version 1."""
    layout = {"version": version, "subjects": [{"box": [0, 0, 1, 1]}]}
    refusals = [refused(data(version=version))]
    for read in (Layout.from_json, lambda value: infotext.read(json.dumps(value))):
        with pytest.raises(Refused) as refusal:
            read(layout)
        refusals.append(refusal.value)
    assert [each.cause for each in refusals] == ["request_version", "layout_version", "infotext_version"]
    for each in refusals:
        assert f"has version {version!r}, this AnyMS reads version 1, a number" in str(each)
    assert Request.from_json(data(version=1.0)).active


@pytest.mark.parametrize(
    ("images", "cause"),
    [
        ([], "picture_missing"),
        ("", "field_type"),
        ([encoded()] * (MAX_PICTURES + 1), "picture_count"),
        (["not base64!"], "picture_unreadable"),
        ([base64.b64encode(b"no picture").decode()], "picture_unreadable"),
        ([encoded()[:60]], "picture_unreadable"),
        (["/etc/passwd"], "picture_unreadable"),
        (["http://example.com/cat.png"], "picture_unreadable"),
        ([7], "picture_form"),
        ([{"data": {"data": encoded()}}], "picture_form"),
        ([{"data": encoded(), "crop": [0, 0, 50, 50]}], "box_units"),
        ([encoded((9000, 9000), "1")], "picture_too_large"),
        (["A" * (references.MAX_BYTES * 4 // 3 + 8)], "picture_too_large"),
    ],
)
def test_bad_pictures_are_refused_by_cause(images: object, cause: str) -> None:
    refusal = refused(data(subjects=[{**data()["subjects"][0], "images": images}]))
    assert refusal.cause == cause
    assert "'cat'" in str(refusal) or cause == "box_units"


def test_pictures_become_upright_rgb_on_white() -> None:
    clear = references.read_base64(encoded(mode="RGBA", colour=(10, 20, 30, 0)), "cat")
    assert clear.mode == "RGB"
    assert clear.getpixel((0, 0)) == (255, 255, 255)
    assert references.read_base64("data:image/png;base64," + encoded(mode="L", colour=9), "cat").getpixel((0, 0)) == (
        9,
        9,
        9,
    )
    deep = references.read_base64(encoded(mode="I;16", colour=65535 // 2), "cat")
    assert abs(deep.getpixel((0, 0))[0] - 127) <= 1
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.new("RGB", (8, 6)).save(buffer, "JPEG", exif=exif)
    assert references.read_picture(buffer.getvalue(), "cat").size == (6, 8)


def test_fits_make_the_square_they_name() -> None:
    wide = Image.new("RGB", (40, 20), "red")
    corner = {name: fit(wide, 20).getpixel((0, 0)) for name, fit in references.FITS.items()}
    assert corner == {"pad": (255, 255, 255), "crop": (255, 0, 0), "stretch": (255, 0, 0)}
    values = references.pixel_values([wide], 20)
    assert values.shape == (1, 3, 20, 20)
    assert values[0, 0, 10, 10].item() == pytest.approx((1 - references.MEAN[0]) / references.STD[0])


def test_the_tables_agree() -> None:
    assert set(fields.MODES) == {"crop-merge", *MERGE_FUNCTIONS, fields.OFF}
    assert set(fields.FITS) == set(references.FITS)
    assert set(fields.COMBINES) == set(COMBINE)
    assert set(BLOCKS) == set(BLOCK_PRESETS)
    names = {field.name for field in fields.REQUEST_FIELDS}
    assert names | {"layout", "pictures", "cards"} == set(Request.__dataclass_fields__)
    for field in fields.REQUEST_FIELDS:
        assert Request.__dataclass_fields__[field.name].default == field.default


@pytest.mark.parametrize("kind", [Refused, SteppedAside])
def test_every_cause_is_a_sentence_that_says_what_to_do(kind: type[AnyMSError]) -> None:
    for cause, template in kind.causes.items():
        sentence = template.replace("{remedy}", "It is another. Do this.")  # model_family.py has these
        assert sentence.endswith("."), cause
        assert sentence.rstrip(".").count(". ") >= 1 or "; " in sentence, f"{cause} does not say what to do"
        assert not sentence.startswith("AnyMS:"), cause


# -- silhouettes -------------------------------------------------------------------------------------------------------


def shaped(silhouette: object, **changes: object) -> dict:
    """The request of a cat in the left half of the image, with a silhouette."""
    subject = {"name": "cat", "images": [encoded()], "box": [0, 0, 0.5, 1], "silhouette": silhouette}
    return data(subjects=[{**subject, **changes}])


def half(left: bool = True, mode: str = "L") -> str:
    """A mask with one white half; with alpha, everything is white and one half is opaque."""
    mask = Image.new(mode, (8, 4), (255, 0) if mode == "LA" else 0)
    mask.paste((255, 255) if mode == "LA" else 255, (0, 0, 4, 4) if left else (4, 0, 8, 4))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_silhouette_is_white_or_opaque_where_the_subject_is(mode: str) -> None:
    layout = Request.from_json(shaped(half(mode=mode), box=[0.25, 0, 1, 1])).layout
    assert layout.owner_map(TokenGrid(1, 8)) == [-1, -1, 0, 0, -1, -1, -1, -1]


def test_a_silhouette_stands_in_for_a_box() -> None:
    request = shaped(half(left=False))
    del request["subjects"][0]["box"]
    assert Request.from_json(request).layout.subjects[0].box.edges == [0.5, 0, 1, 1]


@pytest.mark.parametrize(
    ("silhouette", "cause"),
    [
        (half(left=False), "silhouette_outside"),
        (encoded(), "silhouette_black"),
        ("0123456789ab", "silhouette_hash"),
        ("no base64", "silhouette_unreadable"),
        (base64.b64encode(b"no picture").decode(), "silhouette_unreadable"),
        (encoded((1500, 1)), "silhouette_unreadable"),
        ({"data": half()}, "field_type"),
        (["x"], "field_type"),
        (True, "field_type"),
    ],
    ids=["outside", "black", "hash", "text", "bytes", "line", "object", "list", "true"],
)
def test_a_silhouette_that_cannot_be_used_is_refused_by_name(silhouette: object, cause: str) -> None:
    refusal = refused(shaped(silhouette))
    assert refusal.cause == cause
    assert "silhouette of subject 'cat'" in str(refusal)


@pytest.mark.parametrize("absent", [None, ""])
def test_an_empty_silhouette_is_none(absent: object) -> None:
    assert Request.from_json(shaped(absent)).layout.subjects[0].silhouette is None


def test_a_white_silhouette_is_a_note() -> None:
    request = Request.from_json(shaped(encoded(mode="L", colour=255)))
    assert [note.cause for note in picture_notes(request)] == ["silhouette_white"]
    assert not [*picture_notes(Request.from_json(shaped(half())))]


def test_a_request_s_json_has_a_silhouette_s_hash_only_where_there_is_one() -> None:
    written = Request.from_json(shaped(half())).to_json()["subjects"][0]
    assert re.fullmatch("[0-9a-f]{12}", written["silhouette"])
    assert "silhouette" not in Request.from_json(data()).to_json()["subjects"][0]
    assert Request.from_json(shaped(half(mode="LA"))).to_json()["subjects"][0]["silhouette"] == written["silhouette"]

"""The infotext entry: everything but the pixels comes back, with any name; a bad entry has one clear cause."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.job import infotext
from lib_anyms.job.request import Request, picture_hash
from lib_anyms.layout.fields import COMBINES, FITS, MODES, REQUEST_FIELDS, UNCONDITIONALS
from lib_anyms.layout.layout import BLOCKS, ROLES, Layout
from tests.support.host_parser import parsed

AWKWARD = 'a "cat", one: two\nthree\\ \u2028 ключ 猫 🐈'
PICTURE = Image.new("RGB", (5, 4), "red")


def request(name: str = AWKWARD, **settings: object) -> Request:
    cat = {"name": name, "box": [0.1, 0.2, 0.5, 0.9], "images": [PICTURE, Image.new("RGB", (5, 4), "blue")]}
    hat = {
        "name": "hat",
        "box": [0, 0, 1, 0.25],
        "role": "attribute",
        "weight": 0.3,
        "start": 0.2,
        "end": 0.7,
        "blocks": "style",
    }
    return Request.from_json({"subjects": [{**hat, "images": [PICTURE]}, cat], **settings})


def test_everything_but_the_pixels_comes_back() -> None:
    settings = {"scale": 0.35, "mode": "masked-sum", "adapter": "a, b.safetensors", "encoder": "x", "fit": "crop"}
    original = request(**settings, unconditional="cond-only", combine="concatenate")
    text = infotext.write(original)
    recalled = infotext.read(text)
    assert recalled.settings == {field.name: getattr(original, field.name) for field in REQUEST_FIELDS}
    assert recalled.subjects == original.layout.subjects
    for hashes, pictures in zip(recalled.pictures, original.pictures, strict=True):
        assert hashes == tuple(picture_hash(picture) for picture in pictures)


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80),
    box=st.tuples(*[st.floats(0, 1)] * 4).filter(lambda box: box[0] < box[2] and box[1] < box[3]),
    weight=st.floats(0, 2),
    choices=st.tuples(*map(st.sampled_from, (ROLES, BLOCKS, MODES, UNCONDITIONALS, FITS, COMBINES))),
)
def test_any_request_comes_back(name: str, box: tuple[float, ...], weight: float, choices: tuple[str, ...]) -> None:
    role, blocks, mode, unconditional, fit, combine = choices
    subject = {"name": name, "box": list(box), "weight": weight, "role": role, "blocks": blocks, "images": [PICTURE]}
    settings = {"mode": mode, "unconditional": unconditional, "fit": fit, "combine": combine}
    original = Request.from_json({"subjects": [subject], **settings})
    recalled = infotext.read(infotext.write(original))
    assert recalled.subjects == original.layout.subjects
    assert {**recalled.settings} == {field.name: getattr(original, field.name) for field in REQUEST_FIELDS}


def test_half_a_character_is_refused_as_it_would_spoil_the_infotext() -> None:
    with pytest.raises(Refused) as refusal:
        request("cat \ud83d")
    assert refusal.value.cause == "field_type"


def test_an_infotext_is_a_layout_and_with_pictures_a_request() -> None:
    data = infotext.read(infotext.write(request())).to_json()
    assert data == request().to_json()
    assert Layout.from_json({"version": 1, "subjects": data["subjects"]}) == request().layout
    with pytest.raises(Refused) as refusal:
        Request.from_json(data)
    assert refusal.value.cause == "picture_missing"
    for subject in data["subjects"]:
        subject["images"] = [PICTURE]
    assert Request.from_json(data).layout == request().layout


def shaped() -> Request:
    subject = {"name": "cat", "box": [0, 0, 1, 1], "images": [PICTURE], "silhouette": Image.new("L", (4, 2), 255)}
    return Request.from_json({"subjects": [subject]})


def test_a_silhouette_comes_back_as_its_hash() -> None:
    original = shaped()
    line, mask = infotext.write(original), picture_hash(Image.new("RGB", (4, 2), "white"))
    assert line == f"cat: 0,0 100x100 %, pictures {picture_hash(PICTURE)}, silhouette {mask}"
    assert infotext.read(line).silhouettes == (mask,)
    assert infotext.read(line).to_json() == original.to_json() == infotext.read(earlier(original)).to_json()
    assert infotext.read(infotext.write(request())).silhouettes == ("", "")


@pytest.mark.parametrize("value", ["silhouette", "silhouette cat.png", "silhouette 0123456789ab 0123456789ab"])
def test_a_silhouette_that_is_no_hash_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="silhouette of subject 'cat'"):
        infotext.read(f"cat: 0,0 100x100 %, {value}")


def earlier(request: Request) -> str:
    """The entry that earlier versions wrote."""
    return json.dumps(request.to_json(), ensure_ascii=False, separators=(",", ":"))


def test_the_json_of_earlier_versions_is_the_same_request() -> None:
    original = request(scale=0.35, elsewhere="grass")
    assert infotext.read(earlier(original)) == infotext.read(infotext.write(original))


def test_of_two_entries_the_last_counts_as_in_the_hosts() -> None:
    """Someone may put a line beside the one that is there."""
    entries = {"first": earlier(request("cat")), "last": infotext.write(request("dog"))}
    quoted = [json.dumps(entry, ensure_ascii=False) for entry in entries.values()]
    text = f"a cat\nSteps: 3, AnyMS: {quoted[0]}, AnyMS: {quoted[1]}, Version: 1"
    assert infotext.entries(text) == {"AnyMS": entries["last"]} == {"AnyMS": parsed(text)["AnyMS"]}
    assert infotext.read(parsed(text)["AnyMS"]).subjects[1].name == "dog"


def changed(**changes: object) -> str:
    return json.dumps({**request().to_json(), **changes})


def subject(**changes: object) -> str:
    data = request().to_json()
    data["subjects"][0].update(changes)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "infotext_damaged"),
        (earlier(request())[:-5], "infotext_damaged"),
        ("[" * 100_000, "infotext_damaged"),
        ("[]", "infotext_damaged"),
        ('{"version": 1}', "infotext_damaged"),
        (changed(version=2), "infotext_version"),
        (changed(version=None), "infotext_version"),
        (changed(scale=9), "field_range"),
        (changed(colour=1), "field_unknown"),
        (changed(subjects=[{}] * 13), "subject_count"),
        (subject(box=[0, 0, 0, 1]), "box_empty"),
        (subject(pictures="abc"), "infotext_damaged"),
        (subject(pictures=["0" * 12] * 9), "infotext_damaged"),
        (subject(pictures=["<b>"]), "infotext_damaged"),
    ],
)
def test_an_unreadable_entry_has_one_cause(text: str, cause: str) -> None:
    with pytest.raises(Refused) as refusal:
        infotext.read(text)
    assert refusal.value.cause == cause

"""Subject cards: what is written comes back, what others made is harmless, the library never replaces or leaves its
folder.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib_anyms.cards.card import KEY, MAX_BYTES, Card, Encoding, read_card, write_card
from lib_anyms.cards.kept_pictures import MAX_SIDE, SIDE, keep
from lib_anyms.cards.library import Library, file_stem, read_file
from lib_anyms.errors import AnyMSError, Refused
from lib_anyms.job.request import Request

ADAPTER, OTHER = "a" * 64, "b" * 64


def encoding(adapter: str = ADAPTER, count: int = 4, pictures: int = 1, dtype: torch.dtype = torch.float16) -> Encoding:
    make = torch.Generator().manual_seed(int(adapter[0], 16))
    tokens, uncond = torch.randn(count * pictures, 24, generator=make), torch.randn(count, 24, generator=make)
    combine = "concatenate" if pictures > 1 else "average"
    return Encoding(adapter, "adapter.safetensors", "base", "pad", combine, tokens.to(dtype), uncond.to(dtype))


def picture(side: int = 60) -> Image.Image:
    return Image.linear_gradient("L").resize((side, side // 2)).convert("RGB")


def card_bytes(name: str = "fox", *encodings: Encoding, pictures: int = 1) -> bytes:
    return write_card(name, "subject", encodings or (encoding(),), [keep(picture())] * pictures)


def cause(data: bytes) -> str:
    with pytest.raises(Refused) as refusal:
        read_card(data, "a.safetensors")
    return refusal.value.cause


# -- the format --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_what_is_written_comes_back(dtype: torch.dtype) -> None:
    both = (encoding(dtype=dtype), encoding(OTHER, 16, 3, dtype))
    data = write_card("a red fox 狐", "attribute", both, [keep(picture(60)), keep(picture(90))])
    card = read_card(data, "fox")
    assert (card.name, card.role, card.encodings) == ("a red fox 狐", "attribute", both)
    for mine, theirs in zip(card.encodings, both):
        assert torch.equal(mine.tokens, theirs.tokens)
        assert torch.equal(mine.uncond, theirs.uncond)
        assert mine.tokens.dtype == dtype
    assert [card.picture(n).size for n in range(2)] == [(60, 30), (90, 45)]
    assert card.encoding_for(OTHER) == both[1]
    assert card.encoding_for("c" * 64) is None
    assert write_card(card.name, card.role, card.encodings, card.pictures) == data  # the same card has the same hash


def test_a_card_of_the_usual_size_is_small() -> None:
    make = torch.Generator().manual_seed(0)
    tokens = torch.randn(16, 2048, generator=make).half()
    noise = torch.randint(0, 256, (900, 1200, 3), generator=make, dtype=torch.uint8)
    kept = keep(Image.fromarray(noise.numpy()))
    assert max(read_card(write_card("x", "subject", [encoding()], [kept]), "x").picture().size) == SIDE
    data = write_card(
        "x", "subject", [Encoding(ADAPTER, "a", "plus", "pad", "average", tokens, tokens)], [keep(picture(900))]
    )
    assert 2 * 65536 < len(data) < 2 * 65536 + 20_000


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "fox.safetensors"
    path.write_bytes(card_bytes())
    names = safetensors.torch.load_file(path)
    assert sorted(names) == ["encodings.0.uncond", "encodings.0.tokens", "pictures.0"]
    with safetensors.safe_open(path, "pt") as file:
        assert list(file.metadata()) == [KEY]
        assert json.loads(file.metadata()[KEY])["version"] == 1


# -- what others made --------------------------------------------------------------------------------------------------


def altered(tensors: dict[str, torch.Tensor] | None = None, **told: Any) -> bytes:
    """A card with other metadata, and with tensors added, replaced or (None) left out."""
    data = card_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    stored = {**safetensors.torch.load(data), **(tensors or {})}
    kept = {name: tensor for name, tensor in stored.items() if tensor is not None}
    return safetensors.torch.save(kept, {KEY: json.dumps({**header, **told})})


def first(**facts: Any) -> list[dict[str, Any]]:
    told = {"adapter": ADAPTER, "file": "adapter.safetensors", "kind": "base", "fit": "pad", "combine": "average"}
    return [{**told, **facts}]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "card_kind"),
        (b"PK\x03\x04" + bytes(100), "card_kind"),
        (struct.pack("<Q", 2**63) + b"{}", "card_kind"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "card_kind"),
        (struct.pack("<Q", 60_000) + b"[" * 60_000, "card_kind"),
        (safetensors.torch.save({"a": torch.zeros(2)}), "card_kind"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {KEY: "[]"}), "card_kind"),
        (altered(version=2), "card_version"),
        (altered(version=[1] * 1000), "card_version"),
        (card_bytes()[:-1], "card_damaged"),
        (card_bytes() + b"x", "card_damaged"),
        (bytes(MAX_BYTES + 1), "card_too_large"),
        (altered(colour="red"), "field_unknown"),
        (altered(name="x" * 81), "field_range"),
        (altered(name="a\x1b[2Jb"), "card_damaged"),
        (altered(name=["a"]), "field_type"),
        (altered(role="boss"), "field_choice"),
        (altered(encodings=[]), "card_damaged"),
        (altered(encodings=first() * 9), "card_damaged"),
        (altered(encodings=["a"]), "card_damaged"),
        (altered(encodings=first(adapter="../x")), "card_damaged"),
        (altered(encodings=first(kind="faceid")), "field_choice"),
        (altered(encodings=first(file="a\nb")), "card_damaged"),
        (altered({"encodings.0.tokens": None}), "card_damaged"),
        (altered({"encodings.0.tokens": torch.zeros(4, 24).double()}), "card_damaged"),
        (altered({"encodings.0.tokens": torch.zeros(4, 23).half()}), "card_damaged"),
        (altered({"encodings.0.tokens": torch.zeros(8, 24).half()}), "card_damaged"),
        (altered({"encodings.0.tokens": torch.zeros(96).half()}), "card_damaged"),
        (altered({"encodings.0.tokens": torch.zeros(0, 24).half()}), "card_damaged"),
        (altered({"encodings.0.tokens": torch.full((4, 24), float("nan")).half()}), "card_damaged"),
        (altered({"encodings.0.uncond": torch.full((4, 24), float("inf")).half()}), "card_damaged"),
        (altered({"pictures.0": torch.zeros(9).half()}), "card_damaged"),
        (altered({"pictures.0": torch.zeros(600_000, dtype=torch.uint8)}), "card_damaged"),
        (altered({f"pictures.{n}": torch.zeros(9, dtype=torch.uint8) for n in range(9)}), "card_damaged"),
        (altered({"more": torch.zeros(1)}), "card_damaged"),
        (altered({"encodings.1.tokens": torch.zeros(4, 24).half()}), "card_damaged"),
    ],
)
def test_what_is_no_sound_card_has_one_cause(data: bytes, expected: str) -> None:
    assert cause(data) == expected


def test_two_encodings_for_one_adapter_are_refused() -> None:
    with pytest.raises(Refused) as refusal:
        write_card("fox", "subject", [encoding(), encoding()], [])
    assert refusal.value.cause == "card_damaged"


WHOLE = card_bytes()


@settings(max_examples=300, deadline=1000)
@given(st.data())
def test_no_change_of_bytes_does_more_than_refuse(draw: st.DataObject) -> None:
    """Cut, overwritten, lengthened: a card or one sentence, never another error."""
    data = bytearray(WHOLE)
    header = 8 + struct.unpack("<Q", WHOLE[:8])[0]
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.one_of(st.integers(0, header), st.integers(0, len(WHOLE) - 1)))
        data[place : place + draw.draw(st.integers(0, 6))] = draw.draw(st.binary(max_size=6))
    sentence = ""
    try:
        card = read_card(bytes(data), "a")
        assert 1 <= len(card.encodings) <= 8
        assert all(torch.isfinite(each.tokens).all() for each in card.encodings)
        card.picture()
    except AnyMSError as refusal:
        sentence = str(refusal)
    assert not sentence or sentence.startswith("AnyMS: ")
    assert len(sentence) < 700
    assert "\n" not in sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["version", "name", "adapter", "x"]), inner)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=1000)
@given(told=st.dictionaries(st.sampled_from(["version", "name", "role", "encodings", "x"]), JSON), sure=st.booleans())
def test_no_metadata_does_more_than_refuse(told: dict[str, Any], sure: bool) -> None:
    text = json.dumps({**told, "version": 1} if sure else told)
    with pytest.raises(Refused):
        read_card(safetensors.torch.save({"a": torch.zeros(1)}, {KEY: text}), "a")


def test_a_card_s_picture_is_opened_as_png_or_webp_only_and_small(tmp_path: Path) -> None:
    def with_picture(form: str, size: int) -> Card:
        path = tmp_path / f"a.{form}"
        Image.new("RGB", (size, 4)).save(path, form)
        return read_card(write_card("fox", "subject", [encoding()], [path.read_bytes()]), "a")

    assert with_picture("png", 9).picture().size == (9, 4)
    causes = {}
    for form, size in (("gif", 9), ("tiff", 9), ("png", MAX_SIDE + 1)):
        with pytest.raises(Refused) as refusal:
            with_picture(form, size).picture()
        causes[form] = refusal.value.cause
    assert causes == {"gif": "card_damaged", "tiff": "card_damaged", "png": "picture_too_large"}
    with pytest.raises(Refused) as refusal:
        read_card(card_bytes(pictures=0), "a").picture()
    assert refusal.value.cause == "card_pictures"


# -- the library -------------------------------------------------------------------------------------------------------


def test_cards_are_kept_listed_searched_and_found(tmp_path: Path) -> None:
    library = Library(tmp_path / "cards")
    assert library.entries() == []
    names = [
        library.add(card_bytes(name)) for name in ("red fox", "Red Fox", "teapot", "../../etc/passwd", "...", "CON")
    ]
    assert names == [
        "red-fox.safetensors",
        "Red-Fox-2.safetensors",
        "teapot.safetensors",
        "etc-passwd.safetensors",
        "card-.safetensors",
        "card-CON.safetensors",
    ]
    assert sorted(path.name for path in library.folder.iterdir()) == sorted(names)
    (library.folder / "broken.safetensors").write_bytes(b"x")
    (library.folder / "notes.txt").write_text("x")
    assert len(library.entries()) == 6
    assert [entry.name for entry in library.entries("FOX red")] == ["Red Fox", "red fox"]
    teapot = library.find("teapot")
    assert library.find("teapot.safetensors") == library.find(teapot.hash) == teapot
    for name in ("fox", "", "../cards/teapot", str(library.folder / "teapot.safetensors"), "0" * 12):
        with pytest.raises(Refused) as refusal:
            library.find(name)
        assert refusal.value.cause == "card_unknown"
    with pytest.raises(Refused) as refusal:
        library.find("broken")
    assert refusal.value.cause == "card_kind"


def test_no_name_leads_out_of_the_library_and_case_makes_none(tmp_path: Path) -> None:
    library, outside = Library(tmp_path / "cards"), tmp_path / "secret.safetensors"
    library.add(card_bytes("teapot"))
    outside.write_bytes(card_bytes("secret"))
    ways = [
        "../secret",
        "../secret.safetensors",
        "..\\secret.safetensors",
        str(outside),
        outside.as_uri(),
        "../cards/teapot.safetensors",
    ]
    for name in (
        *ways,
        "./teapot.safetensors",
        "teapot.safetensors/",
        "teapot\0",
        "TEAPOT",
        "teapot.SAFETENSORS",
        "*",
        ".",
    ):
        with pytest.raises(Refused) as refusal:
            library.find(name)
        assert refusal.value.cause == refused(library, card=name) == "card_unknown", name


def test_a_replaced_file_is_another_card(tmp_path: Path) -> None:
    library = Library(tmp_path)
    path = tmp_path / library.add(card_bytes("fox"))
    before = library.entries()[0].hash
    path.write_bytes(card_bytes("a red fox"))
    assert library.entries()[0].name == "a red fox"
    assert library.named(before) is None


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_what_a_link_leads_to_outside_is_no_card_of_the_library(tmp_path: Path) -> None:
    home = tmp_path / "cards"
    home.mkdir()
    outside = tmp_path / "secret.safetensors"
    outside.write_bytes(card_bytes("secret"))
    (home / "link.safetensors").symlink_to(outside)
    assert Library(home).entries() == []
    with pytest.raises(Refused):
        Library(home).find("link")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_nothing_is_written_through_a_link_that_lies_in_the_library(tmp_path: Path) -> None:
    home, mine = tmp_path / "cards", tmp_path / "mine"
    home.mkdir()
    mine.write_bytes(b"mine")
    for name in (f".fox.safetensors.{os.getpid()}.half", "Fox.safetensors"):
        (home / name).symlink_to(mine)
    assert Library(home).add(card_bytes("fox")) == "fox-2.safetensors"  # upper and lower case are one
    (home / f".fox-3.safetensors.{os.getpid()}.half").symlink_to(mine)
    assert Library(home).add(card_bytes("fox")) == "fox-3.safetensors"
    assert mine.read_bytes() == b"mine"
    assert not (home / "fox-3.safetensors").is_symlink()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refused) as refusal:
        Library(tmp_path / "file").add(card_bytes())
    assert refusal.value.cause == "card_unwritten"
    assert str(tmp_path) not in str(refusal.value)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Refused, match="No space left"):
        Library(tmp_path / "cards").add(card_bytes())
    assert list((tmp_path / "cards").iterdir()) == []


def full(path: Path, _data: bytes) -> int:
    path.touch()
    raise OSError(28, "No space left on device")


@given(st.text(max_size=90))
def test_every_name_makes_a_file_s_stem(name: str) -> None:
    stem = file_stem(name)
    assert 1 <= len(stem) <= 65
    assert Path(stem).name == stem
    assert not stem.startswith(("-", "."))


# -- requests ----------------------------------------------------------------------------------------------------------


def request(library: Library | None = None, **subject: Any) -> Request:
    return Request.from_json({"subjects": [{"name": "my fox", "box": [0, 0, 1, 1], **subject}]}, library)


def refused(library: Library | None = None, **subject: Any) -> str:
    with pytest.raises(Refused) as refusal:
        request(library, **subject)
    return refusal.value.cause


def test_a_request_takes_a_card_as_base64_by_name_or_by_hash(tmp_path: Path) -> None:
    library, data = Library(tmp_path), card_bytes()
    file = library.add(data)
    text = base64.b64encode(data).decode()
    wanted = read_card(data, "")
    for given_library, told in (
        (None, text),
        (None, f"data:;base64,{text}"),
        (library, "fox"),
        (library, file),
        (library, wanted.hash),
    ):
        made = request(given_library, card=told)
        assert made.cards == (wanted,)
        assert made.pictures == ((),)
        assert made.layout.subjects[0].name == "my fox"
        assert made.to_json()["subjects"][0]["card"] == wanted.hash
        assert "pictures" not in made.to_json()["subjects"][0]
    assert request(images=[picture()]).cards == (None,)
    assert request(images=[picture()], card="").cards == (None,)


def test_cards_that_cannot_be_taken_are_refused_by_cause(tmp_path: Path) -> None:
    text = base64.b64encode(card_bytes()).decode()
    assert refused() == "picture_missing"
    assert refused(card=text, images=[picture()]) == "card_and_pictures"
    assert refused(card="fox") == refused(Library(tmp_path), card="fox") == "card_unknown"
    assert refused(card=5) == "field_type"
    assert refused(card="!" * 300) == "card_damaged"
    assert refused(card="A" * 300) == "card_kind"
    assert refused(card="A" * (MAX_BYTES * 4 // 3 + 5)) == "card_too_large"


def test_a_file_that_is_absent_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        read_file(tmp_path / "no.safetensors")
    assert refusal.value.cause == "file_unreadable"
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.truncate(2**33)  # on the disk it takes nothing
    with pytest.raises(Refused) as refusal:
        read_file(tmp_path / "a.safetensors")
    assert refusal.value.cause == "card_too_large"

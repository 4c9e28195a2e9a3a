"""Subject cards round-trip, foreign cards are harmless, and the library never replaces a card or leaves its folder."""

from __future__ import annotations

import base64
import errno
import json
import os
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lib_anyms.cards import library as library_module
from lib_anyms.cards.card import KEY, MAX_BYTES, Card, Encoding, read_card, write_card
from lib_anyms.cards.kept_pictures import MAX_SIDE, SIDE, keep
from lib_anyms.cards.library import Library, file_stem, read_file
from lib_anyms.errors import AnyMSError, Refused
from lib_anyms.job.request import Request

ADAPTER, OTHER = "a" * 64, "b" * 64
LINKS = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


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
def test_a_card_round_trips(dtype: torch.dtype) -> None:
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
    assert write_card(card.name, card.role, card.encodings, card.pictures) == data  # the same card gives the same bytes


def test_a_card_may_carry_the_subject_s_own_prompts() -> None:
    prompt, avoid = 'a (red:1.2) fox, "sly"\nwith glasses 🦊', "blur"
    data = write_card("fox", "subject", [encoding()], [], prompt, avoid)
    card = read_card(data, "fox")
    assert (card.prompt, card.avoid) == (prompt, avoid)
    assert write_card("fox", "subject", card.encodings, [], card.prompt, card.avoid) == data
    plain = read_card(card_bytes(), "fox")
    assert (plain.prompt, plain.avoid) == ("", "")
    assert (
        not {"prompt", "avoid"} & json.loads(metadata(card_bytes())).keys()
    )  # such a card is also read by versions that know no prompts


def metadata(data: bytes) -> str:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size])["__metadata__"][KEY]


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
    assert sorted(names) == ["encodings.0.nobody", "encodings.0.tokens", "pictures.0"]
    with safetensors.safe_open(path, "pt") as file:
        assert list(file.metadata()) == [KEY]
        assert json.loads(file.metadata()[KEY])["version"] == 1


# -- cards from others -------------------------------------------------------------------------------------------------


def altered(tensors: dict[str, torch.Tensor | None] | None = None, **changes: Any) -> bytes:
    """A card with changed metadata, and with tensors added, replaced or (None) left out."""
    data = card_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    stored = {**safetensors.torch.load(data), **(tensors or {})}
    present = {name: tensor for name, tensor in stored.items() if tensor is not None}
    return safetensors.torch.save(present, {KEY: json.dumps({**header, **changes})})


def first(**changes: Any) -> list[dict[str, Any]]:
    """The description of the card's first encoding, changed."""
    sound = {"adapter": ADAPTER, "file": "adapter.safetensors", "kind": "base", "fit": "pad", "combine": "average"}
    return [{**sound, **changes}]


def with_tokens(tokens: torch.Tensor | None) -> bytes:
    return altered({"encodings.0.tokens": tokens})


DAMAGED: dict[str, tuple[str, bytes]] = {
    "empty": ("card_kind", b""),
    "zip": ("card_kind", b"PK\x03\x04" + bytes(100)),
    "vast header": ("card_kind", struct.pack("<Q", 2**63) + b"{}"),
    "header over the limit": ("card_kind", struct.pack("<Q", 200_000) + b"[" * 200_000),
    "nested header": ("card_kind", struct.pack("<Q", 60_000) + b"[" * 60_000),
    "no metadata": ("card_kind", safetensors.torch.save({"a": torch.zeros(2)})),
    "metadata is a list": ("card_kind", safetensors.torch.save({"a": torch.zeros(2)}, {KEY: "[]"})),
    "version 2": ("card_version", altered(version=2)),
    "version is a list": ("card_version", altered(version=[1] * 1000)),
    "cut": ("card_damaged", card_bytes()[:-1]),
    "lengthened": ("card_damaged", card_bytes() + b"x"),
    "too large": ("card_too_large", bytes(MAX_BYTES + 1)),
    "unknown field": ("field_unknown", altered(colour="red")),
    "long name": ("field_range", altered(name="x" * 81)),
    "escape sequence in the name": ("card_damaged", altered(name="a\x1b[2Jb")),
    "name is a list": ("field_type", altered(name=["a"])),
    "long prompt": ("field_range", altered(prompt="x" * 4001)),
    "prompt is a number": ("field_type", altered(prompt=5)),
    "avoid is a list": ("field_type", altered(avoid=["blur"])),
    "escape sequence in the prompt": ("card_damaged", altered(prompt="a\x1b[2Jb")),
    "NUL in the text to avoid": ("card_damaged", altered(avoid="a\x00b")),
    "unknown role": ("field_choice", altered(role="boss")),
    "no encoding": ("card_damaged", altered(encodings=[])),
    "nine encodings": ("card_damaged", altered(encodings=first() * 9)),
    "encoding is text": ("card_damaged", altered(encodings=["a"])),
    "adapter is a path": ("card_damaged", altered(encodings=first(adapter="../x"))),
    "unknown kind": ("field_choice", altered(encodings=first(kind="faceid"))),
    "line break in a file name": ("card_damaged", altered(encodings=first(file="a\nb"))),
    "no tokens": ("card_damaged", with_tokens(None)),
    "double tokens": ("card_damaged", with_tokens(torch.zeros(4, 24).double())),
    "narrow tokens": ("card_damaged", with_tokens(torch.zeros(4, 23).half())),
    "too many tokens": ("card_damaged", with_tokens(torch.zeros(8, 24).half())),
    "flat tokens": ("card_damaged", with_tokens(torch.zeros(96).half())),
    "empty tokens": ("card_damaged", with_tokens(torch.zeros(0, 24).half())),
    "NaN": ("card_damaged", with_tokens(torch.full((4, 24), float("nan")).half())),
    "infinity": ("card_damaged", altered({"encodings.0.nobody": torch.full((4, 24), float("inf")).half()})),
    "no unconditional tokens": ("card_damaged", altered({"encodings.0.nobody": None})),
    "picture of floats": ("card_damaged", altered({"pictures.0": torch.zeros(9).half()})),
    "large picture": ("card_damaged", altered({"pictures.0": torch.zeros(600_000, dtype=torch.uint8)})),
    "nine pictures": (
        "card_damaged",
        altered({f"pictures.{n}": torch.zeros(9, dtype=torch.uint8) for n in range(9)}),
    ),
    "unexpected tensor": ("card_damaged", altered({"more": torch.zeros(1)})),
    "tokens without an encoding": ("card_damaged", altered({"encodings.1.tokens": torch.zeros(4, 24).half()})),
}


@pytest.mark.parametrize(("expected", "data"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_cards_are_refused_by_cause(expected: str, data: bytes) -> None:
    assert cause(data) == expected


def test_two_encodings_for_one_adapter_are_refused() -> None:
    with pytest.raises(Refused) as refusal:
        write_card("fox", "subject", [encoding(), encoding()], [])
    assert refusal.value.cause == "card_damaged"


WHOLE = card_bytes()


@settings(max_examples=300)
@given(st.data())
def test_changed_bytes_give_a_card_or_one_sentence(draw: st.DataObject) -> None:
    """Cut, overwritten or lengthened, and never another error."""
    data = bytearray(WHOLE)
    header = 8 + struct.unpack("<Q", WHOLE[:8])[0]
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.one_of(st.integers(0, header), st.integers(0, len(WHOLE) - 1)))
        data[place : place + draw.draw(st.integers(0, 6))] = draw.draw(st.binary(max_size=6))
    sentence = ""
    try:
        card = read_card(bytes(data), "a")
        assert 1 <= len(card.encodings) <= 8
        assert all(torch.isfinite(stored.tokens).all() for stored in card.encodings)
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


@settings(max_examples=300)
@given(
    header=st.dictionaries(st.sampled_from(["version", "name", "role", "encodings", "x"]), JSON),
    known_version=st.booleans(),
)
def test_any_metadata_without_tensors_is_refused(header: dict[str, Any], known_version: bool) -> None:
    text = json.dumps({**header, "version": 1} if known_version else header)
    with pytest.raises(Refused):
        read_card(safetensors.torch.save({"a": torch.zeros(1)}, {KEY: text}), "a")


def test_a_card_s_picture_is_opened_only_as_a_small_png_or_webp(tmp_path: Path) -> None:
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


def test_cards_are_saved_listed_searched_and_found(tmp_path: Path) -> None:
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


def test_no_name_leads_out_of_the_library_and_case_matters(tmp_path: Path) -> None:
    library, outside = Library(tmp_path / "cards"), tmp_path / "secret.safetensors"
    library.add(card_bytes("teapot"))
    outside.write_bytes(card_bytes("secret"))
    paths = [
        "../secret",
        "../secret.safetensors",
        "..\\secret.safetensors",
        str(outside),
        outside.as_uri(),
        "../cards/teapot.safetensors",
    ]
    similar = ["./teapot.safetensors", "teapot.safetensors/", "teapot\0", "TEAPOT", "teapot.SAFETENSORS", "*", "."]
    for name in [*paths, *similar]:
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


@LINKS
def test_a_link_to_a_file_outside_is_not_listed(tmp_path: Path) -> None:
    home = tmp_path / "cards"
    home.mkdir()
    outside = tmp_path / "secret.safetensors"
    outside.write_bytes(card_bytes("secret"))
    (home / "link.safetensors").symlink_to(outside)
    assert Library(home).entries() == []
    with pytest.raises(Refused):
        Library(home).find("link")


@LINKS
def test_nothing_is_written_through_a_link_in_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = iter(["0", "0", "1"])
    monkeypatch.setattr(library_module, "token_hex", lambda _: next(parts))
    home, mine = tmp_path / "cards", tmp_path / "mine"
    home.mkdir()
    mine.write_bytes(b"mine")
    for name in (f".fox.safetensors.{os.getpid()}.0.half", "Fox.safetensors"):
        (home / name).symlink_to(mine)
    assert Library(home).add(card_bytes("fox")) == "fox-2.safetensors"  # names differ not only by case
    (home / f".fox-3.safetensors.{os.getpid()}.0.half").symlink_to(mine)
    assert Library(home).add(card_bytes("fox")) == "fox-3.safetensors"
    assert mine.read_bytes() == b"mine"
    assert not (home / "fox-3.safetensors").is_symlink()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refused) as refusal:
        Library(tmp_path / "file").add(card_bytes())
    assert refusal.value.cause == "card_unwritten"
    assert str(tmp_path) not in str(refusal.value)
    monkeypatch.setattr(Path, "write_bytes", fail_on_a_full_disk)
    with pytest.raises(Refused, match="No space left"):
        Library(tmp_path / "cards").add(card_bytes())
    assert list((tmp_path / "cards").iterdir()) == []


def fail_on_a_full_disk(path: Path, _data: bytes) -> int:
    path.touch()
    raise OSError(28, "No space left on device")


@given(st.text(max_size=90))
def test_every_name_gives_a_valid_file_stem(name: str) -> None:
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
    card = read_card(data, "")
    for source, value in (
        (None, text),
        (None, f"data:;base64,{text}"),
        (library, "fox"),
        (library, file),
        (library, card.hash),
    ):
        result = request(source, card=value)
        assert result.cards == (card,)
        assert result.pictures == ((),)
        assert result.layout.subjects[0].name == "my fox"
        assert result.to_json()["subjects"][0]["card"] == card.hash
        assert "pictures" not in result.to_json()["subjects"][0]
    assert request(images=[picture()]).cards == (None,)
    assert request(images=[picture()], card="").cards == (None,)


def test_cards_that_cannot_be_used_are_refused_by_cause(tmp_path: Path) -> None:
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
        file.truncate(2**33)  # a hole: it takes no space on the disk
    with pytest.raises(Refused) as refusal:
        read_file(tmp_path / "a.safetensors")
    assert refusal.value.cause == "card_too_large"


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "a disk without hard links"])
def test_saves_at_once_lose_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links")

    if not links:
        monkeypatch.setattr(library_module.os, "link", no_link)
    datas = [card_bytes("cat", encoding(f"{number:064x}")) for number in range(24)]
    barrier, names = threading.Barrier(8), []

    def save(part: int) -> None:
        barrier.wait()
        for data in datas[part::8]:
            names.append(Library(tmp_path).add(data))

    threads = [threading.Thread(target=save, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == len(list(tmp_path.glob("*.safetensors"))) == 24
    assert {path.read_bytes() for path in tmp_path.glob("*.safetensors")} == set(datas)
    assert list(tmp_path.glob(".*")) == []

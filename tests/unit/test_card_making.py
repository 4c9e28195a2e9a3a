"""Cards made and used: the same keys and values as from the pictures, without an encoder, and never another adapter's
tokens.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from lib_anyms.cards.card import Card, read_card, write_card
from lib_anyms.cards.fingerprint import fingerprint
from lib_anyms.cards.library import Library
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import read_encoder
from lib_anyms.job import encoding, infotext
from lib_anyms.job.card_making import add_adapter, make_card, save_to_library
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session, close_session, open_session
from lib_anyms.models.model_files import ModelPair
from lib_anyms.webui import doctor
from tests.support.adapter_files import write_adapter, write_encoder
from tests.support.fake_host import FakeHost, sample
from tests.support.tiny_unet import tiny_unet

BOXES = ([0, 0, 0.5, 1], [0.5, 0, 1, 0.5], [0.25, 0.25, 1, 1])


def picture(colour: str) -> Image.Image:
    drawn = Image.new("RGB", (40, 30), "white")
    ImageDraw.Draw(drawn).ellipse((5, 5, 35, 25), fill=colour)
    return drawn


def pair_of(folder: Path, adapter: str = "adapter") -> ModelPair:
    return ModelPair(read_adapter(folder / f"{adapter}.safetensors"), read_encoder(folder / "encoder.safetensors"))


def card_of(folder: Path, colour: str, dtype: torch.dtype = torch.float32, **how: Any) -> Card:
    return read_card(make_card(colour, "subject", [picture(colour)], [pair_of(folder)], dtype=dtype, **how), colour)


def request(*subjects: Any, **settings: Any) -> Request:
    """Each subject a colour, whose picture is meant, or a card."""
    given = [
        {
            "name": f"s{n}",
            "box": BOXES[n],
            "weight": 1 - n / 4,
            **({"card": each} if isinstance(each, Card) else {"images": [picture(each)]}),
        }
        for n, each in enumerate(subjects)
    ]
    return Request.from_json({"subjects": given, "scale": 1, **settings})


def output(folder: Path, wanted: Request, host: FakeHost | None = None) -> torch.Tensor:
    """Of one step with conditional and unconditional rows."""
    opened = open_session(Session(host or FakeHost(tiny_unet(), folder), job=object()))
    opened.begin_pass(wanted)
    opened.begin_step(SimpleNamespace(progress=0.0))
    made = sample(opened.host.unet())
    close_session()
    encoding.kept.clear()
    return made


@pytest.mark.parametrize(
    "settings",
    [{}, {"unconditional": "cond-only"}, {"mode": "masked-sum"}, {"mode": "one-softmax"}],
    ids=lambda each: str(each),
)
def test_a_card_gives_the_very_picture_its_pictures_give(folder: Path, settings: dict[str, Any]) -> None:
    red, blue, lime = (card_of(folder, colour) for colour in ("red", "blue", "lime"))
    expected = output(folder, request("red", "blue", "lime", **settings))
    assert torch.equal(output(folder, request(red, "blue", lime, **settings)), expected)
    assert torch.equal(output(folder, request(red, blue, lime, **settings)), expected)
    assert not torch.equal(output(folder, request(red, blue, red, **settings)), expected)


def test_half_precision_moves_it_by_a_thousandth(folder: Path) -> None:
    expected, plain = output(folder, request("red", "blue")), sample(tiny_unet())
    half = output(folder, request(card_of(folder, "red", torch.float16), card_of(folder, "blue", torch.float16)))
    effect = (expected - plain).abs().max()
    assert 0 < (half - expected).abs().max() <= 1e-3 * effect


def test_only_cards_need_no_encoder(folder: Path) -> None:
    expected = output(folder, request("red", "blue"))
    cards = [card_of(folder, colour) for colour in ("red", "blue")]
    (folder / "encoder.safetensors").unlink()
    host = FakeHost(tiny_unet(), folder)
    assert torch.equal(output(folder, request(*cards), host), expected)
    assert host.room == []  # nothing to load
    with pytest.raises(Refused) as refusal:
        output(folder, request(cards[0], "blue"))
    assert refusal.value.cause == "encoder_absent"


def test_the_report_says_that_there_was_no_encoder(folder: Path) -> None:
    opened = open_session(Session(FakeHost(tiny_unet(), folder), job=object()))
    opened.begin_pass(request(card_of(folder, "red")))
    pair = opened.report().pair
    assert pair.encoder is None
    assert "encoder: none, every subject has a card" in list(doctor._pair(pair))


def test_fit_and_combine_are_the_card_s_own(folder: Path) -> None:
    whole = request("red")
    two = replace(whole, pictures=((picture("red"), picture("blue")),), combine="concatenate", fit="stretch")
    data = make_card("two", "subject", two.pictures[0], [pair_of(folder)], "stretch", "concatenate", torch.float32)
    card = read_card(data, "two")
    assert len(card.encodings[0].tokens) == 2 * len(card.encodings[0].uncond)
    assert torch.equal(output(folder, request(card, fit="pad", combine="average")), output(folder, two))


# -- which adapter -----------------------------------------------------------------------------------------------------


def test_a_card_for_another_adapter_is_refused_in_one_sentence(folder: Path) -> None:
    card = card_of(folder, "red")
    write_adapter(folder / "adapter.safetensors", tiny_unet(), seed=5)
    with pytest.raises(Refused) as refusal:
        output(folder, request(card))
    assert refusal.value.cause == "card_adapter"
    for words in ("'red'", "adapter.safetensors", "card add", "Use its pictures"):
        assert words in str(refusal.value)


def test_auto_takes_the_adapter_the_cards_are_for(folder: Path) -> None:
    expected = output(folder, request("red"))
    card = card_of(folder, "red")
    write_adapter(folder / "a-first.safetensors", tiny_unet(), seed=5)
    assert not torch.equal(output(folder, request("red")), expected)
    assert torch.equal(output(folder, request(card)), expected)
    assert torch.equal(output(folder, request("red", adapter="adapter")), expected)
    with pytest.raises(Refused) as refusal:
        output(folder, request(card, adapter="a-first"))
    assert refusal.value.cause == "card_adapter"


def test_an_adapter_is_told_by_its_projection_whatever_its_file(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    whole = read_adapter(folder / "adapter.safetensors")
    state = load_file(whole.path)
    half = {name.replace("image_proj.", "image_proj_model."): tensor.half() for name, tensor in state.items()}
    save_file(
        {name.replace("ip_adapter.", "adapter_modules."): tensor for name, tensor in half.items()},
        folder / "b.safetensors",
    )
    assert fingerprint(read_adapter(folder / "b.safetensors")) == fingerprint(whole)
    state["image_proj.norm.bias"][0] += 0.01
    save_file(state, folder / "c.safetensors")
    assert fingerprint(read_adapter(folder / "c.safetensors")) != fingerprint(whole)
    before = fingerprint(whole)
    write_adapter(whole.path, tiny_unet(), seed=9)  # the same name and size
    assert fingerprint(whole) != before


def test_one_more_adapter_from_the_kept_picture(folder: Path) -> None:
    card = card_of(folder, "red")
    write_adapter(folder / "b.safetensors", tiny_unet(), seed=5)
    both = read_card(add_adapter(card, pair_of(folder, "b")), "red")
    assert [each.file for each in both.encodings] == ["adapter.safetensors", "b.safetensors"]
    assert torch.equal(both.encodings[0].tokens, card.encodings[0].tokens)
    assert both.pictures == card.pictures
    theirs = read_card(
        make_card("red", "subject", [picture("red")], [pair_of(folder, "b")], dtype=torch.float32), "red"
    )
    mine, wanted = both.encodings[1].tokens.flatten(), theirs.encodings[0].tokens.flatten()
    assert torch.cosine_similarity(mine, wanted, 0) > 0.99  # the kept picture is a lossy copy
    assert output(folder, request(both, adapter="b")).shape == output(folder, request(both, adapter="adapter")).shape
    again = read_card(add_adapter(both, pair_of(folder, "b")), "red")
    assert [each.file for each in again.encodings] == ["adapter.safetensors", "b.safetensors"]


def test_a_card_without_pictures_cannot_be_encoded_anew(folder: Path) -> None:
    card = card_of(folder, "red")
    bare = read_card(write_card(card.name, card.role, card.encodings, []), "bare")
    with pytest.raises(Refused) as refusal:
        add_adapter(bare, pair_of(folder))
    assert refusal.value.cause == "card_pictures"
    full = [replace(card.encodings[0], adapter=f"{n:064x}") for n in range(8)]
    with pytest.raises(Refused) as refusal:
        add_adapter(read_card(write_card("full", "subject", full, card.pictures), "full"), pair_of(folder))
    assert refusal.value.cause == "card_full"


# -- from a request ----------------------------------------------------------------------------------------------------


def test_a_request_s_subject_is_saved_without_being_encoded_again(folder: Path, encodings: list[int]) -> None:
    opened = open_session(Session(FakeHost(tiny_unet(), folder), job=object()))
    opened.begin_pass(request("red", "blue"))
    assert len(encodings) == 1
    library = Library(folder / "cards")
    given = {"subjects": [{"name": "ball", "role": "attribute", "images": [picture("red")]}]}
    assert save_to_library(given, library, [folder], tiny_unet()) == "ball.safetensors"
    assert len(encodings) == 1
    card = library.find("ball")
    assert (card.name, card.role, card.encodings[0].file) == ("ball", "attribute", "adapter.safetensors")
    assert card.encodings[0].tokens.dtype == torch.float16
    for wrong, cause in (
        ({"subjects": []}, "subject_count"),
        ({"subjects": given["subjects"] * 2}, "subject_count"),
        ({"subjects": [5]}, "field_type"),
        ({"subjects": [{"card": "ball"}]}, "card_already"),
        ([], "request_form"),
    ):
        with pytest.raises(Refused) as refusal:
            save_to_library(wrong, library, [folder], tiny_unet())
        assert refusal.value.cause == cause
    with pytest.raises(Refused) as refusal:
        save_to_library(given, library, [folder], None)
    assert refusal.value.cause == "card_model"
    assert len(library.entries()) == 1


def test_an_infotext_carries_the_card_s_hash_and_is_a_request_where_the_library_has_it(
    folder: Path, tmp_path: Path
) -> None:
    card = card_of(folder, "red")
    made = request(card, "blue")
    told = infotext.read(infotext.write(made))
    assert told.cards == (card.hash, "")
    assert told.pictures[0] == ()
    assert len(told.pictures[1]) == 1
    library = Library(tmp_path / "cards")
    alone = request(card).to_json()
    with pytest.raises(Refused) as refusal:
        Request.from_json(alone, library)
    assert refusal.value.cause == "card_unknown"
    library.add(make_card("red", "subject", [picture("red")], [pair_of(folder)], dtype=torch.float32))
    assert Request.from_json(alone, library) == request(card)
    for wrong in ("x", 5, ["0" * 12], "0" * 13):
        with pytest.raises(Refused) as refusal:
            infotext.read(
                infotext.write(made).replace(f'"{card.hash}"', str(wrong).replace("'", '"') if wrong != "x" else '"x"')
            )
        assert refusal.value.cause == "infotext_damaged"


def test_the_encoder_file_alone_does_not_make_other_tokens(folder: Path) -> None:
    """A card's tokens are of its adapter and the encoder it was made with; that encoder may be gone or another."""
    card = card_of(folder, "red")
    expected = output(folder, request(card))
    write_encoder(folder / "encoder.safetensors", seed=7)
    assert torch.equal(output(folder, request(card)), expected)

"""Making and using cards: the keys and values of their pictures, without an encoder, only for their adapter."""

from __future__ import annotations

import json
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
from lib_anyms.job import infotext
from lib_anyms.job.card_making import add_adapter, make_card, save_to_library
from lib_anyms.job.live_sessions import close_session, open_session
from lib_anyms.job.request import Request
from lib_anyms.job.session import Session
from lib_anyms.job.token_cache import TokenCache
from lib_anyms.models.model_files import ModelPair
from lib_anyms.runtime import runtime
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
    """Each subject is a colour, which stands for its picture, or a card."""
    items = []
    for number, subject in enumerate(subjects):
        images = {"card": subject} if isinstance(subject, Card) else {"images": [picture(subject)]}
        items.append({"name": f"s{number}", "box": BOXES[number], "weight": 1 - number / 4, **images})
    return Request.from_json({"subjects": items, "scale": 1, **settings})


def output(folder: Path, job_request: Request, host: FakeHost | None = None) -> torch.Tensor:
    """The UNet's output in one step, with conditional and unconditional batch entries."""
    opened = open_session(Session(host or FakeHost(tiny_unet(), folder), job=object()))
    opened.begin_pass(job_request)
    opened.begin_step(SimpleNamespace(progress=0.0))
    output = sample(opened.host.unet())
    close_session()
    runtime.of(TokenCache).clear()
    return output


@pytest.mark.parametrize(
    "settings",
    [{}, {"unconditional": "cond-only"}, {"mode": "masked-sum"}, {"mode": "one-softmax"}],
    ids=str,
)
def test_a_card_gives_the_very_picture_of_its_pictures(folder: Path, settings: dict[str, Any]) -> None:
    red, blue, lime = (card_of(folder, colour) for colour in ("red", "blue", "lime"))
    expected = output(folder, request("red", "blue", "lime", **settings))
    assert torch.equal(output(folder, request(red, "blue", lime, **settings)), expected)
    assert torch.equal(output(folder, request(red, blue, lime, **settings)), expected)
    assert not torch.equal(output(folder, request(red, blue, red, **settings)), expected)


def test_half_precision_changes_the_output_by_a_thousandth(folder: Path) -> None:
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
    original = request("red")
    two = replace(original, pictures=((picture("red"), picture("blue")),), combine="concatenate", fit="stretch")
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


def test_auto_chooses_the_adapter_of_the_cards(folder: Path) -> None:
    expected = output(folder, request("red"))
    card = card_of(folder, "red")
    write_adapter(folder / "a-first.safetensors", tiny_unet(), seed=5)
    assert not torch.equal(output(folder, request("red")), expected)
    assert torch.equal(output(folder, request(card)), expected)
    assert torch.equal(output(folder, request("red", adapter="adapter")), expected)
    with pytest.raises(Refused) as refusal:
        output(folder, request(card, adapter="a-first"))
    assert refusal.value.cause == "card_adapter"


def test_an_adapter_is_recognised_by_its_projection(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    original = read_adapter(folder / "adapter.safetensors")
    state = load_file(original.path)
    half = {name.replace("image_proj.", "image_proj_model."): tensor.half() for name, tensor in state.items()}
    save_file(
        {name.replace("ip_adapter.", "adapter_modules."): tensor for name, tensor in half.items()},
        folder / "b.safetensors",
    )
    assert fingerprint(read_adapter(folder / "b.safetensors")) == fingerprint(original)
    state["image_proj.norm.bias"][0] += 0.01
    save_file(state, folder / "c.safetensors")
    assert fingerprint(read_adapter(folder / "c.safetensors")) != fingerprint(original)
    before = fingerprint(original)
    write_adapter(original.path, tiny_unet(), seed=9)  # the same name and size
    assert fingerprint(original) != before


def test_one_more_adapter_from_the_kept_picture(folder: Path) -> None:
    card = card_of(folder, "red")
    write_adapter(folder / "b.safetensors", tiny_unet(), seed=5)
    both = read_card(add_adapter(card, pair_of(folder, "b")), "red")
    assert [each.file for each in both.encodings] == ["adapter.safetensors", "b.safetensors"]
    assert torch.equal(both.encodings[0].tokens, card.encodings[0].tokens)
    assert both.pictures == card.pictures
    direct = read_card(
        make_card("red", "subject", [picture("red")], [pair_of(folder, "b")], dtype=torch.float32), "red"
    )
    added, expected = both.encodings[1].tokens.flatten(), direct.encodings[0].tokens.flatten()
    assert torch.cosine_similarity(added, expected, 0) > 0.99  # the kept picture is a lossy copy
    assert output(folder, request(both, adapter="b")).shape == output(folder, request(both, adapter="adapter")).shape
    again = read_card(add_adapter(both, pair_of(folder, "b")), "red")
    assert [each.file for each in again.encodings] == ["adapter.safetensors", "b.safetensors"]


def test_a_card_without_pictures_cannot_be_encoded_again(folder: Path) -> None:
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
    data = {"subjects": [{"name": "ball", "role": "attribute", "images": [picture("red")]}]}
    assert save_to_library(data, library, [folder], tiny_unet()) == "ball.safetensors"
    assert len(encodings) == 1
    card = library.find("ball")
    assert (card.name, card.role, card.encodings[0].file) == ("ball", "attribute", "adapter.safetensors")
    assert card.encodings[0].tokens.dtype == torch.float16
    for wrong, cause in (
        ({"subjects": []}, "subject_count"),
        ({"subjects": data["subjects"] * 2}, "subject_count"),
        ({"subjects": [5]}, "field_type"),
        ({"subjects": [{"card": "ball"}]}, "card_already"),
        ([], "request_form"),
    ):
        with pytest.raises(Refused) as refusal:
            save_to_library(wrong, library, [folder], tiny_unet())
        assert refusal.value.cause == cause
    with pytest.raises(Refused) as refusal:
        save_to_library(data, library, [folder], None)
    assert refusal.value.cause == "card_model"
    assert len(library.entries()) == 1


def test_an_infotext_carries_the_card_s_hash_and_is_a_request_where_the_library_has_it(
    folder: Path, tmp_path: Path
) -> None:
    card = card_of(folder, "red")
    original = request(card, "blue")
    recalled = infotext.read(infotext.write(original))
    assert recalled.cards == (card.hash, "")
    assert recalled.pictures[0] == ()
    assert len(recalled.pictures[1]) == 1
    library = Library(tmp_path / "cards")
    alone = request(card).to_json()
    with pytest.raises(Refused) as refusal:
        Request.from_json(alone, library)
    assert refusal.value.cause == "card_unknown"
    library.add(make_card("red", "subject", [picture("red")], [pair_of(folder)], dtype=torch.float32))
    assert Request.from_json(alone, library) == request(card)
    for wrong in ("x", 5, ["0" * 12], "0" * 13):
        with pytest.raises(Refused) as refusal:
            infotext.read(json.dumps(original.to_json()).replace(f'"{card.hash}"', json.dumps(wrong)))
        assert refusal.value.cause == "infotext_damaged"
    for wrong in ("x", "", f"{card.hash} {card.hash}"):
        with pytest.raises(Refused) as refusal:
            infotext.read(infotext.write(original).replace(card.hash, wrong))
        assert refusal.value.cause == "infotext_hash"


def test_another_encoder_file_does_not_change_the_tokens(folder: Path) -> None:
    """A card keeps the tokens of its first encoder. That file may be gone, or be another one."""
    card = card_of(folder, "red")
    expected = output(folder, request(card))
    write_encoder(folder / "encoder.safetensors", seed=7)
    assert torch.equal(output(folder, request(card)), expected)

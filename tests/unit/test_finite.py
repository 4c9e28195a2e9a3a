"""Weights and tokens that give NaN, infinite or huge values are refused by name before a black picture is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lib_anyms.cards.card import read_card, write_card
from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.checkpoint import read_adapter
from lib_anyms.ip_adapter.encoder import CONFIG_KEY, read_encoder
from lib_anyms.job.card_making import make_card
from lib_anyms.job.prepare import prepare
from lib_anyms.job.request import Request
from lib_anyms.job.token_cache import TokenCache
from lib_anyms.models.model_files import ModelPair
from lib_anyms.runtime import runtime
from tests.support.adapter_files import VISION, write_adapter, write_encoder
from tests.support.fake_host import FakeHost
from tests.support.tiny_unet import tiny_unet

BAD = {"NaN": float("nan"), "infinity": float("inf"), "huge": 1e38}
PLACES = {
    "adapter's key": ("adapter", "ip_adapter.3.to_k_ip.weight"),
    "adapter's value": ("adapter", "ip_adapter.33.to_v_ip.weight"),
    "adapter's projection": ("adapter", "image_proj.norm.weight"),
    "encoder": ("encoder", "visual_projection.weight"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_adapter(tmp_path / "adapter.safetensors", tiny_unet())
    write_encoder(tmp_path / "encoder.safetensors")
    runtime.of(TokenCache).clear()
    return tmp_path


def pair_of(folder: Path) -> ModelPair:
    return ModelPair(read_adapter(folder / "adapter.safetensors"), read_encoder(folder / "encoder.safetensors"))


def spoil(path: Path, key: str, value: float) -> None:
    state = load_file(path)
    state[key].view(-1)[1] = value
    save_file(state, path, {CONFIG_KEY: json.dumps(VISION)})


def request(*subjects: object) -> Request:
    """Each subject is a picture or a card."""
    items = []
    for number, subject in enumerate(subjects):
        images = {"images": [subject]} if isinstance(subject, Image.Image) else {"card": subject}
        items.append({"name": f"s{number}", "box": [0, 0, 1, 1], **images})
    return Request.from_json({"subjects": items})


def picture(colour: str = "red") -> Image.Image:
    return Image.new("RGB", (30, 40), colour)


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
@pytest.mark.parametrize(("file", "key"), PLACES.values(), ids=PLACES)
def test_bad_weights_are_refused_with_the_file_s_name(folder: Path, file: str, key: str, value: float) -> None:
    spoil(folder / f"{file}.safetensors", key, value)
    with pytest.raises(Refused) as refusal:
        prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request(picture(), picture("blue")))
    assert refusal.value.cause == "file_not_finite"
    assert f"{file}.safetensors" in str(refusal.value)


def test_tokens_of_bad_weights_are_never_cached(folder: Path) -> None:
    spoil(folder / "encoder.safetensors", "visual_projection.weight", float("nan"))
    with pytest.raises(Refused):
        prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request(picture()))
    assert runtime.of(TokenCache).bytes == 0


def test_no_card_is_made_with_bad_weights(folder: Path) -> None:
    spoil(folder / "adapter.safetensors", "image_proj.proj.bias", float("nan"))
    with pytest.raises(Refused) as refusal:
        make_card("cat", "subject", [picture()], [pair_of(folder)])
    assert refusal.value.cause == "file_not_finite"


@pytest.mark.parametrize("part", ["tokens", "uncond"])
@pytest.mark.parametrize("beside", [(), (picture("blue"),)], ids=["alone", "beside a picture"])
def test_a_card_of_huge_numbers_is_refused_by_its_name(folder: Path, part: str, beside: tuple[object, ...]) -> None:
    card = read_card(make_card("big cat", "subject", [picture()], [pair_of(folder)], dtype=torch.float32), "cat")
    getattr(card.encodings[0], part).fill_(3e38)
    huge = read_card(write_card(card.name, card.role, card.encodings, card.pictures), "cat")
    with pytest.raises(Refused) as refusal:
        prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request(huge, *beside))
    assert refusal.value.cause == "tokens_not_finite"
    assert "big cat" in str(refusal.value)


def test_sound_weights_pass(folder: Path) -> None:
    keys_values, notes = prepare(FakeHost(tiny_unet(), folder), pair_of(folder), request(picture()))
    assert all(torch.isfinite(tensor).all() for pair in keys_values.layers for tensor in pair)
    assert notes == ()

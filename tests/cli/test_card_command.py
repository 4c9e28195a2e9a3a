"""`python -m lib_anyms card`, `cut`, and cards in `demo`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lib_anyms.cards.library import read_file
from lib_anyms.errors import Refused
from lib_anyms.standalone import demo
from lib_anyms.standalone.commands import card as card_command
from lib_anyms.standalone.commands import cut as cut_command
from lib_anyms.standalone.subjects import parse_subject
from tests.support.files import random_files


def run(module, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args(list(arguments)))


def refused(module, *arguments: str) -> str:
    with pytest.raises(Refused) as refusal:
        run(module, *arguments)
    return refusal.value.cause


def adapter(*kinds: str) -> list[str]:
    files = random_files()
    options = ["--encoder", str(files.encoder)]
    for kind in reversed(kinds):
        options = ["--adapter", str(files.adapters[kind]), *options]
    return options


@pytest.fixture
def fox(tmp_path: Path) -> Path:
    drawn = Image.new("RGB", (60, 80), "white")
    ImageDraw.Draw(drawn).ellipse((10, 10, 50, 70), fill="orange")
    drawn.save(tmp_path / "fox.png")
    return tmp_path / "fox.png"


def test_a_card_is_saved_shown_and_extended_by_an_adapter(fox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = fox.with_suffix(".safetensors")
    words = ("--prompt", "a sly fox", "--avoid", "blur")
    assert (
        run(card_command, "save", str(card), "--name", "red fox", "--picture", str(fox), *words, *adapter("plus")) == 0
    )
    text = capsys.readouterr().out
    assert "\nprompt: a sly fox\navoid: blur\n" in text
    assert f"hash {read_file(card).hash}" in text
    assert "red fox (subject), 1 pictures stored" in text
    assert "16 tokens of" in text
    assert run(card_command, "add", str(card), *adapter("base")) == 0
    assert [encoding.kind for encoding in read_file(card).encodings] == ["plus", "base"]
    assert (read_file(card).prompt, read_file(card).avoid) == ("a sly fox", "blur")
    assert run(card_command, "show", str(card), "--pictures", str(fox.parent / "shown")) == 0
    assert Image.open(fox.parent / "shown" / "fox-1.png").size == (60, 80)
    assert not list(fox.parent.glob(".*"))


def test_a_bad_request_is_refused_and_nothing_is_written(fox: Path) -> None:
    card = fox.with_name("new.safetensors")
    save = ("save", str(card), "--name", "fox")
    wrong_suffix = ("save", str(fox), *save[2:])
    assert refused(card_command, *wrong_suffix, "--picture", str(fox), *adapter("plus")) == "card_suffix"
    assert refused(card_command, *save, "--picture", str(fox) + "x", *adapter("plus")) == "cli_file"
    assert refused(card_command, *save, *["--picture", str(fox)] * 9, *adapter("plus")) == "picture_count"
    assert refused(card_command, *save, "--picture", str(fox), *adapter("plus")[:2]) == "cli_needs"
    assert refused(card_command, "show", str(fox)) == "card_kind"
    assert not card.exists()
    card.write_bytes(b"mine")
    assert refused(card_command, *save, "--picture", str(fox), *adapter("plus")) == "card_taken"
    assert card.read_bytes() == b"mine"


def test_demo_takes_a_card_for_a_subject_without_an_encoder(fox: Path) -> None:
    card = fox.with_suffix(".safetensors")
    run(card_command, "save", str(card), "--name", "fox", "--picture", str(fox), "--float32", *adapter("plus"))
    files, out = random_files(), fox.parent / "out"
    models = ["--checkpoint", str(files.checkpoint), "--adapter", str(files.adapters["plus"])]
    fast = ["--size", "128x64", "--steps", "2", "--out", str(out), "--prompt", "a fox"]
    pictures = {}
    for kind, subject, encoder in (("card", card, []), ("picture", fox, ["--encoder", str(files.encoder)])):
        assert run(demo, *models, *encoder, *fast, "--subject", f"fox={subject}@0,0,0.5,1:1.2") == 0
        pictures[kind] = np.asarray(Image.open(out / "picture.png"))
        stored = json.loads((out / "result.json").read_text(encoding="utf-8"))["request"]["subjects"][0]
        assert stored["weight"] == 1.2
        assert ("card" in stored, "pictures" in stored) == (kind == "card", kind == "picture")
        orange = (np.asarray(Image.open(out / "sheet.png")) == (255, 165, 0)).all(-1)
        assert orange.any() or kind == "card"  # a card's picture is compressed
    assert np.array_equal(pictures["card"], pictures["picture"])
    assert refused(demo, *models, *fast, "--subject", f"fox={fox}@0,0,1,1") == "cli_needs"


def test_a_card_stands_alone_for_its_subject() -> None:
    assert parse_subject("fox=a.SAFETENSORS@0,0,1,1:0.5").card == Path("a.SAFETENSORS")
    assert parse_subject("fox=a.png@0,0,1,1").card is None
    with pytest.raises(Refused) as refusal:
        parse_subject("fox=a.png,b.safetensors@0,0,1,1")
    assert refusal.value.cause == "card_and_pictures"


def test_a_subject_is_cut_out(fox: Path) -> None:
    out = fox.with_name("cut.png")
    mask = Image.new("L", (60, 80), 255)
    mask.paste(0, (30, 0, 60, 80))
    mask.save(fox.with_name("mask.png"))
    assert run(cut_command, str(fox), str(out), "--crop", "0,0,0.5,1") == 0
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(Image.open(fox))[:, :30])
    assert refused(cut_command, str(fox), str(out)) == "card_taken"
    out.unlink()
    assert run(cut_command, str(fox), str(out), "--mask", str(fox.with_name("mask.png"))) == 0
    assert (np.asarray(Image.open(out))[:, 30:] == 255).all()
    assert np.array_equal(np.asarray(Image.open(out))[:, :30], np.asarray(Image.open(fox))[:, :30])
    out.unlink()
    assert refused(cut_command, str(fox), str(out), "--crop", "0,0,x") == "box_form"
    assert refused(cut_command, str(fox), str(out), "--remove-background") == "rembg_absent"
    assert not out.exists()

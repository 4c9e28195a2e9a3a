"""`python -m lib_anyms demo` from its arguments to its three files."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.geometry import Box
from lib_anyms.layout import Layout, Subject
from lib_anyms.standalone import demo
from lib_anyms.standalone.subjects import parse_subject, place_subjects
from tests.support.files import random_files

ROOT = Path(__file__).parents[2]
FAST = ["--size", "128x64", "--steps", "2"]


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(list(arguments))


def models() -> list[str]:
    files = random_files()
    return ["--checkpoint", str(files.checkpoint), "--adapter", str(files.adapters["plus"]), "--encoder", str(files.encoder)]


def made(out: Path, *arguments: str) -> np.ndarray:
    assert demo.run(parsed("--out", str(out), *FAST, *models(), *arguments)) == 0
    return np.asarray(Image.open(out / "picture.png"))


def refused(*arguments: str) -> str:
    with pytest.raises(Refused) as refusal:
        demo.run(parsed(*arguments))
    return refusal.value.cause


# -- subjects -------------------------------------------------------------------------------------------------------------


def test_a_subject_is_split_at_the_first_equals_and_the_last_at() -> None:
    subject = parse_subject("my cat=a=b@c.png,second@home.png@0.1,0,0.5,1:1.5")
    assert subject.name == "my cat"
    assert [str(file) for file in subject.files] == ["a=b@c.png", "second@home.png"]
    assert subject.box == Box(0.1, 0, 0.5, 1)
    assert subject.weight == 1.5
    assert parse_subject("cat=me@home.png").box is None
    assert parse_subject("cat=C:\\my pictures\\cat.png@0,0,1,1").files == (Path("C:\\my pictures\\cat.png"),)


@pytest.mark.parametrize("text", ["cat", "cat=", "=cat.png@0,0,1,1", "cat=@0,0,1,1", "cat=a.png,,b.png@0,0,1,1", ""])
def test_a_subject_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_subject(text)
    assert refusal.value.cause == "cli_subject"


@pytest.mark.parametrize(
    ("text", "cause"),
    [("cat=a.png@0,0,1", "box_form"), ("cat=a.png@0.5,0,0.5,1", "box_empty"), ("cat=a.png@2,2,3,3", "box_outside")],
)
def test_a_bad_box_is_refused(text: str, cause: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_subject(text)
    assert refusal.value.cause == cause


def test_boxes_come_from_the_subjects_or_from_a_file_but_not_from_both(tmp_path: Path) -> None:
    file = tmp_path / "layout.json"
    layout = Layout((Subject("hat", Box(0, 0, 0.5, 0.5), role="attribute"), Subject("sea", Box(0, 0, 1, 1), role="background")))
    file.write_text(json.dumps(layout.to_json()), encoding="utf-8")
    bare, boxed = parse_subject("cat=a.png"), parse_subject("cat=a.png@0,0,1,1")
    assert place_subjects([bare, bare], file) == layout  # its order and its names
    assert place_subjects([boxed], None).subjects == (Subject("cat", Box(0, 0, 1, 1)),)
    causes = {}
    for name, arguments in {
        "both": ([boxed, bare], file),
        "count": ([bare], file),
        "neither": ([bare], None),
        "absent": ([bare], tmp_path / "no.json"),
    }.items():
        with pytest.raises(Refused) as refusal:
            place_subjects(*arguments)
        causes[name] = refusal.value.cause
    assert causes == {"both": "cli_box_twice", "count": "cli_layout_count", "neither": "cli_box_missing", "absent": "cli_file"}
    file.write_text("{", encoding="utf-8")
    with pytest.raises(Refused, match=r"layout\.json cannot be read"):
        place_subjects([bare], file)


def test_bad_arguments_are_refused_by_cause(tmp_path: Path) -> None:
    files = models()
    assert refused("--adapter", "a.safetensors") == "cli_needs"
    assert refused(*files[:4]) == "cli_needs"
    assert refused(*files[:5], str(tmp_path / "no.safetensors")) == "cli_file"
    assert refused(*files, "--layout", "l.json") == "cli_needs"
    assert refused(*files, "--subject", f"cat={tmp_path / 'no.png'}@0,0,1,1") == "cli_file"
    assert refused(*files, "--size", "100") == refused(*files, "--size", "8x8x8") == "cli_size"
    assert refused(*files, "--steps", "0") == "field_range"
    assert refused(*files, "--scale", "9") == "field_range"


# -- pictures -------------------------------------------------------------------------------------------------------------


def test_it_writes_a_picture_a_layout_and_a_result(tmp_path: Path) -> None:
    picture = made(tmp_path, "--seed", "7")
    assert picture.shape == (64, 128, 3)
    drawn = np.asarray(Image.open(tmp_path / "layout.png"))
    assert drawn.shape == picture.shape
    assert 0.02 < (drawn != picture).any(-1).mean() < 0.7  # boxes and names, not the whole picture
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (result["seed"], result["steps"], result["size"], result["layers"], result["unet_calls"]) == (7, 2, [128, 64], 17, 2)
    assert {"torch", "diffusers", "anyms"} <= set(result["versions"])
    assert result["seconds"] > 0
    assert result["command"].startswith("python -m lib_anyms ")
    assert [subject["name"] for subject in result["request"]["subjects"]] == ["red ball", "blue house"]


def test_seeds_repeat_and_every_setting_counts(tmp_path: Path) -> None:
    base = made(tmp_path)
    assert np.array_equal(made(tmp_path), base)
    changes = {"seed": "1", "scale": "1.5", "mode": "global-sum", "unconditional": "cond-only", "prompt": "sea"}
    for name, value in changes.items():
        assert not np.array_equal(made(tmp_path, f"--{name}", value), base), name
    off = made(tmp_path, "--mode", "off")
    assert json.loads((tmp_path / "result.json").read_text())["unet_calls"] == 0
    assert np.array_equal(made(tmp_path, "--scale", "0"), off)
    assert not np.array_equal(off, base)


def test_own_pictures_several_a_subject(tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{colour} é.png")
    red, blue = tmp_path / "red é.png", tmp_path / "blue é.png"
    one = made(tmp_path, "--subject", f"cat={red}@0,0,0.5,1")
    two = made(tmp_path, "--subject", f"cat={red},{blue}@0,0,0.5,1")
    moved = made(tmp_path, "--subject", f"cat={red}@0.5,0,1,1")
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, moved)


def test_the_default_model_says_that_it_is_random(tmp_path: Path) -> None:
    environ = {**os.environ, "ANYMS_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    command = [sys.executable, "-m", "lib_anyms", "demo", "--here", "--out", str(tmp_path / "out"), *FAST]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    assert "random weights" in done.stdout.splitlines()[0]
    assert "70 layers in each of 2 UNet calls" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["layout.png", "picture.png", "result.json"]
    assert "Traceback" not in done.stderr


def test_a_refusal_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lib_anyms", "demo", "--here", "--out", str(tmp_path / "out")]
    command += ["--subject", "cat=no.png@0,0,1,1"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ANYMS_HOME": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("AnyMS: no.png cannot be read")
    assert not (tmp_path / "out").exists()

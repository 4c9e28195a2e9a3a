"""`python -m lib_anyms demo` from its arguments to its four files."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lib_anyms.errors import Refused, SteppedAside
from lib_anyms.lab import demo_scene
from lib_anyms.lab.world.captions import prompt
from lib_anyms.lab.world.identity import Identity
from lib_anyms.lab.world.scene import Figure
from lib_anyms.layout.geometry import Box, TokenGrid
from lib_anyms.layout.layout import Layout, Subject
from lib_anyms.standalone import bundle, default_scene, demo, generate
from lib_anyms.standalone.cli import REFUSED, main
from lib_anyms.standalone.drawing import draw_layout, draw_sheet
from lib_anyms.standalone.structure import SPRITES, attn2_layers
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
    return [
        "--checkpoint",
        str(files.checkpoint),
        "--adapter",
        str(files.adapters["plus"]),
        "--encoder",
        str(files.encoder),
    ]


def picture_of(out: Path, *arguments: str) -> np.ndarray:
    assert demo.run(parsed("--out", str(out), *FAST, *models(), *arguments)) == 0
    return np.asarray(Image.open(out / "picture.png"))


def refused(*arguments: str) -> str:
    with pytest.raises(Refused) as refusal:
        demo.run(parsed(*arguments))
    return refusal.value.cause


# -- silhouettes -------------------------------------------------------------------------------------------------------


def shaped(tmp_path: Path, *arguments: str) -> Layout:
    """The layout of a cat in the whole image and an owl over it, with silhouettes."""
    half = Image.new("L", (8, 8))
    half.paste(255, (0, 0, 4, 8))
    half.save(tmp_path / "half.png")
    args = parsed("--subject", "cat=a.png@0,0,1,1", "--subject", "owl=b.png@0,0,1,1", *arguments)
    return demo._described(place_subjects([parse_subject(text) for text in args.subject], None), args)


def test_a_subject_s_silhouette_is_a_file(tmp_path: Path) -> None:
    layout = shaped(tmp_path, "--subject-silhouette", f"owl={tmp_path / 'half.png'}", "--subject-prompt", "cat=a cat")
    assert layout.owner_map(TokenGrid(1, 4)) == [1, 1, 0, 0]
    assert [subject.prompt for subject in layout.subjects] == ["a cat", ""]


@pytest.mark.parametrize(
    ("argument", "cause"),
    [("dog=half.png", "cli_named"), ("half.png", "cli_named"), ("owl=absent.png", "cli_file")],
)
def test_a_silhouette_of_nothing_is_refused(tmp_path: Path, argument: str, cause: str) -> None:
    with pytest.raises(Refused) as refusal:
        shaped(tmp_path, "--subject-silhouette", argument)
    assert refusal.value.cause == cause


# -- subjects ----------------------------------------------------------------------------------------------------------


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


def test_boxes_come_from_the_subjects_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "layout.json"
    layout = Layout(
        (Subject("hat", Box(0, 0, 0.5, 0.5), role="attribute"), Subject("sea", Box(0, 0, 1, 1), role="background"))
    )
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
    assert causes == {
        "both": "cli_box_twice",
        "count": "cli_layout_count",
        "neither": "cli_box_missing",
        "absent": "cli_file",
    }
    file.write_text("{", encoding="utf-8")
    with pytest.raises(Refused, match=r"layout\.json is not a JSON file"):
        place_subjects([bare], file)


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_layout_file_is_read_in_the_codings_of_windows(tmp_path: Path, coding: str) -> None:
    layout = Layout((Subject("chat é", Box(0.1, 0.2, 0.5, 0.9)),))
    (tmp_path / "layout.json").write_bytes(json.dumps(layout.to_json(), ensure_ascii=False).encode(coding))
    assert place_subjects([parse_subject("cat=a.png")], tmp_path / "layout.json") == layout


@pytest.mark.parametrize("content", [b"[" * 100_000, b"", b"{", b"\xff\xfe\xff", b"\0" * 9, b"x" * 9])
def test_a_layout_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "layout.json").write_bytes(content)
    with pytest.raises(Refused) as refusal:
        place_subjects([parse_subject("cat=a.png")], tmp_path / "layout.json")
    assert refusal.value.cause == "cli_json"


@pytest.mark.parametrize("option", ["--size=" + "8" * 5000, "--size=\u00b2", "--size=8x" + "9" * 400])
def test_sizes_that_are_no_numbers_of_pixels_are_refused(option: str) -> None:
    with pytest.raises(Refused) as refusal:
        demo._size(parsed(option))
    assert refusal.value.cause == "cli_size"


@pytest.mark.parametrize("seed", [-1, 2**63, 10**400])
def test_a_seed_is_bounded(seed: int) -> None:
    with pytest.raises(Refused) as refusal:
        demo._seed(parsed(f"--seed={seed}"))
    assert refusal.value.cause == "field_range"


def test_a_box_under_a_pixel_is_drawn() -> None:
    layout = Layout((Subject("a", Box(0.5, 0.5, 0.5001, 0.5001)), Subject("b", Box(0.9999, 0, 1, 0.0001))))
    for filled in (False, True):
        assert draw_layout(Image.new("RGB", (64, 32)), layout, filled).size == (64, 32)


def test_a_file_named_by_hand_is_refused_by_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora, files = tmp_path / "a_lora.safetensors", models()
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, lora)
    for option, words in (("--adapter", "a_lora.safetensors is a LoRA"), ("--encoder", "is not a CLIP image encoder")):
        arguments = list(files)
        arguments[arguments.index(option) + 1] = str(lora)
        assert main(["demo", "--out", str(tmp_path / "out"), *FAST, *arguments]) == REFUSED
        message = capsys.readouterr().err
        assert words in message
        assert "model files" not in message
    assert not (tmp_path / "out").exists()


def test_a_face_adapter_named_by_hand_is_used(tmp_path: Path) -> None:
    files = models()
    face = tmp_path / "plus-face.safetensors"
    shutil.copy(files[3], face)
    files[3] = str(face)
    assert demo.run(parsed("--out", str(tmp_path / "out"), *FAST, *files)) == 0


def test_a_command_does_not_speak_of_an_image_that_was_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def aside(*_: object) -> None:
        raise SteppedAside("no_unet", got="a stand-in")

    monkeypatch.setattr(generate, "generate", aside)
    assert main(["demo", "--out", str(tmp_path / "out"), *FAST, *models()]) == REFUSED
    assert "so no image was made" in capsys.readouterr().err


def test_bad_arguments_are_refused_by_cause(tmp_path: Path) -> None:
    files = models()
    assert refused("--adapter", "a.safetensors") == refused("--random", "--encoder", "e.safetensors") == "cli_needs"
    assert refused(*files[:4]) == "cli_needs"
    assert refused(*files[:5], str(tmp_path / "no.safetensors")) == "cli_file"
    assert refused(*files, "--layout", "l.json") == "cli_needs"
    assert refused(*files, "--subject", f"cat={tmp_path / 'no.png'}@0,0,1,1") == "cli_file"
    assert refused(*files, "--size", "100") == refused(*files, "--size", "8x8x8") == "cli_size"
    assert refused(*files, "--steps", "0") == "field_range"
    assert refused(*files, "--scale", "9") == "field_range"


# -- the default model and scene ---------------------------------------------------------------------------------------


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with trained files: here random weights, in small parts."""
    files = random_files(SPRITES)
    folder = tmp_path / "parts"
    bundle.split_files([files.checkpoint, files.encoder, *files.adapters.values()], folder, size=2**20)
    monkeypatch.setattr(bundle, "FILES", folder)
    monkeypatch.setenv("ANYMS_HOME", str(tmp_path / "home"))
    return folder


def test_the_default_model_is_the_small_world(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(parsed("--out", str(tmp_path / "out"), *FAST)) == 0
    assert capsys.readouterr().out.splitlines()[0] == demo.PRESETS[demo.SPRITES].notice
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert (result["model"], result["layers"]) == ("sprites", len(attn2_layers(SPRITES)))
    assert result["request"]["scale"] == demo.PRESETS[demo.SPRITES].scale
    assert [folder.name for folder in (tmp_path / "home" / "models").iterdir() if folder.is_dir()] == [
        bundle.sprites_folder(tmp_path / "home" / "models").name
    ]


def test_a_damaged_small_world_is_refused(parts: Path, tmp_path: Path) -> None:
    (parts / "checkpoint.safetensors.1").write_bytes(b"x")
    assert refused("--out", str(tmp_path / "out")) == "bundle_damaged"
    assert not (tmp_path / "out").exists()


def test_each_model_has_its_defaults_and_options_win(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def record(models, request, prompt, sampling):
        assert sampling.seed == default_scene.SEED
        folder = models.checkpoint.parent.name.partition("-")[0]
        calls.append((folder, sampling.steps, sampling.size, sampling.guidance, request.scale))
        return generate.Generated(Image.new("RGB", sampling.size), 1, 1, "cpu")

    monkeypatch.setattr(generate, "generate", record)
    monkeypatch.setattr(
        generate, "random_models", lambda folder: generate.Models(models_of_random(folder), tmp_path, tmp_path)
    )
    options = ["--steps", "3", "--size", "64", "--guidance", "2", "--scale", "0.1"]
    for arguments in ([], ["--random"], models(), options):
        demo.run(parsed("--out", str(tmp_path / "out"), *arguments))
    own = random_files().checkpoint.parent.name.partition("-")[0]
    assert calls == [
        ("sprites", 20, (256, 256), 4.0, 2.0),
        ("random", 8, (256, 256), 5.0, 0.6),
        (own, 30, (256, 256), 5.0, 0.6),
        ("sprites", 3, (64, 64), 2.0, 0.1),
    ]


def models_of_random(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(random_files().checkpoint, folder))


def test_the_scene_is_held_out_and_its_prompt_has_the_words_of_the_world() -> None:
    identities = [Identity(*words) for words, _ in default_scene.SUBJECTS]
    assert prompt([identity.shape for identity in identities], default_scene.BACKGROUND) == default_scene.PROMPT
    assert [subject.name for subject in default_scene.LAYOUT.subjects] == [identity.shape for identity in identities]
    boxes = [box for _, box in default_scene.SUBJECTS]
    for identity, box in zip(identities, boxes):
        assert identity.held_out
        assert identity.possible
        assert not identity.unseen
        width, height = Figure(identity).size
        assert (box.x1 - box.x0) / (box.y1 - box.y0) == pytest.approx(width / height, rel=0.08)
    for one, other in combinations(boxes, 2):
        apart = max(one.x0, other.x0) >= min(one.x1, other.x1) or max(one.y0, other.y0) >= min(one.y1, other.y1)
        assert apart


def test_a_reference_picture_shows_its_subject_alone_as_the_world_draws_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = default_scene.pictures()
    assert len(pictures) == len(default_scene.SUBJECTS)
    for (picture,) in pictures:
        pixels = np.asarray(picture).astype(int)
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == edge[0]).all()
        assert edge.min() > 235
        assert 0.2 < (np.abs(pixels - edge[0]).max(-1) > 12).mean() < 0.7
    monkeypatch.setattr(demo_scene, "FOLDER", tmp_path)
    monkeypatch.setattr(demo_scene, "picture_file", lambda shape: tmp_path / f"{shape}.png")
    demo_scene.main()
    for (picture,), words in zip(pictures, default_scene.IDENTITIES):
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"{words[0]}.png")), np.asarray(picture))


def test_the_sheet_shows_references_boxes_and_the_picture() -> None:
    layout = Layout((Subject("left", Box(0, 0, 0.6, 1)), Subject("right", Box(0.4, 0, 1, 1))))
    references = (
        (Image.new("RGB", (30, 60), "red"), Image.new("RGB", (60, 30), "lime")),
        (Image.new("RGB", (9, 9), "blue"),),
    )
    sheet = np.asarray(draw_sheet(references, layout, Image.new("RGB", (128, 64), "magenta"))).astype(int)
    share = {name: (np.abs(sheet - rgb).max(-1) == 0).sum() for name, rgb in COLOURS.items()}
    assert share["magenta"] == 1024 * 512
    side = 248  # of a cell
    assert share["red"] == pytest.approx(side * side / 2, rel=0.1)
    assert share["lime"] == pytest.approx(side * side / 2, rel=0.1)
    assert share["blue"] == pytest.approx(side * side, rel=0.1)
    assert sheet.shape == (512 + 36 + 16, 512 + 2 * 1024 + 4 * 16, 3)
    boxes = sheet[36 + 256, 512 + 2 * 16 : 512 + 2 * 16 + 1024]
    left, both, right = boxes[100], boxes[512], boxes[900]
    assert (left != right).any()
    assert (both == right).all()  # the topmost subject covers the others


COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "magenta": (255, 0, 255)}


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_it_writes_a_picture_a_layout_and_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lib_anyms", "demo", "--seed", "7"])
    picture = picture_of(tmp_path, "--seed", "7")
    assert picture.shape == (64, 128, 3)
    drawn = np.asarray(Image.open(tmp_path / "layout.png"))
    assert drawn.shape == picture.shape
    assert 0.02 < (drawn != picture).any(-1).mean() < 0.7  # boxes and names, not the whole picture
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert (result["seed"], result["steps"], result["size"], result["layers"], result["unet_calls"]) == (
        7,
        2,
        [128, 64],
        17,
        2,
    )
    assert {"torch", "diffusers", "anyms"} <= set(result["versions"])
    assert result["seconds"] > 0
    assert result["command"] == "python -m lib_anyms demo --seed 7"
    names = [subject.name for subject in default_scene.LAYOUT.subjects]
    assert [subject["name"] for subject in result["request"]["subjects"]] == names


def test_seeds_repeat_and_every_setting_counts(tmp_path: Path) -> None:
    base = picture_of(tmp_path)
    assert np.array_equal(picture_of(tmp_path), base)
    changes = {"seed": "1", "scale": "1.5", "mode": "global-sum", "unconditional": "cond-only", "prompt": "sea"}
    for name, value in changes.items():
        assert not np.array_equal(picture_of(tmp_path, f"--{name}", value), base), name
    off = picture_of(tmp_path, "--mode", "off")
    assert json.loads((tmp_path / "result.json").read_text())["unet_calls"] == 0
    assert np.array_equal(picture_of(tmp_path, "--scale", "0"), off)
    assert not np.array_equal(off, base)


def test_an_empty_negative_prompt_gives_zeros_as_in_the_webuis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    load = generate.load_pipeline

    def watched(*arguments):
        pipeline = load(*arguments)
        pipeline.unet.register_forward_pre_hook(
            lambda _, __, named: seen.append(named["encoder_hidden_states"].clone()), with_kwargs=True
        )
        return pipeline

    monkeypatch.setattr(generate, "load_pipeline", watched)
    picture_of(tmp_path)
    unconditional, conditional = seen[0]
    assert not unconditional.any()
    assert conditional.any()
    picture_of(tmp_path, "--negative", "rain")
    assert seen[-1][0].any()


def test_a_subject_may_have_several_pictures(tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{colour} é.png")
    red, blue = tmp_path / "red é.png", tmp_path / "blue é.png"
    one = picture_of(tmp_path, "--subject", f"cat={red}@0,0,0.5,1")
    two = picture_of(tmp_path, "--subject", f"cat={red},{blue}@0,0,0.5,1")
    moved = picture_of(tmp_path, "--subject", f"cat={red}@0.5,0,1,1")
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, moved)


# Runs the command line in a process that cannot reach a network.
OFFLINE = """
import socket, sys
def refuse(*address):
    raise RuntimeError(f"a connection to {address}")
socket.socket.connect = socket.getaddrinfo = refuse
from lib_anyms.standalone.cli import main
sys.exit(main())
"""


def test_random_weights_need_no_network_and_no_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    environ = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environ |= {"ANYMS_HOME": str(tmp_path / "home"), "HF_HOME": str(cache), "HOME": str(tmp_path)}
    arguments = ["demo", "--here", "--random", "--out", str(tmp_path / "out"), *FAST]
    command = [sys.executable, "-c", OFFLINE, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "random weights" in done.stdout.splitlines()[0]
    assert "70 layers in each of 2 UNet calls" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "layout.png",
        "picture.png",
        "result.json",
        "sheet.png",
    ]
    assert "Traceback" not in done.stderr
    assert len(Image.open(tmp_path / "out" / "picture.png").getcolors(1 << 24)) > 1000
    assert not [path for path in cache.rglob("*") if path.suffix in (".json", ".safetensors", ".txt")]


def test_a_refusal_is_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANYMS_HOME", str(tmp_path))
    arguments = ["demo", "--here", "--out", str(tmp_path / "out"), "--subject", "cat=no.png@0,0,1,1"]
    assert main(arguments) == REFUSED == 2
    assert capsys.readouterr().err.startswith("AnyMS: no.png cannot be read")
    assert not (tmp_path / "out").exists()

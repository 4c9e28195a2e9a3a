"""Detectors and encoders: tiny random models of the real classes, saved to disk as their authors publish them."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.lab.benchmark.models import (
    SMALL_WORLD,
    ClipEmbedder,
    Detected,
    DinoEmbedder,
    Spec,
    Templates,
    _detections,
    bare,
    meant,
    vit,
)
from lib_anyms.lab.benchmark.scenes import BenchSubject, Reference, Sample, Scene
from lib_anyms.lab.benchmark.scoring import Score, Scorer, Specs, chosen, placement
from lib_anyms.lab.evaluation.scenes import make_task
from lib_anyms.lab.evaluation.scoring import judge
from lib_anyms.layout.geometry import Box
from tests.support.bench_models import save_clip, save_dino, save_dinov2, save_grounding_dino, save_owlv2


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_clip_is_the_librarys_own(tmp_path: Path, picture: Image.Image) -> None:
    from transformers import CLIPImageProcessor, CLIPModel

    folder = save_clip(tmp_path / "clip")
    embedder = Spec("clip", folder).load("cpu")
    assert isinstance(embedder, ClipEmbedder)
    assert embedder.label == "CLIP ViT-width-16/32"
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=[picture], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 224, 224)
    with torch.no_grad():
        expected = CLIPModel.from_pretrained(folder).eval().get_image_features(pixels).pooler_output
    torch.testing.assert_close(embedder.clip.embed_images([picture]), expected)
    assert embedder.similarities([picture], [picture]).item() == pytest.approx(1)
    assert -1 <= embedder.text_similarity(picture, "a cat") <= 1
    assert embedder.text_similarity(picture, "a cat") != embedder.text_similarity(picture, "a dog on grass")


@pytest.mark.parametrize(("save", "label"), [(save_dino, "DINO ViT-S/16"), (save_dinov2, "DINOv2 ViT-S/14")])
def test_dino_is_the_normalised_class_token(tmp_path: Path, picture: Image.Image, save: Any, label: str) -> None:
    from transformers import AutoImageProcessor, AutoModel

    folder = save(tmp_path / "dino")
    embedder = Spec("dino", folder).load("cpu")
    assert isinstance(embedder, DinoEmbedder)
    assert embedder.label == label
    pixels = AutoImageProcessor.from_pretrained(folder)(images=[picture], return_tensors="pt")["pixel_values"]
    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = model(pixels).last_hidden_state
    torch.testing.assert_close(embedder.embed([picture]), hidden[:, 0])
    norms = hidden[0, 0].mean().abs() + (hidden[0, 0].var(unbiased=False) - 1).abs()
    assert norms < 1e-2, "the last layer norm has run"
    other = Image.new("RGB", (60, 60), "navy")
    values = embedder.similarities([picture, other], [picture, other])
    assert values.shape == (2, 2)
    torch.testing.assert_close(values.diagonal(), torch.ones(2))


def test_the_usual_variants_are_named() -> None:
    widths = {768: 32, 1024: 14, 384: 16, 1536: 14}
    assert [vit(width, patch) for width, patch in widths.items()] == ["ViT-B/32", "ViT-L/14", "ViT-S/16", "ViT-g/14"]


@pytest.mark.parametrize("save", [save_grounding_dino, save_owlv2])
def test_a_detector_loads_and_gives_shares_and_names(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch, save: Any
) -> None:
    if save is save_owlv2:
        pytest.importorskip("scipy")
    from lib_anyms.lab.benchmark import models

    for name in ("GROUNDING_BOX", "OWL"):
        monkeypatch.setattr(models, name, 0.0)  # a model with random weights is sure of nothing
    monkeypatch.setattr(models, "GROUNDING_TEXT", 0.9)  # with less, each box has all words, which is no name
    detector = Spec("detector", save(tmp_path / "detector")).load("cpu")
    names = ["a cat", "teapot"]
    detections = detector.detect(picture, names)
    assert detections
    assert {one.name for one in detections} <= set(names)
    scores = [one.score for one in detections]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= one.box.x0 < one.box.x1 <= 1 for one in detections)
    assert detector.label in ("Grounding DINO width 8", "OWLv2 ViT-width-16/16")


def test_owlv2_pads_to_a_square_before_it_resizes(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    from transformers import Owlv2Processor

    processor = Owlv2Processor.from_pretrained(save_owlv2(tmp_path / "owl"))
    wide = Image.new("RGB", (80, 40), "white")
    pixels = processor(images=wide, text=[["a cat"]], return_tensors="pt")["pixel_values"]
    assert pixels.shape[-2] == pixels.shape[-1]
    assert pixels[0, :, 2].mean() > pixels[0, :, -2].mean(), "the lower half is padding"


def test_boxes_become_shares_and_doubles_are_removed() -> None:
    image = Image.new("RGB", (200, 100))
    boxes = torch.tensor(
        [[20.0, 10, 120, 60], [22, 10, 122, 60], [20, 10, 120, 60], [300, 10, 400, 60], [-10, 0, 50, 50]]
    )
    scores = torch.tensor([0.5, 0.9, 0.4, 0.8, 0.3])
    detections = _detections(image, boxes, scores, ["cat", "cat", "dog", "cat", None])
    assert detections == [
        Detected(Box(0.11, 0.1, 0.61, 0.6), pytest.approx(0.9), "cat"),
        Detected(Box(0.1, 0.1, 0.6, 0.6), pytest.approx(0.4), "dog"),
    ]


def test_phrases_of_grounding_dino_count_for_the_nearest_name() -> None:
    names = ["a stuffed animal", "Cat", "cat bowl"]
    assert [bare(name) for name in names] == ["stuffed animal", "cat", "cat bowl"]
    assert meant("animal", names) == "a stuffed animal"
    assert meant("cat", names) == "Cat"
    assert meant("cat bowl", names) == "cat bowl"
    assert meant("", names) is None


def sample(*subjects: tuple[str, Box]) -> Sample:
    placed = tuple(BenchSubject(name, box, ()) for name, box in subjects)
    return Sample(Scene("scene", "a prompt", placed), 0)


LEFT, RIGHT = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)


def test_placement_by_name() -> None:
    two = sample(("cat", LEFT), ("dog", RIGHT))
    right_names = [Detected(LEFT, 0.9, "cat"), Detected(RIGHT, 0.8, "dog")]
    assert placement(right_names, two) == {"miou": 1, "ap50": 1, "there": 1}
    swapped = [Detected(LEFT, 0.9, "dog"), Detected(RIGHT, 0.8, "cat")]
    assert placement(swapped, two) == {"miou": 0, "ap50": 0, "there": 0}
    assert placement([], two) == {"miou": 0, "ap50": 0, "there": 0}
    half = placement([Detected(Box(0, 0, 0.25, 1), 0.9, "cat")], two)
    assert half == {"miou": 0.25, "ap50": 0.5, "there": 0.5}


def test_two_subjects_with_one_name_are_of_one_kind() -> None:
    dogs = sample(("dog", LEFT), ("dog", RIGHT))
    values = placement([Detected(LEFT, 0.5, "dog"), Detected(Box(0.4, 0, 0.5, 0.2), 0.9, "dog")], dogs)
    assert values["ap50"] == pytest.approx(1 / 4)  # one of two boxes, by the second detection
    assert values["miou"] == pytest.approx(1 / 2)


def test_the_found_subject_is_the_one_nearest_to_its_box() -> None:
    two = sample(("cat", LEFT), ("dog", RIGHT))
    near, sure = Detected(Box(0, 0, 0.4, 1), 0.4, "cat"), Detected(RIGHT, 0.9, "cat")
    assert chosen([sure, near], two) == [near.box, None]
    assert chosen([sure], two) == [sure.box, None]


def test_a_subject_that_is_not_found_counts_0(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "cat.png")

    subjects = tuple(
        BenchSubject(name, box, (Reference(tmp_path / "cat.png"),)) for name, box in (("cat", LEFT), ("dog", RIGHT))
    )
    scorer = Scorer(Spec("dino", save_dino(tmp_path / "dino")), "cpu")
    one = Sample(Scene("scene", "a prompt", subjects), 0)
    whole = Score("detector", {}, (Detected(Box(0, 0, 1, 1), 0.9, "cat"),))
    values = scorer.score(picture, one, whole).values
    assert values["image_found"] == pytest.approx(0.5)
    assert "image_found" not in scorer.score(picture, one, None).values
    again = Score.from_json(json.loads(json.dumps(whole.to_json())))
    assert again == whole


@pytest.mark.parametrize("layout", ["disjoint", "overlap-30"])
def test_templates_as_a_detector_agree_with_the_oracle(layout: str) -> None:
    scorer = Scorer(Spec("detector", Path(SMALL_WORLD)), "cpu")
    assert isinstance(Spec("detector", Path(SMALL_WORLD)).load("cpu"), Templates)
    for number in range(3):
        task = make_task(layout, 3, number)
        named = zip(task.layout.subjects, task.scene.figures)
        world = sample(*((subject.name, figure.box) for subject, figure in named))
        values = scorer.score(task.rendering(), world, None).values
        expected = judge(task.rendering(), task)
        assert values["miou"] == pytest.approx(expected["miou"], abs=1e-5)
        assert values["ap50"] == pytest.approx(expected["ap50"], abs=1e-5)
        assert values["miou"] > 0.5


def test_dreamsim_is_used_where_its_package_is(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec("dreamsim", tmp_path)
    if not spec.problem():
        pytest.skip("the package is installed")
    assert spec.problem() == "the package dreamsim is not installed"
    with pytest.raises(Refused, match="dreamsim is not installed"):
        spec.load("cpu")
    calls: dict[str, Any] = {}

    def load(**options: Any) -> tuple[Any, Any]:
        calls.update(options)
        # As the package: both images have a batch axis, and the distance has one value for each pair.
        return lambda one, other: (one - other).abs().mean().view(1), lambda image: torch.ones(1, 3, 4, 4) * image.width

    module = types.ModuleType("dreamsim")
    module.dreamsim = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    monkeypatch.setattr(Spec, "problem", lambda self: "")
    model = spec.load("cpu")
    assert calls == {"pretrained": True, "cache_dir": str(tmp_path), "device": "cpu"}
    values = model.similarities([picture], [picture, Image.new("RGB", (121, 5))])
    torch.testing.assert_close(values, torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize(
    ("role", "remove", "problem"),
    [
        ("clip", "config.json", "config.json"),
        ("clip", "model.safetensors", "no model.safetensors"),
        ("clip", "preprocessor_config.json", "no preprocessor_config.json"),
        ("clip", "tokenizer", "no tokenizer.json"),
        ("detector", "", "it is a clip .expected grounding-dino or owlv2"),
    ],
)
def test_an_incomplete_model_is_named_before_it_is_loaded(tmp_path: Path, role: str, remove: str, problem: str) -> None:
    folder = save_clip(tmp_path / "clip")
    for path in folder.iterdir():
        if remove == path.name or (remove == "tokenizer" and path.name in ("tokenizer.json", "vocab.json")):
            path.unlink()
    with pytest.raises(Refused, match=problem):
        Spec(role, folder).load("cpu")


def test_a_models_scores_depend_on_the_detector_it_looks_through(tmp_path: Path) -> None:
    clip, world = Spec("clip", save_clip(tmp_path / "clip")), Spec("detector", Path(SMALL_WORLD))
    alone, both = Specs((clip,)), Specs((world, clip))
    assert alone.id(clip) != both.id(clip)
    assert Specs((world,)).id(world) == both.id(world)

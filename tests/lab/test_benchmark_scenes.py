"""The readers of public benchmarks, on small folders of the same form; and our own form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.lab.benchmark.readers import BOXES, PER_COUNT, read_bench
from lib_anyms.lab.benchmark.scenes import Reference, Sample, Scene, read_reference, with_article
from lib_anyms.lab.evaluation.suites import MODES, OURS, TEXT, WORDS
from lib_anyms.layout.geometry import Box

MS_BENCH = """
data_class_dict = {"cat": "cat", "dog1": "dog", "hat1": "hat", "forest": "forest", "sofa": "sofa"}
two_subject_combinations = ["living_living", "living_upwearing"]
subject_combination_boxes = {
    "living_living": [[0., 0.25, 0.5, 0.75], [0.5, 0.25, 1., 0.75]],
    "living_upwearing": [[0.25, 0.25, 0.75, 0.75], [0.25, 0., 0.75, 0.25]],
    "living_midwearing": [[0.25, 0.25, 0.75, 0.75], [0.25, 0.25, 0.75, 0.75]],
    "living_scene": [[0.25, 0.25, 0.75, 0.75], [0., 0., 1., 1.]],
    "living_living_scene": [[0., 0.25, 0.5, 0.75], [0.5, 0.25, 1., 0.75], [0., 0., 1., 1.]],
}
pairs = ["a {0} and a {1} in a room", "a {0} and a {1} on the grass"]
computed = [text.upper() for text in pairs]
subject_combination_prompts = {
    "living_living": pairs,
    "living_upwearing": ["a {0} wearing a {1}"],
    "living_midwearing": ["a {0} in a {1}"],
    "living_scene": ["a {0} with a {1} in the background"],
    "living_living_scene": ["a {0} and {1} with a {2} in the background"],
}
"""


def pictures(folder: Path, *names: str, colour: str = "red") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), colour).save(path)


def ms_bench(root: Path) -> Path:
    prompts = root / "msdiffusion" / "dataset" / "prompts" / "msbench.py"
    prompts.parent.mkdir(parents=True)
    prompts.write_text(MS_BENCH, encoding="utf-8")
    names = ("living/cat.jpg", "living/dog1.jpg", "upwearing/hat1.png", "midwearing/sofa.png", "scene/forest.png")
    pictures(root / "msbench", *names)
    return root


def test_ms_bench_has_each_combination_with_each_prompt(tmp_path: Path) -> None:
    bench = read_bench(ms_bench(tmp_path))
    groups: dict[str, list[Scene]] = {}
    for scene in bench.scenes:
        groups.setdefault(scene.group, []).append(scene)
    assert {name: len(scenes) for name, scenes in groups.items()} == {
        "living + living": 2,
        "living + upwearing": 2,
        "living + midwearing": 2,
        "living + scene": 2,
        "living + living + scene": 1,
    }
    first = groups["living + living"][0]
    assert (first.name, first.prompt) == ("cat+dog1 0", "a cat and a dog in a room")
    assert [(one.name, one.box) for one in first.subjects] == [
        ("cat", Box(0, 0.25, 0.5, 0.75)),
        ("dog", Box(0.5, 0.25, 1, 0.75)),
    ]
    assert first.subjects[0].references == (Reference(tmp_path / "msbench" / "living" / "cat.jpg"),)


def test_a_scene_lies_behind_its_subjects_and_a_covered_subject_is_noted(tmp_path: Path) -> None:
    bench = read_bench(ms_bench(tmp_path))
    scene = next(one for one in bench.scenes if one.group == "living + living + scene")
    assert [subject.name for subject in scene.subjects] == ["forest", "cat", "dog"]
    assert scene.prompt == "a cat and dog with a forest in the background"
    assert scene.hidden == []
    covered = next(one for one in bench.scenes if one.group == "living + midwearing")
    assert covered.hidden == ["cat"]
    assert [note.split(" another")[0] for note in bench.notes] == ["In 2 scenes (living + midwearing)"]


def test_lamicbench_has_layouts_masks_and_four_seeds(tmp_path: Path) -> None:
    pack, files = tmp_path / "a" / "lamicbench_layout_pack", tmp_path / "b" / "lamicbench_plus_files"
    pictures(files / "reference_images", "obj/01.jpg", "face/02.jpg")
    mask = Image.new("L", (40, 20), 0)
    mask.paste(255, (0, 0, 20, 20))
    (files / "reference_masks" / "obj").mkdir(parents=True)
    mask.save(files / "reference_masks" / "obj" / "01_mask.png")
    references = [
        {"ref_index": 0, "image_path": "obj/01.jpg", "phrase": "a cup", "bbox": [0.1, 0.2, 0.3, 0.4]},
        {"ref_index": 1, "image_path": "face/02.jpg", "phrase": "a man", "bbox": [0.3, 0.0, 1.0, 1.0]},
    ]
    item = {"index": 7, "prompt": "A man lifts a cup.", "references": references}
    pack.mkdir(parents=True)
    (pack / "lamicbench_layout.json").write_text(json.dumps([item]), encoding="utf-8")
    (scene,) = read_bench(tmp_path).scenes
    assert (scene.name, scene.group, scene.seeds) == ("0007", "2 subjects", (42, 43, 44, 45))
    assert [subject.name for subject in scene.subjects] == ["a man", "a cup"]  # the large box lies behind
    assert scene.subjects[1].box == Box(0.1, 0.2, 0.3, 0.4)
    man, cup = (read_reference(one.references[0], one.name) for one in scene.subjects)
    assert man.getpixel((35, 5)) != (255, 255, 255)
    assert cup.getpixel((35, 5)) == (255, 255, 255)
    assert cup.getpixel((5, 5)) != (255, 255, 255)


def test_dreambench_gets_our_boxes_and_its_places(tmp_path: Path) -> None:
    words = {"cat": "cat", "cat2": "cat", "dog": "dog", "vase": "vase", "clock": "clock", "sloth": "stuffed animal"}
    lines = ["Classes", "", "subject_name,class", *(f"{name},{word}" for name, word in words.items()), "gone,gone"]
    for extra in ("on top of a mirror", "wearing a red hat"):
        lines += ["prompt_list = ["]
        for tail in ("in the jungle", extra):
            lines += [f"'a {{0}} {{1}} {tail}'.format(unique_token, class_token),"]
        lines += ["'a red {0} {1}'.format(unique_token, class_token)", "]"]
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "prompts_and_classes.txt").write_text("\n".join(lines), encoding="utf-8")
    pictures(tmp_path / "dataset", *(f"{name}/0{number}.jpg" for name in words for number in (1, 0)))
    bench = read_bench(tmp_path)
    assert len(bench.scenes) == 4 * PER_COUNT
    for scene in bench.scenes:
        names = [subject.name for subject in scene.subjects]
        assert len(set(names)) == len(names) == int(scene.group[0])
        assert tuple(subject.box for subject in scene.subjects) == BOXES[len(names)]
        assert scene.prompt.endswith(" in the jungle")
        assert all(name in scene.prompt for name in names)
        assert {subject.references[0].picture.name for subject in scene.subjects} == {"00.jpg"}
    assert bench == read_bench(tmp_path)
    assert any("boxes: these are ours" in note for note in bench.notes)


def test_our_boxes_lie_apart() -> None:
    for count, boxes in BOXES.items():
        assert len(boxes) == count
        for one in boxes:
            assert not any(one != other and _overlap(one, other) for other in boxes)


def _overlap(one: Box, other: Box) -> bool:
    return min(one.x1, other.x1) > max(one.x0, other.x0) and min(one.y1, other.y1) > max(one.y0, other.y0)


def test_concept101_has_pairs_with_their_prompts_and_larger_groups(tmp_path: Path) -> None:
    def part(number: int, word: str, folder: str) -> dict[str, str]:
        facts = {"instance_prompt": f"photo of a <new{number}> {word}", "class_prompt": word}
        return {**facts, "instance_data_dir": f"./benchmark_dataset/{folder}", "prompt_filename": "prompts/x.txt"}

    pairs = [[part(1, "dog", "pet_dog1"), part(2, "sofa", "furniture_sofa1")]]
    pairs += [[part(1, "cat", "pet_cat1"), part(2, "sofa", "furniture_sofa1")]]
    compose = {"prompt_filename_compose": "prompts/pet_furniture.txt"}
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "pet_furniture.txt").write_text("{0} on the {1}. \n\nThe {1} beside {0}.", encoding="utf-8")
    content = json.dumps([[*pair, compose] for pair in pairs])
    (tmp_path / "dataset_multiconcept.json").write_text(content, encoding="utf-8")
    folders = ("pet_dog1", "pet_cat1", "furniture_sofa1")
    pictures(tmp_path / "benchmark_dataset", *(f"{folder}/{name}.jpeg" for folder in folders for name in "ab"))
    bench = read_bench(tmp_path)
    pair_scenes = [scene for scene in bench.scenes if scene.group == "2 subjects"]
    assert [scene.prompt for scene in pair_scenes] == [
        "dog on the sofa.",
        "The sofa beside dog.",
        "cat on the sofa.",
        "The sofa beside cat.",
    ]
    assert pair_scenes[0].name == "pet_dog1+furniture_sofa1 0"
    assert len(bench.scenes) == 4 + PER_COUNT  # of three subjects; there are not four classes


OWN: dict[str, Any] = {
    "version": 1,
    "name": "mine",
    "seeds": [3, 4],
    "scenes": [
        {
            "name": "table",
            "prompt": "a cat and two mugs on a table",
            "background": "on a table",
            "subjects": [
                {"name": "cat", "files": ["cat.png", "more/cat.png"], "box": [0, 0, 0.5, 1], "prompt": "a grey cat"},
                {"name": "mugs", "files": ["mugs.png"], "box": [0.5, 0, 1, 1]},
            ],
        },
        {"prompt": "a cat", "seeds": [9], "subjects": [{"name": "cat", "files": ["cat.png"], "box": [0, 0, 1, 1]}]},
    ],
}


def own(folder: Path, data: Any = OWN) -> Path:
    pictures(folder, "cat.png", "more/cat.png", "mugs.png")
    (folder / "scenes.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def test_our_own_form(tmp_path: Path) -> None:
    bench = read_bench(own(tmp_path))
    assert (bench.name, [scene.name for scene in bench.scenes]) == ("mine", ["table", "scene 2"])
    assert [scene.seeds for scene in bench.scenes] == [(3, 4), (9,)]
    assert [scene.seeds for scene in bench.with_seeds([1]).scenes] == [(1,), (1,)]
    assert [len(one.references) for one in bench.scenes[0].subjects] == [2, 1]
    assert len(bench.files()) == 3


def test_what_each_mode_gets_of_a_scene(tmp_path: Path) -> None:
    sample = Sample(read_bench(own(tmp_path)).scenes[0], 5)
    assert (sample.noise, sample.anywhere) == (5, False)
    words = sample.request(MODES[WORDS], 0.6)
    assert words.layout is not None
    assert [subject.prompt for subject in words.layout.subjects] == ["a grey cat", "mugs"]
    assert (words.elsewhere, words.scale, words.mode) == ("on a table", 0.6, OURS)
    ours = sample.request(MODES[OURS], 0.6)
    assert not ours.has_words
    assert [len(images) for images in ours.pictures] == [2, 1]
    assert not sample.request(MODES[TEXT], 0.6).active


def test_fewer_scenes_are_spread_over_all(tmp_path: Path) -> None:
    bench = read_bench(ms_bench(tmp_path))
    assert len(bench.fewer(3).scenes) == 3
    assert len({scene.group for scene in bench.fewer(3).scenes}) == 3
    assert bench.fewer(None) == bench.fewer(99) == bench


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data.pop("version"), "no object with version 1"),
        (lambda data: data["scenes"][0].pop("prompt"), "scene 1 lacks the field 'prompt'"),
        (lambda data: data["scenes"][0]["subjects"][1].pop("files"), "subject 2 of scene 1 lacks the field 'files'"),
        (lambda data: data["scenes"][0]["subjects"][0].update(box=[0, 0, 50, 100]), "box"),
        (lambda data: data["scenes"][1].update(subjects=[]), "0 subjects"),
        (lambda data: data.update(seeds=["one"]), "seeds of"),
        (lambda data: data.update(scenes=[]), "gives no scene"),
    ],
)
def test_a_wrong_scene_is_named(tmp_path: Path, change: Any, sentence: str) -> None:
    data = json.loads(json.dumps(OWN))
    change(data)
    with pytest.raises(Refused, match=sentence):
        read_bench(own(tmp_path, data))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no such folder"):
        read_bench(tmp_path / "gone")
    with pytest.raises(Refused, match=r"expected one of: scenes\.json, lamicbench_layout\.json"):
        read_bench(tmp_path)
    root = ms_bench(tmp_path / "ms")
    for path in (root / "msbench" / "scene").iterdir():
        path.unlink()
    with pytest.raises(Refused, match="has no pictures"):
        read_bench(root)
    (root / "msbench" / "scene").rmdir()
    with pytest.raises(Refused, match="the folder scene is missing"):
        read_bench(root)
    sample = Sample(read_bench(own(tmp_path)).scenes[0], 0)
    (tmp_path / "mugs.png").unlink()
    with pytest.raises(Refused, match=r"mugs\.png cannot be read"):
        sample.references()


def test_articles() -> None:
    names = ("cat", "apple", "the cat", "sunglasses", "dress", "a man")
    assert [with_article(name) for name in names] == ["a cat", "an apple", "the cat", "sunglasses", "a dress", "a man"]

"""Read public benchmarks as their authors publish them: MS-Bench, LAMICBench++, DreamBench, CustomConcept101.

Nothing of them is in this repository: the user downloads them, and the readers take prompts, classes and boxes from
their own files. DreamBench and CustomConcept101 have no boxes: ours are in BOXES.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from random import Random
from typing import Any

from lib_anyms.errors import Refused
from lib_anyms.lab.benchmark.scenes import (
    LONGEST_NAME,
    OWN,
    Bench,
    BenchSubject,
    Reference,
    Scene,
    back_to_front,
    read_json,
    read_own,
    with_article,
)
from lib_anyms.layout.geometry import Box

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
PER_COUNT = 20  # drawn scenes for each number of subjects
COUNTS = (2, 3, 4, 5)
_ABOVE = (Box(0.04, 0.04, 0.48, 0.48), Box(0.52, 0.04, 0.96, 0.48))
_BELOW_3 = (Box(0.02, 0.25, 0.32, 0.9), Box(0.35, 0.25, 0.65, 0.9), Box(0.68, 0.25, 0.98, 0.9))
# Our boxes, by the number of subjects: apart from each other, with room for a background.
BOXES: dict[int, tuple[Box, ...]] = {
    2: (Box(0.04, 0.2, 0.48, 0.9), Box(0.52, 0.2, 0.96, 0.9)),
    3: _BELOW_3,
    4: (*_ABOVE, Box(0.04, 0.52, 0.48, 0.96), Box(0.52, 0.52, 0.96, 0.96)),
    5: (*_ABOVE, *(Box(box.x0, 0.55, box.x1, 0.98) for box in _BELOW_3)),
}
OUR_BOXES = "The benchmark has no boxes: these are ours."
_PLACES = ("in a garden", "on a wooden floor", "on the beach", "in a room", "in the snow")  # for drawn scenes
_DEPTH = 4  # folders below the given one in which a benchmark's files may lie

Concepts = Mapping[str, tuple[str, tuple[Path, ...]]]  # name of a subject -> (class, pictures)


def read_bench(folder: Path) -> Bench:
    """The scenes in a folder, by the files in it. Raises Refused."""
    if not folder.is_dir():
        raise Refused("cli_file", path=folder, got="there is no such folder")
    for name, reader in READERS.items():
        path = find(folder, name)
        if path is not None:
            bench = reader(path, folder)
            if bench.scenes:
                return bench
            raise Refused("bench_empty", path=path)
    raise Refused("bench_unknown", path=folder, expected=", ".join(READERS))


def find(folder: Path, name: str) -> Path | None:
    """The file or folder of that name, as high up as possible; None if there is none."""
    for depth in range(_DEPTH + 1):
        for path in sorted(folder.glob("*/" * depth + name)):
            return path
    return None


def read_ms_bench(path: Path, root: Path) -> Bench:
    """MS-Bench: `path` is its msbench.py with classes, boxes and prompts; the pictures lie in a folder for each type.

    Subjects of one type are combined without order, types with each other; each combination gets every prompt of its
    type: 1,148 combinations and 4,488 scenes with all 40 pictures. A combination's name lists its types.
    """
    values = constants(path)
    try:
        classes = values["data_class_dict"]
        all_boxes, all_prompts = values["subject_combination_boxes"], values["subject_combination_prompts"]
    except KeyError as error:
        raise Refused("bench_json", path=path, got=f"no {error.args[0]}") from error
    folders = {kind: _below(root, kind) for name in all_boxes for kind in name.split("_")}
    scenes: list[Scene] = []
    for name, boxes in all_boxes.items():
        for chosen in _combined([sorted_pictures(folders[kind]) for kind in name.split("_")]):
            if len(chosen) == len(boxes) and all(picture.stem in classes for picture in chosen):
                scenes += _ms_scenes(name, chosen, boxes, all_prompts[name], classes)
    return Bench("MS-Bench", tuple(scenes), _hidden_notes(scenes))


def _ms_scenes(
    name: str, chosen: Sequence[Path], boxes: Any, prompts: Sequence[str], classes: Mapping[str, str]
) -> Iterator[Scene]:
    words = [classes[picture.stem] for picture in chosen]
    placed = zip(words, boxes, chosen)
    subjects = back_to_front(BenchSubject(word, Box.read(box), (Reference(file),)) for word, box, file in placed)
    pair = "+".join(picture.stem for picture in chosen)
    for number, prompt in enumerate(prompts):
        yield Scene(f"{pair} {number}", prompt.format(*words), subjects, name.replace("_", " + "))


def _combined(choices: Sequence[Sequence[Path]]) -> Iterator[tuple[Path, ...]]:
    """All combinations; equal neighbours are one type, of which no picture appears twice or in another order."""
    groups: list[list[tuple[Path, ...]]] = []
    place = 0
    while place < len(choices):
        count = sum(other == choices[place] for other in choices)
        groups.append(list(combinations(choices[place], count)))
        place += count
    for parts in product(*groups):
        together: tuple[Path, ...] = ()
        for part in parts:
            together += part
        yield together


def constants(path: Path) -> dict[str, Any]:
    """The values that a Python file assigns: literals, and dicts of such names. Runs nothing. Raises Refused."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise Refused("bench_json", path=path, got=str(error)) from error
    values: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = _value(node.value, values)
            except ValueError:  # an expression that computes: not ours
                continue
    return values


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        if node.id not in known:
            raise ValueError(node.id)
        return known[node.id]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values)
        return {ast.literal_eval(key): _value(value, known) for key, value in pairs if key is not None}
    return ast.literal_eval(node)


def read_lamic(path: Path, root: Path) -> Bench:
    """LAMICBench++: `path` is lamicbench_layout.json of its layout pack; the pictures lie in reference_images."""
    pictures, masks = _below(root, "reference_images"), find(root, "reference_masks")
    scenes = []
    for number, item in enumerate(read_json(path)):
        try:
            subjects = [_lamic_subject(one, pictures, masks) for one in item["references"]]
            scene = Scene(f"{int(item.get('index', number)):04d}", str(item["prompt"]), back_to_front(subjects))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Refused("bench_json", path=path, got=f"item {number}: no {error}") from error
        scenes.append(_grouped(scene))
    cut = () if masks else ("There are no reference_masks: references keep their backgrounds.",)
    # The authors make four samples with these seeds.
    bench = Bench("LAMICBench++", tuple(scenes), (*cut, *_hidden_notes(scenes)))
    return bench.with_seeds((42, 43, 44, 45))


def _lamic_subject(data: Mapping[str, Any], pictures: Path, masks: Path | None) -> BenchSubject:
    name = str(data["image_path"])
    mask = masks / f"{Path(name).with_suffix('')}_mask.png" if masks else None
    if mask is not None and not mask.is_file():
        mask = None
    phrase = str(data["phrase"])[:LONGEST_NAME]
    return BenchSubject(phrase, Box.read(data["bbox"]), (Reference(pictures / name, mask),))


def _grouped(scene: Scene) -> Scene:
    """The scene in the group of its number of subjects."""
    return Scene(scene.name, scene.prompt, scene.subjects, f"{len(scene.subjects)} subjects", scene.background)


def read_dreambench(path: Path, _root: Path) -> Bench:
    """DreamBench: `path` is prompts_and_classes.txt beside a folder for each subject. We draw the combinations."""
    text = path.read_text(encoding="utf-8")
    concepts: dict[str, tuple[str, tuple[Path, ...]]] = {}
    for name, word in re.findall(r"^([\w-]+),([\w -]+)$", text, re.MULTILINE):
        folder = path.parent / name
        if folder.is_dir():
            concepts[name] = word, tuple(sorted_pictures(folder)[:1])
    # Prompts of both of its lists, for objects and for live subjects, that only add a place.
    tails = Counter(re.findall(r"^'a \{0\} \{1\} ([^']+)'", text, re.MULTILINE))
    places = [tail for tail, count in tails.items() if count > 1] or list(_PLACES)
    return Bench("DreamBench", tuple(drawn("dreambench", concepts, places, COUNTS)), (OUR_BOXES, _DRAWN))


def read_concept101(path: Path, root: Path) -> Bench:
    """CustomConcept101: `path` is dataset_multiconcept.json; pairs with their prompts, larger groups drawn by us."""
    scenes: list[Scene] = []
    concepts: dict[str, tuple[str, tuple[Path, ...]]] = {}
    for number, entry in enumerate(read_json(path)):
        try:
            *parts, last = entry
            prompts = (path.parent / last["prompt_filename_compose"]).read_text(encoding="utf-8").splitlines()
            chosen = [_concept(part, root) for part in parts]
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise Refused("bench_json", path=path, got=f"entry {number}: {error}") from error
        concepts |= {pictures[0].parent.name: (word, pictures) for word, pictures in chosen}
        scenes += _pair_scenes(chosen, [prompt for prompt in prompts if prompt.strip()])
    scenes += drawn("concept101", concepts, _PLACES, COUNTS[1:])
    return Bench("CustomConcept101", tuple(scenes), (OUR_BOXES, _DRAWN))


def _concept(part: Mapping[str, str], root: Path) -> tuple[str, tuple[Path, ...]]:
    folder = _below(root, Path(part["instance_data_dir"]).name)
    return part["class_prompt"], tuple(sorted_pictures(folder)[:1])


def _pair_scenes(chosen: Sequence[tuple[str, tuple[Path, ...]]], prompts: Sequence[str]) -> Iterator[Scene]:
    words = [word for word, _ in chosen]
    name = "+".join(pictures[0].parent.name for _, pictures in chosen)
    subjects = _placed(chosen)
    for number, prompt in enumerate(prompts):
        yield _grouped(Scene(f"{name} {number}", prompt.strip().format(*words), subjects))


_DRAWN = f"{PER_COUNT} scenes for each number of subjects are drawn by us, with a fixed seed and different classes."


def drawn(source: str, concepts: Concepts, places: Sequence[str], counts: Sequence[int]) -> Iterator[Scene]:
    """Scenes of subjects with different classes. The arguments alone decide them."""
    classes = sorted({word for word, pictures in concepts.values() if pictures})
    for count in counts:
        for number in range(PER_COUNT if len(classes) >= count else 0):
            random = Random(f"{source} {count} {number}")
            names = []
            for word in random.sample(classes, count):
                names.append(random.choice(sorted(name for name, entry in concepts.items() if entry[0] == word)))
            chosen = [concepts[name] for name in names]
            words = [with_article(word) for word, _ in chosen]
            place = places[number % len(places)]
            prompt = f"{', '.join(words[:-1])} and {words[-1]} {place}"
            scene = Scene(f"{'+'.join(names)} {number}", prompt, _placed(chosen), background=place)
            yield _grouped(scene)


def _placed(chosen: Sequence[tuple[str, tuple[Path, ...]]]) -> tuple[BenchSubject, ...]:
    """In our boxes, from left to right."""
    placed = zip(chosen, BOXES[len(chosen)])
    return tuple(BenchSubject(word, box, tuple(map(Reference, files))) for (word, files), box in placed)


def _hidden_notes(scenes: Sequence[Scene]) -> tuple[str, ...]:
    """In how many scenes of which groups a subject is wholly covered."""
    groups = Counter(scene.group for scene in scenes if scene.hidden)
    if not groups:
        return ()
    total, names = sum(groups.values()), ", ".join(groups)
    return (f"In {total} scenes ({names}) another subject's box covers one wholly: AnyMS cannot show that one.",)


def sorted_pictures(folder: Path) -> list[Path]:
    """The picture files of a folder. Raises Refused if there are none."""
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not pictures:
        raise Refused("bench_pictures", path=folder)
    return pictures


def _below(root: Path, name: str) -> Path:
    folder = find(root, name)
    if folder is None or not folder.is_dir():
        raise Refused("bench_folder", path=root, expected=name)
    return folder


READERS: dict[str, Callable[[Path, Path], Bench]] = {  # file -> reader of (file, folder)
    OWN: lambda path, _: read_own(path),
    "lamicbench_layout.json": read_lamic,
    "msbench.py": read_ms_bench,
    "prompts_and_classes.txt": read_dreambench,
    "dataset_multiconcept.json": read_concept101,
}

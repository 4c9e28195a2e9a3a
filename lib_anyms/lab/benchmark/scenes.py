"""A benchmark's scenes, and our own form of them: one JSON file beside its reference pictures.

scenes.json: {"version": 1, "name", "seeds", "scenes": [{"name", "prompt", "background", "group", "seeds", "subjects":
[{"name", "files", "box", "prompt"}]}]}. Boxes are shares of the picture: left, top, right, bottom. Subjects are ordered
from back to front. Only version, scenes, prompt, subjects, name of a subject, files and box are needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.ip_adapter.cutting import masked
from lib_anyms.ip_adapter.references import read_mask, read_picture, shrunk
from lib_anyms.job.request import Pictures, Request
from lib_anyms.lab.evaluation.scenes import joined, request_of
from lib_anyms.lab.evaluation.suites import Mode
from lib_anyms.layout.geometry import Box, TokenGrid
from lib_anyms.layout.layout import Layout, Subject

OWN = "scenes.json"
VERSION = 1
LONGEST_NAME = 80  # characters of a subject's name
_GRID = TokenGrid(64, 64)  # the finest feature map of SDXL at 1024 pixels that has cross-attention
_KEPT = 256  # reference pictures in memory


@dataclass(frozen=True)
class Reference:
    """A picture of a subject; the mask, if any, shows which pixels are the subject."""

    picture: Path
    mask: Path | None = None


@dataclass(frozen=True)
class BenchSubject:
    """name: what the prompt calls the subject and the detector looks for. prompt: its own text, "" for none."""

    name: str
    box: Box
    references: tuple[Reference, ...]
    prompt: str = ""


@dataclass(frozen=True)
class Scene:
    """A prompt with subjects, back to front. group: its row in the tables. background: the text elsewhere, if known."""

    name: str
    prompt: str
    subjects: tuple[BenchSubject, ...]
    group: str = ""
    background: str = ""
    seeds: tuple[int, ...] = ()

    @property
    def layout(self) -> Layout:
        """Boxes and names, as AnyMS gets them."""
        return Layout(tuple(Subject(one.name, one.box) for one in self.subjects))

    @property
    def hidden(self) -> list[str]:
        """Names of the subjects that others cover wholly: AnyMS cannot show them."""
        shares = self.layout.visible_shares(_GRID)
        return [subject.name for subject, share in zip(self.subjects, shares) if not share]


@dataclass(frozen=True)
class Bench:
    """Scenes of one source. notes: what a reader of the numbers must know about them."""

    name: str
    scenes: tuple[Scene, ...]
    notes: tuple[str, ...] = ()

    def fewer(self, most: int | None) -> Bench:
        """At most that many scenes, spread evenly over all."""
        if most is None or most >= len(self.scenes):
            return self
        chosen = [self.scenes[number * len(self.scenes) // most] for number in range(most)]
        return replace(self, scenes=tuple(chosen))

    def with_seeds(self, seeds: Sequence[int] | None) -> Bench:
        """The scenes with these seeds; None keeps a scene's own, or 0."""
        scenes = [replace(scene, seeds=tuple(seeds or scene.seeds or (0,))) for scene in self.scenes]
        return replace(self, scenes=tuple(scenes))

    def files(self) -> list[Path]:
        """All reference files, each once."""
        paths: dict[Path, None] = {}
        for scene in self.scenes:
            for subject in scene.subjects:
                for reference in subject.references:
                    paths |= dict.fromkeys(path for path in (reference.picture, reference.mask) if path)
        return list(paths)


@dataclass(frozen=True)
class Sample:
    """One picture to make: what a painter needs. `scene` decides prompt and boxes, `seed` the noise."""

    scene: Scene
    seed: int

    @property
    def prompt(self) -> str:
        return self.scene.prompt

    @property
    def noise(self) -> int:
        return self.seed

    @property
    def anywhere(self) -> bool:
        """Whether no box matters. Here each subject has one."""
        return False

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(subject.box for subject in self.scene.subjects)

    def references(self) -> Pictures:
        """The reference pictures of each subject. Raises Refused."""
        pictures = []
        for subject in self.scene.subjects:
            pictures.append(tuple(read_reference(one, subject.name) for one in subject.references))
        return tuple(pictures)

    def request(self, mode: Mode, scale: float) -> Request:
        """AnyMS's request in this mode. A subject without a prompt has its name."""
        prompts = [subject.prompt or with_article(subject.name) for subject in self.scene.subjects]
        background = self.scene.background or "auto"
        if mode.joined:
            prompts = joined(self.scene.prompt, prompts)
            background = joined(self.scene.prompt, [self.scene.background])[0] if self.scene.background else background
        return request_of(mode, scale, self.scene.layout, self.references(), prompts, background)


@lru_cache(maxsize=_KEPT)
def read_reference(reference: Reference, name: str) -> Image.Image:
    """The picture as the page sends it; a mask makes the rest white. Raises Refused."""
    picture = read_picture(_bytes(reference.picture), name)
    if reference.mask is not None:
        picture = masked(picture, read_mask(_bytes(reference.mask), name))
    return shrunk(picture)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused("cli_file", path=path, got=error.strerror or type(error).__name__) from error


def with_article(name: str) -> str:
    """`name` with "a" or "an", unless it starts with an article or is in the plural."""
    first = name.split(" ", 1)[0].lower()
    if first in ("a", "an", "the") or (name.endswith("s") and not name.endswith(("ss", "us"))):
        return name
    return f"{'an' if first[:1] in 'aeiou' else 'a'} {name}"


def back_to_front(subjects: Iterable[BenchSubject]) -> tuple[BenchSubject, ...]:
    """Large boxes behind small ones; equal ones keep their order. Benchmarks without layers leave this open."""
    return tuple(sorted(subjects, key=lambda subject: -round(subject.box.area, 6)))


def read_json(path: Path) -> Any:
    """Raises Refused."""
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise Refused("bench_json", path=path, got=str(error)) from error


def read_own(path: Path) -> Bench:
    """The scenes of our own form. Raises Refused."""
    data = read_json(path)
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise Refused("bench_json", path=path, got=f"no object with version {VERSION}")
    entries = _of(data, "scenes", list, str(path))
    seeds = _seeds(data, str(path))
    scenes = [_read_scene(entry, f"scene {number}", path.parent, seeds) for number, entry in enumerate(entries, 1)]
    return Bench(str(data.get("name") or path.parent.name), tuple(scenes))


def _read_scene(data: Any, where: str, folder: Path, seeds: tuple[int, ...]) -> Scene:
    subjects = _of(data, "subjects", list, where)
    numbered = enumerate(subjects, 1)
    read = [_read_subject(one, f"subject {number} of {where}", folder) for number, one in numbered]
    texts = {name: _of(data, name, str, where) for name in ("name", "group", "background") if name in data}
    texts.setdefault("name", where)
    scene = Scene(prompt=_of(data, "prompt", str, where), subjects=tuple(read), seeds=_seeds(data, where), **texts)
    scene.layout  # noqa: B018  # refuses a wrong number of subjects
    return replace(scene, seeds=scene.seeds or seeds)


def _read_subject(data: Any, where: str, folder: Path) -> BenchSubject:
    if not isinstance(data, dict) or "box" not in data:
        raise Refused("field_missing", where=where, field="box")
    files = _of(data, "files", list, where)
    if not files:
        raise Refused("field_missing", where=where, field="files")
    references = tuple(Reference(folder / str(file)) for file in files)
    prompt = _of(data, "prompt", str, where) if "prompt" in data else ""
    return BenchSubject(_of(data, "name", str, where), Box.read(data["box"]), references, prompt)


def _seeds(data: Mapping[str, Any], where: str) -> tuple[int, ...]:
    seeds = _of(data, "seeds", list, where) if "seeds" in data else []
    if not all(isinstance(seed, int) and 0 <= seed < 2**32 for seed in seeds):
        raise Refused("field_type", field=f"seeds of {where}", got=seeds, expected="whole numbers from 0")
    return tuple(seeds)


def _of(data: Any, name: str, kind: type, where: str) -> Any:
    """The field `name` of a JSON object. Raises Refused."""
    if not isinstance(data, dict) or name not in data:
        raise Refused("field_missing", where=where, field=name)
    if not isinstance(data[name], kind):
        expected = "text" if kind is str else "a list"
        raise Refused("field_type", field=f"{name} of {where}", got=repr(data[name])[:60], expected=expected)
    return data[name]

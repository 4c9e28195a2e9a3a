"""The oracle reads every real rendering right, and every changed one as what it shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, replace
from functools import cache
from random import Random

import pytest
import torch

from lib_anyms.lab.oracle import Detection, find_figures, read_background, read_figure
from lib_anyms.lab.world.draw import draw
from lib_anyms.lab.world.identity import ATTRIBUTES, Identity, held_out_identity, unseen_identity
from lib_anyms.lab.world.latents import pool
from lib_anyms.lab.world.scene import BACKGROUNDS, Figure, Scene, common_area, scene_of
from lib_anyms.layout.geometry import Box

STAR, HOUSE = Identity("star", "red", "yellow", "half"), Identity("house", "blue", "orange", "spot")
LEFT, RIGHT = Figure(STAR, 0.27, 0.5, 0.18), Figure(HOUSE, 0.74, 0.5, 0.18)


def cells_of(scene: Scene) -> torch.Tensor:
    return pool(draw(scene, 256)[None])[0]


@cache
def renderings() -> tuple[tuple[Scene, torch.Tensor], ...]:
    random = Random(1)
    scenes = []
    for number in range(12):
        count = (1, 3, 7)[number % 3]
        ground = BACKGROUNDS[number % len(BACKGROUNDS)]
        scenes.append(scene_of([held_out_identity(random) for _ in range(count)], ground, random))
    return tuple((scene, cells_of(scene)) for scene in scenes)


def iou(one: Box, other: Box) -> float:
    common = common_area(one, other)
    areas = [(box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other)]
    return common / (sum(areas) - common)


def nearest(detections: list[Detection], box: Box) -> Detection:
    return max(detections, key=lambda figure: iou(figure.box, box))


# -- real renderings ---------------------------------------------------------------------------------------------------


def test_every_attribute_and_ground_of_real_renderings_is_right() -> None:
    right: Counter[str] = Counter()
    figures = 0
    for scene, cells in renderings():
        ground = read_background(cells, [figure.box for figure in scene.figures])
        right["ground"] += ground == scene.background == read_background(cells, [])
        for figure in scene.figures:
            figures += 1
            words = astuple(read_figure(cells, ground, figure.box).identity)
            for name, word in zip(ATTRIBUTES, words):
                right[name] += word == getattr(figure.identity, name)
    assert figures == 44
    assert right == {"ground": 12, **dict.fromkeys(ATTRIBUTES, figures)}


def test_figures_are_counted_and_detected_in_their_places() -> None:
    """Of seven figures two that nearly touch are sometimes detected as one, and a star by its middle."""
    sevens, overlaps = [], []
    for scene, cells in renderings():
        detections = find_figures(cells, scene.background)
        assert [figure.energy for figure in detections] == sorted(
            (figure.energy for figure in detections), reverse=True
        )
        if len(scene.figures) == 7:
            sevens.append(len(detections))
            continue
        assert len(detections) == len(scene.figures)
        overlaps += [iou(nearest(detections, figure.box).box, figure.box) for figure in scene.figures]
    assert sum(overlaps) / len(overlaps) > 0.8
    assert sum(overlap > 0.5 for overlap in overlaps) >= 0.9 * len(overlaps)
    assert len(sevens) == 4
    assert sevens.count(7) >= 2
    assert min(sevens) >= 6


@pytest.mark.parametrize("what", ["shape", "colour"])
def test_unseen_shapes_and_colours_are_read_too(what: str) -> None:
    random = Random(8)
    for _ in range(4):
        scene = scene_of([unseen_identity(random, what)], "clay", random)
        assert read_figure(cells_of(scene), "clay", scene.figures[0].box).identity == scene.figures[0].identity


def test_reading_tolerates_noise_and_an_inexact_box() -> None:
    cells = cells_of(Scene("snow", (LEFT, RIGHT)))
    cells = cells + 0.06 * torch.randn(cells.shape, generator=torch.Generator().manual_seed(0))
    box = LEFT.box
    off = Box(box.x0 + 0.03, box.y0 - 0.03, box.x1 + 0.05, box.y1 - 0.01)
    reading = read_figure(cells, "snow", off)
    assert reading.identity == STAR
    assert reading.best([HOUSE, replace(STAR, pattern="band"), STAR]) == 2
    assert len(find_figures(cells, "snow")) == 2


# -- other images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        Identity("star", "yellow", "red", "half"),  # the colours exchanged
        Identity("cross", "red", "yellow", "half"),
        Identity("star", "red", "orange", "half"),
        Identity("star", "red", "yellow", "band"),
    ],
)
def test_a_changed_figure_is_read_as_changed(other: Identity) -> None:
    cells = cells_of(Scene("grass", (replace(LEFT, identity=other), RIGHT)))
    reading = read_figure(cells, "grass", LEFT.box)
    assert reading.identity == other
    assert reading.best([STAR, other]) == 1


@pytest.mark.parametrize("ground", BACKGROUNDS)
def test_bare_background_is_no_figure(ground: str) -> None:
    cells = cells_of(Scene(ground, (RIGHT,)))
    reading = read_figure(cells, ground, LEFT.box)
    assert reading.identity is None
    assert reading.best([STAR, HOUSE]) is None
    assert find_figures(cells_of(Scene(ground, ())), ground) == []


def test_the_background_is_read_even_where_figures_cover_most() -> None:
    large = Figure(STAR, 0.5, 0.5, 0.45)
    for ground in BACKGROUNDS:
        assert read_background(cells_of(Scene(ground, (large,))), [large.box]) == ground


def test_a_region_of_no_known_shape_is_detected_too() -> None:
    cells = cells_of(Scene("snow", (LEFT,)))
    noise = torch.rand(3, 24, 5, generator=torch.Generator().manual_seed(0))
    cells[:, 4:28, 22:27] = noise  # no template explains all of this
    assert (22 / 32, 27 / 32) in [(figure.box.x0, figure.box.x1) for figure in find_figures(cells, "snow")]


# -- one figure over another -------------------------------------------------------------------------------------------


def covered_scene() -> tuple[Scene, Figure, Figure]:
    """A house, and a smaller star in front of its lower right corner."""
    below = Figure(HOUSE, 0.42, 0.42, 0.24)
    on_top = Figure(STAR, 0.66, 0.64, 0.16)
    return Scene("fog", (below, on_top)), below, on_top


def test_hidden_boxes_are_not_counted() -> None:
    scene, below, on_top = covered_scene()
    cells = cells_of(scene)
    assert read_figure(cells, "fog", on_top.box).identity == STAR
    assert read_figure(cells, "fog", below.box, [on_top.box]).identity == HOUSE
    rows, columns = slice(16, 26), slice(16, 27)  # inside the box on top
    other = cells.clone()
    other[:, rows, columns] = torch.rand(3, 10, 11, generator=torch.Generator().manual_seed(1))
    hidden = [read_figure(image, "fog", below.box, [on_top.box]).errors for image in (cells, other)]
    assert torch.allclose(*hidden, atol=1e-3)
    seen = [read_figure(image, "fog", below.box).errors for image in (cells, other)]
    assert (seen[0] - seen[1]).nan_to_num(0).abs().max() > 1


def test_a_figure_on_top_of_another_is_detected_beside_it() -> None:
    scene, below, on_top = covered_scene()
    detections = find_figures(cells_of(scene), "fog")
    assert len(detections) == 2
    for figure in (below, on_top):
        assert iou(nearest(detections, figure.box).box, figure.box) > 0.6
    inside = Scene(
        "fog", (Figure(Identity("ball", "green", "pink", "band"), 0.5, 0.5, 0.4), Figure(STAR, 0.5, 0.45, 0.13))
    )
    assert len(find_figures(cells_of(inside), "fog")) >= 2

"""The judge gives full marks to real renderings, and the right lower ones to wrong pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from lib_anyms.lab.evaluation.scenes import Task, make_task
from lib_anyms.lab.evaluation.scoring import LINE_UP, average_precision, iou, judge, line_up, on_top
from lib_anyms.lab.oracle import Detection
from lib_anyms.lab.world.draw import draw, to_image
from lib_anyms.lab.world.identity import ATTRIBUTES, Identity
from lib_anyms.lab.world.scene import Figure, Scene
from lib_anyms.layout.geometry import Box
from lib_anyms.layout.layout import Layout, Subject

RIGHT = ("identity", "all_right", "background", "count", *ATTRIBUTES)
STAR, FISH = Identity("star", "red", "yellow", "half"), Identity("fish", "blue", "green", "side")
LEFT, BELOW = Figure(STAR, 0.28, 0.3, 0.17), Figure(FISH, 0.7, 0.68, 0.19)
NONE = torch.zeros(32, 32, dtype=torch.bool)


def two(*figures: Figure, ground: str = "snow") -> Scene:
    return Scene(ground, figures or (LEFT, BELOW))


def scores(shown: Scene, scene: Scene | None = None) -> dict[str, float]:
    """Of the picture of one scene, as the answer to the task of another."""
    truth = scene or two()
    layout = Layout(tuple(Subject(figure.identity.shape, figure.box) for figure in truth.figures))
    return judge(to_image(draw(shown, 256)), Task(truth, layout, "", 0, 0))


@pytest.mark.parametrize(
    "place", [("disjoint", 1), ("disjoint", 3), ("unseen-shape", 3), ("unseen-colour", 3), ("touching", 3)]
)
def test_real_renderings_have_full_marks(place: tuple[str, int]) -> None:
    for number in range(2):
        task = make_task(*place, number)
        values = judge(task.rendering(), task)
        assert {name: values[name] for name in RIGHT} == dict.fromkeys(RIGHT, 1.0)
        assert values["missing"] == values.get("leakage", 0.0) == 0
        assert values["miou"] > 0.7
        assert values["ground_inside"] > 0.95


def test_of_overlapping_figures_the_topmost_are_read() -> None:
    task = make_task("overlap-30", 3, 1)
    assert judge(task.rendering(), task)["identity_top"] == 1
    assert "identity_top" not in scores(two())


def test_a_single_figure_may_be_anywhere() -> None:
    task = make_task("single", 1, 0)
    figure = task.scene.figures[0]
    width, height = figure.size
    moved = replace(task.scene, figures=(figure.moved_to(0.9 - width, 0.9 - height),))
    values = judge(to_image(draw(moved, 256)), task)
    assert {name: values[name] for name in RIGHT} == dict.fromkeys(RIGHT, 1.0)
    assert values["missing"] == 0
    assert values.keys().isdisjoint({"miou", "ap50", "leakage"})
    empty = judge(to_image(draw(Scene(task.scene.background, ()), 256)), task)
    assert (empty["missing"], empty["identity"], empty["all_right"], empty["background"]) == (1, 0, 0, 1)


def test_swapped_colours_are_seen() -> None:
    values = scores(two(replace(LEFT, identity=Identity("star", "yellow", "red", "half")), BELOW))
    assert (values["shape"], values["body"], values["second"], values["identity"]) == (1, 0.5, 0.5, 0.5)
    assert (values["all_right"], values["missing"], values["leakage"]) == (0, 0, 0)


def test_a_missing_subject_is_seen() -> None:
    values = scores(two(LEFT))
    assert (values["missing"], values["count"], values["all_right"], values["identity"]) == (0.5, 0, 0, 0.5)
    assert 0.35 < values["miou"] < 0.5
    assert values["ap50"] == 0.5


def test_another_ground_is_seen() -> None:
    values = scores(two(ground="sky"))
    assert (values["background"], values["ground_inside"], values["identity"]) == (0, 0, 1)


def test_swapped_places_leak() -> None:
    values = scores(two(replace(LEFT, identity=FISH), replace(BELOW, identity=STAR)))
    assert (values["leakage"], values["missing"], values["identity"], values["shape"]) == (1, 0, 0, 0)


def test_a_picture_of_another_size_is_read_too() -> None:
    task = make_task("disjoint", 1, 0)
    large = task.rendering(512)
    assert (
        judge(large, task)["identity"] == judge(large.resize((256, 256), Image.Resampling.BOX), task)["identity"] == 1
    )


def test_a_line_up_has_near_misses_and_no_doubles() -> None:
    candidates = line_up(STAR, 4)
    assert candidates[0] == STAR
    assert len(candidates) == len(set(candidates)) == LINE_UP
    changed = [[name for name in ATTRIBUTES if getattr(other, name) != getattr(STAR, name)] for other in candidates[1:]]
    for attribute in ATTRIBUTES:
        assert changed.count([attribute]) >= 2
    assert candidates == line_up(STAR, 4) != line_up(STAR, 5)


def test_boxes_are_compared_by_intersection_over_union() -> None:
    left, right = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)
    assert iou(left, left) == 1
    assert iou(left, right) == 0
    assert iou(left, Box(0.25, 0, 0.75, 1)) == pytest.approx(1 / 3)
    detections = [Detection(Box(0.4, 0.4, 0.6, 0.6), NONE, 9.0), Detection(left, NONE, 5.0)]
    assert average_precision(detections, [left, right]) == pytest.approx(1 / 4)
    assert average_precision(detections[1:], [left, left]) == pytest.approx(1 / 2), "a box is hit once"
    assert on_top([Box(0, 0, 0.6, 1), Box(0.5, 0, 0.8, 1), Box(0.7, 0, 1, 1)]) == [2]

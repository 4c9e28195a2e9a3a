"""Scenes match their layouts, are held out, and are the same for every mode."""

from __future__ import annotations

from itertools import combinations

import pytest

from lib_anyms.lab.commands import evaluate
from lib_anyms.lab.evaluation.pictures import Settings
from lib_anyms.lab.evaluation.scenes import LAYOUTS, make_task, overlap
from lib_anyms.lab.evaluation.suites import (
    BASE,
    DEMO,
    MODES,
    OURS,
    PLUS,
    REAL,
    SUITES,
    TEXT,
    Cell,
    cells_of,
    with_adapter,
)
from lib_anyms.lab.world.captions import prompt
from lib_anyms.lab.world.identity import UNSEEN_COLOURS, UNSEEN_SHAPES
from lib_anyms.lab.world.scene import CELLS
from lib_anyms.layout.geometry import Box
from lib_anyms.standalone import default_scene

NUMBERS = range(8)
PLACES = sorted({cell.key for cell in cells_of(SUITES["full"])} - {(DEMO, len(default_scene.IDENTITIES))})


def boxes(layout: str, subjects: int, number: int) -> list[Box]:
    return [figure.box for figure in make_task(layout, subjects, number).scene.figures]


@pytest.mark.parametrize(("layout", "subjects"), PLACES)
def test_figures_are_in_the_image_held_out_and_named_by_the_prompt(layout: str, subjects: int) -> None:
    for number in NUMBERS:
        task = make_task(layout, subjects, number)
        figures = task.scene.figures
        assert len(figures) == len(task.boxes) == subjects
        shapes = {figure.identity.shape for figure in figures}
        assert len(shapes) == min(subjects, 8)
        for figure in figures:
            assert not figure.identity.trained
            assert min(figure.box.x0, figure.box.y0) > 0.004
            assert max(figure.box.x1, figure.box.y1) < 0.996
        names = [subject.name for subject in task.layout.subjects]
        assert task.prompt == prompt(names, task.scene.background)
        assert names == ["figure" if f.identity.shape in UNSEEN_SHAPES else f.identity.shape for f in figures]


@pytest.mark.parametrize("layout", ["disjoint", "unseen-shape", "unseen-colour", "touching"])
def test_boxes_apart_share_nothing(layout: str) -> None:
    for number in NUMBERS:
        assert all(overlap(one, other) < 1e-6 for one, other in combinations(boxes(layout, 3, number), 2))


@pytest.mark.parametrize(("layout", "share"), [("overlap-10", 0.1), ("overlap-30", 0.3), ("overlap-50", 0.5)])
def test_overlaps_are_as_large_as_they_say(layout: str, share: float) -> None:
    for number in NUMBERS:
        first, *others = make_task(layout, 3, number).scene.figures
        assert [overlap(first.box, other.box) for other in others] == pytest.approx([share, share], abs=0.02 * share)
        assert overlap(others[0].box, others[1].box) < 1e-6
        assert all(other.radius < first.radius for other in others)


def test_a_nested_box_lies_inside_the_first() -> None:
    for number in NUMBERS:
        large, small = make_task("nested", 2, number).scene.figures
        assert overlap(large.box, small.box) == pytest.approx(1)
        assert small.radius * CELLS < 3.81 < 6.99 < large.radius * CELLS


def test_touching_boxes_share_an_edge() -> None:
    for number in NUMBERS:
        placed = boxes("touching", 3, number)
        for place, box in enumerate(placed[1:], 1):
            grown = Box(box.x0 - 1e-6, box.y0 - 1e-6, box.x1 + 1e-6, box.y1 + 1e-6)
            assert any(overlap(grown, other) > 0 for other in placed[:place])


def test_jittered_boxes_are_those_of_the_disjoint_scenes_with_small_errors() -> None:
    moved = 0.0
    for number in NUMBERS:
        task, straight = make_task("jittered", 3, number), make_task("disjoint", 3, number)
        assert (task.scene, task.noise) == (straight.scene, straight.noise)
        for jittered, box in zip(task.boxes, straight.boxes):
            off = [abs(getattr(jittered, edge) - getattr(box, edge)) for edge in ("x0", "y0", "x1", "y1")]
            assert max(off) <= 0.05 + 1e-9
            moved = max(moved, *off)
    assert moved > 0.04


def test_a_single_subject_has_the_whole_image() -> None:
    task = make_task("single", 1, 0)
    assert task.boxes == (Box(0, 0, 1, 1),)
    assert task.anywhere
    assert all(5.5 <= make_task("single", 1, n).scene.figures[0].radius * CELLS <= 7.2 for n in NUMBERS)


def test_unseen_layouts_show_unseen_shapes_and_colours() -> None:
    for number in NUMBERS:
        figures = make_task("unseen-shape", 3, number).scene.figures
        assert {figure.identity.shape for figure in figures} == set(UNSEEN_SHAPES)
        for figure in make_task("unseen-colour", 3, number).scene.figures:
            assert {figure.identity.body, figure.identity.second} & set(UNSEEN_COLOURS)


def test_a_scene_is_decided_by_seed_layout_subjects_and_number_alone() -> None:
    tasks = [make_task("disjoint", 3, 5), make_task("disjoint", 3, 6), make_task("disjoint", 4, 5)]
    tasks += [make_task("overlap-30", 3, 5), make_task("disjoint", 3, 5, seed=1)]
    for one, other in combinations(tasks, 2):
        assert one.scene != other.scene
        assert one.noise != other.noise
    assert make_task("disjoint", 3, 5) == tasks[0]
    pictures = [picture.tobytes() for _ in range(2) for (picture,) in make_task("disjoint", 3, 5).references()]
    assert pictures[:3] == pictures[3:]
    assert len(set(pictures)) == 3


def test_the_request_has_the_boxes_and_the_references() -> None:
    task = make_task("overlap-30", 3, 0)
    request = task.request(MODES["masked-sum"], 0.8)
    assert (request.mode, request.scale, request.layout) == ("masked-sum", 0.8, task.layout)
    assert [picture.size for (picture,) in request.pictures] == [(128, 128)] * 3
    assert list(task.boxes) == boxes("overlap-30", 3, 0)


def test_joined_words_put_the_main_prompt_before_each_own_one() -> None:
    task = make_task("disjoint", 3, 0)
    own, joined = (task.request(MODES[name], 2.0) for name in ("words", "words-joined"))
    assert own.layout is not None
    assert joined.layout is not None
    for mine, both in zip(own.layout.subjects, joined.layout.subjects):
        assert mine.prompt
        assert both.prompt == f"{task.prompt} BREAK {mine.prompt}"
    assert joined.elsewhere == f"{task.prompt} BREAK {own.elsewhere}"
    assert any(cell.mode == "words-joined" for cell in cells_of(SUITES["words"]))


def test_the_demo_layout_is_the_demo_s_scene_with_other_noise() -> None:
    tasks = [make_task(DEMO, 3, number, seed) for seed in (0, 1) for number in range(24)]
    noises = {task.noise for task in tasks}
    assert len(noises) == 48
    assert default_scene.SEED not in noises
    assert tasks[0].prompt == default_scene.PROMPT
    assert tasks[0].layout == default_scene.LAYOUT
    assert tasks[0].scene == tasks[47].scene
    for figure, box in zip(tasks[0].scene.figures, default_scene.LAYOUT.subjects):
        assert overlap(figure.box, box.box) == pytest.approx(1), "inside"
        assert figure.identity.held_out


def test_suites_have_all_layouts_and_modes_and_stay_within_their_time() -> None:
    assert tuple(SUITES) == evaluate.SUITES
    defaults = Settings()
    assert (defaults.steps, defaults.guidance, defaults.scale, defaults.fade) == evaluate.SMALL_WORLD
    assert {cell.layout for cell in cells_of(SUITES["full"])} == {*LAYOUTS, DEMO}
    assert {cell.mode for cell in cells_of(SUITES["full"])} == set(MODES)
    images = {}
    for name, suite in SUITES.items():
        images[name] = sum(cell.scenes for cell in cells_of(suite) if cell.mode != REAL)
    assert images["quick"] <= 90  # 3 minutes on 2 cores
    assert max(images.values()) == images["full"] <= 4000
    assert {cell.subjects for cell in cells_of(SUITES["scaling"])} == {1, 2, 3, 4, 7, 12}
    assert cells_of(SUITES["hosts"]) == [cell for cell in cells_of(SUITES["quick"]) if cell.mode in (OURS, REAL)]
    assert [cell.scenes for cell in cells_of(SUITES[DEMO])] == [24, 24]


def test_each_cell_appears_once_and_all_scenes_have_real_renderings() -> None:
    cells = cells_of((*SUITES["quick"], *SUITES["full"]))
    names = [(cell.mode, *cell.key, cell.adapter) for cell in cells]
    assert len(names) == len(set(names))
    for cell in cells:
        real = next(other for other in cells if other.mode == REAL and other.key == cell.key)
        assert real.scenes >= cell.scenes


def test_cells_of_absent_adapters_are_left_out() -> None:
    cells = [Cell(REAL, "disjoint", 3, None, 5), Cell(OURS, "disjoint", 3, BASE, 5), Cell(OURS, "disjoint", 3, PLUS, 5)]
    cells.append(Cell(TEXT, "disjoint", 3, None, 5))
    assert with_adapter(cells, (BASE, PLUS)) == cells
    assert with_adapter(cells, (BASE,)) == [cells[0], cells[1], cells[3]]
    assert [cell.adapter for cell in with_adapter(cells, (PLUS,))] == [None, PLUS, None]

"""Scenes of the layouts are what their names say, held out, and the same whatever mode asks."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lib_anyms.geometry import Box
from lib_anyms.standalone.evaluation.cells import BASE, MODES, OURS, PLUS, REAL, SUITES, TEXT, Cell, cells_of, with_adapter
from lib_anyms.standalone.evaluation.metrics import LINE_UP
from lib_anyms.standalone.evaluation.scenes import LAYOUTS, ask, common, noun
from lib_anyms.standalone.sprites.captions import read
from lib_anyms.standalone.sprites.oracle import CANDIDATES, iou, on_top

NUMBERS = range(12)
PLACES = sorted({cell.place for cell in cells_of(SUITES["full"])})


def boxes(layout: str, subjects: int, number: int) -> list[Box]:
    return [sprite.box for sprite in ask(layout, subjects, number).scene.subjects]


@pytest.mark.parametrize(("layout", "subjects"), PLACES)
def test_every_scene_is_in_the_frame_held_out_and_told_as_it_is(layout: str, subjects: int) -> None:
    for number in NUMBERS:
        asked = ask(layout, subjects, number)
        sprites = asked.scene.subjects
        assert len(sprites) == len(asked.boxes) == len(asked.references()) == subjects
        assert len({sprite.identity.shape for sprite in sprites}) == subjects
        for sprite in sprites:
            assert not sprite.identity.trained
            assert min(sprite.box.x0, sprite.box.y0) > 0.01
            assert max(sprite.box.x1, sprite.box.y1) < 0.99
        told = read(asked.prompt)
        assert told.background == asked.scene.background
        assert [words.get("shape", "creature") for words in told.subjects] == [noun(sprite.identity) for sprite in sprites]


@pytest.mark.parametrize("layout", ["disjoint", "unseen-shape", "unseen-colour", "touching"])
def test_boxes_apart_share_nothing(layout: str) -> None:
    for number in NUMBERS:
        placed = boxes(layout, 3, number)
        assert (
            max(common(one, other) for one, other in ((placed[0], placed[1]), (placed[0], placed[2]), (placed[1], placed[2])))
            < 1e-6
        )


@pytest.mark.parametrize(("layout", "share"), [("overlap-10", 0.1), ("overlap-30", 0.3), ("overlap-50", 0.5)])
def test_overlaps_are_as_large_as_they_say(layout: str, share: float) -> None:
    for number in NUMBERS:
        back, *front = boxes(layout, 3, number)
        for box in front:
            assert common(back, box) == pytest.approx(share, abs=0.02 * share)
        assert common(*front) < 1e-6
        assert on_top([back, *front]) == [1, 2]


def test_nested_boxes_lie_inside_the_first() -> None:
    for number in NUMBERS:
        back, *front = boxes("nested", 3, number)
        for box in front:
            assert common(back, box) == pytest.approx(1)
            assert box.area < 0.3 * back.area
        assert common(*front) < 1e-6


def test_touching_boxes_share_an_edge() -> None:
    for number in NUMBERS:
        placed = boxes("touching", 3, number)
        for place, box in enumerate(placed[1:], 1):
            assert any(_touch(box, other) for other in placed[:place])


def _touch(one: Box, other: Box) -> bool:
    edges = {one.x0: other.x1, one.x1: other.x0, one.y0: other.y1, one.y1: other.y0}
    gap = min(abs(mine - its) for mine, its in edges.items())
    reach = 1e-6
    return (
        gap < reach
        and one.x0 < other.x1 + reach
        and other.x0 < one.x1 + reach
        and one.y0 < other.y1 + reach
        and other.y0 < one.y1 + reach
    )


def test_jittered_boxes_are_those_of_the_disjoint_scenes_a_little_off() -> None:
    moved = 0.0
    for number in NUMBERS:
        asked, straight = ask("jittered", 3, number), ask("disjoint", 3, number)
        assert asked.scene == straight.scene
        assert asked.noise == straight.noise
        for told, box in zip(asked.boxes, boxes("disjoint", 3, number)):
            off = [abs(getattr(told, edge) - getattr(box, edge)) for edge in ("x0", "y0", "x1", "y1")]
            assert max(off) <= 0.05 + 1e-9
            moved = max(moved, *off)
    assert moved > 0.04


def test_a_single_subject_has_the_whole_picture() -> None:
    asked = ask("single", 1, 0)
    assert asked.boxes == (Box(0, 0, 1, 1),)
    assert asked.anywhere
    assert asked.scene.subjects[0].long_side >= 0.45


def test_unseen_layouts_show_what_no_training_did() -> None:
    shapes = {sprite.identity.shape for n in NUMBERS for sprite in ask("unseen-shape", 3, n).scene.subjects}
    assert shapes == {"bell", "bone", "arrow"}
    for n in NUMBERS:
        for sprite in ask("unseen-colour", 3, n).scene.subjects:
            assert {sprite.identity.body, sprite.identity.second} & {"magenta", "gray"}


def test_a_scene_is_decided_by_seed_layout_subjects_and_number() -> None:
    assert ask("disjoint", 3, 5) == ask("disjoint", 3, 5)
    others = [ask("disjoint", 3, 6), ask("disjoint", 4, 5), ask("overlap-30", 3, 5), ask("disjoint", 3, 5, seed=1)]
    for one, other in pairwise([ask("disjoint", 3, 5), *others]):
        assert one.scene != other.scene
        assert one.noise != other.noise
    pictures = [picture.tobytes() for _ in range(2) for (picture,) in ask("disjoint", 3, 5).references()]
    assert pictures[:3] == pictures[3:]
    assert len(set(pictures)) == 3


def test_what_ours_is_asked_for() -> None:
    asked = ask("overlap-30", 3, 0)
    request = asked.request("masked-sum", 0.8)
    assert (request.mode, request.scale) == ("masked-sum", 0.8)
    assert request.layout is not None
    assert [subject.box for subject in request.layout.subjects] == [sprite.box for sprite in asked.scene.subjects]
    assert all(iou(box, sprite.box) == 1 for box, sprite in zip(asked.boxes, asked.scene.subjects))


def test_suites_have_what_bars_need_and_stay_within_their_time() -> None:
    assert LINE_UP == CANDIDATES
    assert {cell.layout for cell in cells_of(SUITES["full"])} == set(LAYOUTS)
    assert {cell.mode for cell in cells_of(SUITES["full"])} == set(MODES)
    made = {name: sum(cell.scenes for cell in cells_of(groups) if cell.mode != REAL) for name, groups in SUITES.items()}
    assert made["quick"] <= 160  # 5 minutes
    assert made["full"] <= 6000  # 2 hours on 2 cores
    assert max(made.values()) == made["full"]
    wide = [cell.scenes for cell in cells_of(SUITES["full"]) if cell.place == ("disjoint", 3) and cell.adapter in (None, BASE)]
    assert sorted(wide)[-6:] == [200] * 6
    assert {cell.subjects for cell in cells_of(SUITES["scaling"])} == {1, 2, 3, 4, 7, 12}
    assert cells_of(SUITES["hosts"]) == [cell for cell in cells_of(SUITES["quick"]) if cell.mode in (OURS, REAL)]


def test_a_cell_is_there_once_and_real_renderings_are_of_all_scenes() -> None:
    cells = cells_of((*SUITES["quick"], *SUITES["full"]))
    named = [(cell.mode, *cell.place, cell.adapter) for cell in cells]
    assert len(named) == len(set(named))
    for cell in cells:
        real = next(other for other in cells if other.mode == REAL and other.place == cell.place)
        assert real.scenes >= cell.scenes


def test_cells_of_adapters_that_are_not_there_are_left_out() -> None:
    cells = [Cell(REAL, "disjoint", 3, None, 5), Cell(OURS, "disjoint", 3, BASE, 5), Cell(OURS, "disjoint", 3, PLUS, 5)]
    cells.append(Cell(TEXT, "disjoint", 3, None, 5))
    assert with_adapter(cells, (BASE, PLUS)) == cells
    assert with_adapter(cells, (BASE,)) == [cells[0], cells[1], cells[3]]
    alone = with_adapter(cells, (PLUS,))
    assert [cell.adapter for cell in alone] == [None, PLUS, None]

"""The oracle is right about real renderings, and says so when a picture is wrong."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch

from lib_anyms.geometry import Box
from lib_anyms.standalone.sprites.identity import ATTRIBUTES, Identity, held_out_identity, unseen_identity
from lib_anyms.standalone.sprites.oracle import (
    CANDIDATES,
    Found,
    Oracle,
    as_pixels,
    average_precision,
    find,
    fitted,
    iou,
    line_up,
    lumps,
    measure,
    on_top,
)
from lib_anyms.standalone.sprites.oracle_net import GROUNDS, Finder, Seen
from lib_anyms.standalone.sprites.oracle_training import ANY_SCENE, Judged, OracleLearner, locate
from lib_anyms.standalone.sprites.reading import fit_box, read_sprite
from lib_anyms.standalone.sprites.scene import Placed, Recipe, Scene, draw_scene
from lib_anyms.standalone.sprites.world import draw, to_image

HELD_OUT = Recipe(held_out_identity, counts=(1, 2, 3, 4), weights=(1, 1, 1, 1))
LEFT, RIGHT = Box(0.05, 0.3, 0.45, 0.7), Box(0.55, 0.3, 0.95, 0.7)
STAR, CAT = Identity("star", "red", "yellow", "dots"), Identity("cat", "blue", "white", "stripes")


class Knowing(Finder):
    """Sees a scene as it is, whatever picture it is shown."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene

    def forward(self, pictures: torch.Tensor) -> Seen:
        middles, edges = locate(self.scene)
        owners = torch.nn.functional.avg_pool2d((draw([self.scene], 256).owners > 0).float(), 4)
        ground = torch.zeros(1, len(GROUNDS), 32, 32)
        ground[:, GROUNDS.index(self.scene.background)] = 10
        return Seen((owners - 0.5) * 20, (middles >= 0).float()[None] * 20 - 10, edges[None], ground)


def two(left: Identity = STAR, right: Identity = CAT, background: str = "snow") -> Scene:
    return Scene(background, (Placed(left, LEFT), Placed(right, RIGHT)))


def judged(shown: Scene, asked: Scene) -> dict[str, float]:
    return Oracle(Knowing(shown)).judge(draw([shown], 256).pictures[0], asked)


def test_every_sprite_of_real_renderings_is_read_right() -> None:
    for seed in range(6):
        scene = draw_scene(HELD_OUT, seed)
        picture = draw([scene], 256).pictures[0]
        for subject in scene.subjects:
            assert read_sprite(picture, subject.box).identity == subject.identity


@pytest.mark.parametrize("what", ["shape", "colour"])
def test_what_training_never_saw_is_read_too(what: str) -> None:
    random = Random(8)
    for _ in range(4):
        identity = unseen_identity(random, what)
        scene = Scene("grass", (Placed(identity, Box(0.2, 0.25, 0.75, 0.8), angle=3),))
        assert read_sprite(draw([scene], 256).pictures[0], scene.subjects[0].box).identity == identity


def test_reading_bears_blur_noise_and_a_box_a_little_off() -> None:
    picture = draw([two()], 256).pictures
    worn = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(picture, 3, 2, 1), (256, 256), mode="bilinear")[0]
    worn = worn + 0.05 * torch.randn(worn.shape, generator=torch.Generator().manual_seed(0))
    reading = read_sprite(worn, Box(LEFT.x0 + 0.012, LEFT.y0 - 0.01, LEFT.x1 + 0.01, LEFT.y1))
    assert reading.identity == STAR
    assert reading.best([CAT, STAR, replace(STAR, second="aqua")]) == 1


@pytest.mark.parametrize(("action", "angle"), [("", 3.0), ("leaning", 31.0), ("jumping", 0.0)])
def test_what_a_sprite_does_is_read(action: str, angle: float) -> None:
    scene = Scene("sky", (Placed(CAT, Box(0.3, 0.2, 0.7, 0.6), angle, action=action),))
    assert read_sprite(draw([scene], 256).pictures[0], scene.subjects[0].box).action == action


def test_a_line_up_has_near_misses_and_no_doubles() -> None:
    row = line_up(STAR, 4)
    assert row[0] == STAR
    assert len(row) == len(set(row)) == CANDIDATES
    changed = [[name for name in ATTRIBUTES if getattr(other, name) != getattr(STAR, name)] for other in row[1:]]
    assert sum(len(names) == 1 for names in changed) >= 8
    assert {names[0] for names in changed if len(names) == 1} == set(ATTRIBUTES)
    assert row == line_up(STAR, 4) != line_up(STAR, 5)


def test_boxes_are_found_where_the_net_sees_them() -> None:
    for seed in range(4):
        scene = draw_scene(replace(ANY_SCENE, overlap=0.0), seed)
        found = find(Knowing(scene)(torch.zeros(1, 3, 256, 256)))
        assert len(found) == len(scene.subjects)
        for subject in scene.subjects:
            assert max(iou(subject.box, one.box) for one in found) > 0.95


@pytest.mark.parametrize("grown", [1.0, 1.12, 1.25])
@pytest.mark.parametrize("close", [True, False])
def test_a_box_a_little_off_is_moved_to_where_the_sprite_is(grown: float, close: bool) -> None:
    picture = draw([two()], 256).pictures[0]
    half = grown * (LEFT.x1 - LEFT.x0) / 2
    middle_x, middle_y = (LEFT.x0 + LEFT.x1) / 2 + 0.03, (LEFT.y0 + LEFT.y1) / 2 - 0.02
    off = Box(middle_x - half, middle_y - half, middle_x + half, middle_y + half)
    moved, left = fit_box(picture, off, close)
    assert iou(moved, LEFT) > 0.88 > 0.8 > iou(off, LEFT)
    assert left < 0.25


def test_nothing_fits_bare_ground() -> None:
    picture = draw([two()], 256).pictures[0]
    assert fit_box(picture, Box(0.3, 0.75, 0.6, 0.98))[1] > 0.5


def test_what_hangs_together_is_a_lump() -> None:
    found = sorted(lumps(Knowing(two())(torch.zeros(1, 3, 256, 256))), key=lambda one: one.box.x0)
    assert [iou(one.box, box) > 0.9 for one, box in zip(found, (LEFT, RIGHT))] == [True, True]
    near = Box(0.4, 0.3, 0.8, 0.7)
    (one,) = lumps(Knowing(Scene("snow", (Placed(STAR, LEFT), Placed(CAT, near))))(torch.zeros(1, 3, 256, 256)))
    assert one.box.x1 - one.box.x0 > 0.6


def test_of_boxes_of_one_sprite_the_one_that_fits_is_kept() -> None:
    picture = draw([two()], 256).pictures[0]
    parts = [Found(Box(0.05, 0.3, 0.3, 0.5), 0.9), Found(LEFT, 0.8), Found(Box(0.2, 0.45, 0.45, 0.7), 0.7), Found(RIGHT, 0.6)]
    kept = fitted([], parts, picture)
    assert [round(one.sureness, 1) for one in kept] == [0.8, 0.6]
    assert [iou(one.box, box) > 0.9 for one, box in zip(kept, (LEFT, RIGHT))] == [True, True]


def test_a_right_picture_has_full_marks() -> None:
    told = judged(two(), two())
    assert told.pop("missing") == told.pop("leakage") == 0
    assert told.pop("miou") > 0.95
    assert told == dict.fromkeys(told, 1.0)
    assert {"ap50", "identity", "background", "ground_inside", "count", "action", *ATTRIBUTES} == set(told)


def test_exchanged_sprites_are_leakage_and_no_identity() -> None:
    told = judged(two(CAT, STAR), two(STAR, CAT))
    assert told["leakage"] == 1
    assert told["identity"] == told["shape"] == told["body"] == 0
    assert told["missing"] == 0
    assert told["miou"] > 0.95


def test_a_sprite_that_is_not_there_is_missing() -> None:
    alone = Scene("snow", (Placed(STAR, LEFT),))
    told = judged(alone, two())
    assert told["missing"] == 0.5
    assert told["count"] == 0
    assert told["ap50"] == 0.5
    assert told["identity"] == 0.5


def test_a_single_sprite_may_be_anywhere() -> None:
    told = Oracle(Knowing(Scene("snow", (Placed(STAR, RIGHT),)))).judge(
        draw([Scene("snow", (Placed(STAR, RIGHT),))], 256).pictures[0], Scene("snow", (Placed(STAR, LEFT),)), anywhere=True
    )
    assert told["identity"] == told["shape"] == told["ground_inside"] == 1
    assert told["missing"] == 0
    assert not {"miou", "ap50", "leakage", "identity_top"} & set(told)


def test_who_is_on_top() -> None:
    back, left, right, apart = Box(0.2, 0.2, 0.8, 0.8), Box(0.1, 0.1, 0.4, 0.4), Box(0.6, 0.6, 0.9, 0.9), Box(0.9, 0, 1, 0.1)
    assert on_top([back, left, right, apart]) == [1, 2]
    assert on_top([back, left, Box(0.05, 0.05, 0.2, 0.2)]) == [2], "who covers and is covered is not on top"
    assert on_top([left, right]) == []
    covered = Scene("snow", (Placed(STAR, back), Placed(CAT, left)))
    assert judged(covered, covered)["identity_top"] == 1


def test_another_ground_is_told_also_inside_the_boxes() -> None:
    told = judged(two(background="grass"), two(background="snow"))
    assert told["background"] == told["ground_inside"] == 0


def test_average_precision() -> None:
    good, bad = Found(LEFT, 0.9), Found(Box(0.4, 0.8, 0.5, 0.9), 0.8)
    assert average_precision([good], [LEFT, RIGHT]) == 0.5
    assert average_precision([bad, good], [LEFT, RIGHT]) == 0.25
    assert average_precision([good, good], [LEFT, RIGHT]) == 0.5  # a box is hit once
    assert average_precision([], [LEFT]) == 0


def test_pictures_of_any_kind_and_size() -> None:
    drawn = draw([two()], 128).pictures[0]
    assert as_pixels(to_image(drawn)).shape == as_pixels(drawn).shape == (3, 256, 256)
    assert torch.allclose(as_pixels(to_image(drawn)), as_pixels(drawn), atol=0.01)


def test_the_ceiling_is_measured_also_through_something() -> None:
    scenes = [two(), two(CAT, STAR)]
    plain = measure(Oracle(Knowing(scenes[0])), scenes)
    assert plain["identity"] == plain["shape"] == 1
    black = measure(Oracle(Knowing(scenes[0])), scenes, through=lambda pictures: 0 * pictures)
    assert black["identity"] < 0.5


def test_the_net_learns() -> None:
    torch.manual_seed(0)
    learner = OracleLearner()
    batch = Judged()(1, 4)
    optimiser = torch.optim.AdamW(learner.module.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss, facts = learner.loss(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert set(facts) == {"sprite", "centre", "edges", "ground"}

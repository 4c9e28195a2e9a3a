"""The flat world: the identities of training, the places of figures, exact drawings and latents."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product
from random import Random

import numpy as np
import pytest
import torch

from lib_anyms.ip_adapter.references import pixel_values
from lib_anyms.lab.train.vision import normalised
from lib_anyms.lab.world.captions import ANYTHING, caption, prompt, vocabulary, words_of
from lib_anyms.lab.world.draw import (
    BACKGROUND_RGB,
    FIGURE_RGB,
    PAPERS,
    draw,
    draw_reference,
    figure_coverage,
    to_image,
)
from lib_anyms.lab.world.identity import (
    ALL_SHAPES,
    ATTRIBUTES,
    COLOURS,
    PATTERNS,
    SHAPES,
    UNSEEN_COLOURS,
    UNSEEN_SHAPES,
    Identity,
    held_out_identity,
    trained_identity,
    unseen_identity,
)
from lib_anyms.lab.world.latents import MEAN, latents_of, pool, preview
from lib_anyms.lab.world.scene import (
    BACKGROUNDS,
    EDGE,
    RADII,
    Figure,
    Scene,
    common_area,
    pose,
    scene_of,
)
from lib_anyms.standalone.pipeline import clip_merges, clip_vocabulary

RED_STAR = Identity("star", "red", "yellow", "half")


def silhouettes(scene: Scene, side: int) -> torch.Tensor:
    """(figures, side, side), bool: the pixels of each figure, those under another figure included."""
    inside = torch.zeros(len(scene.figures), side, side, dtype=torch.bool)
    for number, figure in enumerate(scene.figures):
        rows, columns, parts = figure_coverage(figure, side)
        inside[number, rows, columns] = torch.from_numpy(parts.sum(0) > 0.5)
    return inside


def random_scene(seed: int, count: int) -> Scene:
    random = Random(seed)
    return scene_of([trained_identity(random) for _ in range(count)], random.choice(BACKGROUNDS), random)


# -- identities --------------------------------------------------------------------------------------------------------


def test_the_same_combinations_are_held_out_always_one_in_eight() -> None:
    known = [Identity(*words) for words in product(SHAPES, COLOURS, COLOURS, PATTERNS)]
    possible = [identity for identity in known if identity.possible]
    held_out = [identity for identity in possible if identity.held_out]
    assert len(possible) == 8 * 8 * 7 * 4
    assert len(held_out) == 206  # another number would mean that trained weights saw some of them
    assert held_out[0] == Identity("ball", "red", "green", "side")
    assert RED_STAR.held_out
    assert replace(RED_STAR, pattern="band").trained
    for attribute in ATTRIBUTES:  # every word appears in training and in the evaluation
        assert {getattr(identity, attribute) for identity in held_out} == {getattr(one, attribute) for one in known}
        assert {getattr(one, attribute) for one in possible if one.trained} == {
            getattr(one, attribute) for one in known
        }


def test_training_shows_neither_held_out_nor_unseen_identities() -> None:
    random = Random(1)
    for identity in [trained_identity(random) for _ in range(400)]:
        assert identity.possible
        assert not identity.held_out
        assert identity.shape in SHAPES
        assert {identity.body, identity.second} <= set(COLOURS)
    assert not Identity("drop", "red", "blue", "half").trained
    assert not Identity("ball", "lime", "blue", "half").trained
    assert not Identity("ball", "red", "red", "half").trained


def test_the_evaluation_draws_held_out_and_unseen_identities() -> None:
    random = Random(2)
    for _ in range(40):
        identity = held_out_identity(random)
        assert identity.held_out
        assert identity.possible
        assert identity.shape in SHAPES
    assert {unseen_identity(random, "shape").shape for _ in range(40)} == set(UNSEEN_SHAPES)
    for _ in range(40):
        unseen = unseen_identity(random, "colour")
        assert unseen.shape in SHAPES
        assert {unseen.body, unseen.second} & set(UNSEEN_COLOURS)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_near_miss_differs_in_one_attribute(attribute: str) -> None:
    random = Random(3)
    for _ in range(30):
        identity = trained_identity(random)
        near = identity.near_miss(attribute, random)
        assert [name for name in ATTRIBUTES if getattr(near, name) != getattr(identity, name)] == [attribute]
        assert near.possible


# -- scenes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4, 7, max(RADII)])
def test_figures_lie_apart_inside_the_picture_and_as_large_as_their_number_allows(count: int) -> None:
    for seed in range(4):
        figures = random_scene(seed, count).figures
        assert len(figures) == count
        for figure in figures:
            x0, y0, x1, y1 = figure.offsets
            assert min(figure.x + x0, figure.y + y0) >= EDGE - 1e-9
            assert max(figure.x + x1, figure.y + y1) <= 1 - EDGE + 1e-9
            assert RADII[count][0] <= figure.radius * 32 <= RADII[count][1]
        for one, other in combinations(figures, 2):
            assert common_area(one.box, other.box) == 0


def test_a_figure_with_a_left_and_a_right_colour_is_never_mirrored() -> None:
    random = Random(5)
    mirrored = dict.fromkeys(PATTERNS, 0)
    for pattern in PATTERNS * 60:
        mirrored[pattern] += pose(replace(RED_STAR, pattern=pattern), (4.0, 5.0), random).flipped
    assert mirrored.pop("side") == 0
    assert all(10 < count < 50 for count in mirrored.values())


# -- drawings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ALL_SHAPES)
def test_boxes_are_tight_around_the_silhouette(shape: str) -> None:
    side = 200
    for tilt, flipped in ((0.0, False), (0.08, True), (-0.08, False)):
        figure = Figure(replace(RED_STAR, shape=shape), 0.48, 0.53, 0.33, tilt, flipped)
        rows, columns = silhouettes(Scene("snow", (figure,)), side)[0].nonzero(as_tuple=True)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        box = figure.box
        for edge, expected in zip(edges, (box.x0, box.y0, box.x1, box.y1)):
            assert float(edge) == pytest.approx(expected * side, abs=1.5), (shape, tilt)


def test_the_parts_of_a_figure_are_its_silhouette() -> None:
    for shape, pattern in product(ALL_SHAPES, PATTERNS):
        figure = Figure(Identity(shape, "red", "blue", pattern), 0.5, 0.5, 0.4, 0.05)
        rows, columns, parts = figure_coverage(figure, 64)
        whole = figure_coverage(replace(figure, identity=replace(figure.identity, pattern="half")), 64)[2].sum(0)
        assert np.allclose(parts.sum(0), whole, atol=1e-6)
        assert parts.min() >= 0
        assert parts.sum(0).max() <= 1
        assert min(parts[0].sum(), parts[1].sum()) > 0.15 * parts.sum(), (shape, pattern)  # both colours are visible
        inside = silhouettes(Scene("snow", (figure,)), 64)[0, rows, columns].numpy()
        assert (inside == (whole > 0.5)).all()


@pytest.mark.parametrize("name", [*FIGURE_RGB])
def test_each_part_has_its_colour(name: str) -> None:
    other = "blue" if name != "blue" else "red"
    figure = Figure(Identity("box", name, other, "half"), 0.5, 0.5, 0.4)
    picture = (draw(Scene("sand", (figure,)), 100) * 255).round()
    assert picture[:, 30, 50].tolist() == list(FIGURE_RGB[name])  # above
    assert picture[:, 70, 50].tolist() == list(FIGURE_RGB[other])  # below
    assert picture[:, 3, 3].tolist() == list(BACKGROUND_RGB["sand"])


def test_a_tilt_is_clockwise_and_the_last_figure_lies_on_top() -> None:
    fish = Figure(Identity("fish", "red", "blue", "band"), 0.5, 0.5, 0.4, tilt=0.5)
    rows, columns = silhouettes(Scene("snow", (fish,)), 96)[0].nonzero(as_tuple=True)
    assert rows[columns > 80].float().mean() > 51  # its tail, on the right, goes down
    ball = Figure(Identity("ball", "green", "pink", "band"), 0.5, 0.5, 0.1)
    assert draw(Scene("snow", (fish, ball)), 96)[:, 42, 48].mul(255).round().tolist() == list(FIGURE_RGB["green"])


def test_a_small_drawing_is_the_large_one_pooled() -> None:
    for seed, count in ((0, 1), (1, 3), (2, 7)):
        scene = random_scene(seed, count)
        difference = (pool(draw(scene, 256)[None])[0] - draw(scene, 32)).abs()
        assert difference.max() < 0.15
        assert difference.mean() < 0.002


def test_a_reference_shows_its_figure_alone_and_whole_on_a_plain_background() -> None:
    random = Random(6)
    backgrounds = set()
    for _ in range(40):
        identity = trained_identity(random)
        picture = draw_reference(identity, random)
        assert picture.shape == (3, 64, 64)
        corner = round(float(picture[0].flatten().mode().values) * 255)
        backgrounds.add(corner)
        off = ((picture - corner / 255).abs().amax(0) > 0.02).float()
        assert 0.15 < off.mean() < 0.7
        for name, share in ((identity.body, 0.03), (identity.second, 0.03)):
            colour = torch.tensor(FIGURE_RGB[name])[:, None, None] / 255
            assert ((picture - colour).abs().amax(0) < 0.01).float().mean() > share, identity
    assert backgrounds == set(PAPERS)


def test_images_are_rounded_to_8_bits_and_normalised_as_in_the_engine() -> None:
    picture = draw_reference(RED_STAR, Random(7))
    image = to_image(picture)
    assert (np.asarray(image) == (picture * 255).round().permute(1, 2, 0).numpy()).all()
    assert torch.allclose(normalised(picture[None]), pixel_values([image], 64), atol=0.01)


# -- latents -----------------------------------------------------------------------------------------------------------


def test_latents_are_linear_and_preview_undoes_them() -> None:
    torch.manual_seed(0)
    one, other = torch.rand(2, 5, 3, 8, 8, dtype=torch.float64)
    assert torch.allclose(
        latents_of(0.3 * one + 0.7 * other), 0.3 * latents_of(one) + 0.7 * latents_of(other), atol=1e-6
    )
    assert torch.allclose(preview(latents_of(one)), one, atol=1e-6)
    assert latents_of(torch.tensor(MEAN)[:, None, None]).abs().max() < 1e-6
    noise = torch.randn(5, 4, 8, 8)
    assert preview(noise).min() >= 0
    assert preview(noise).max() <= 1


# -- captions ----------------------------------------------------------------------------------------------------------


def test_every_word_of_a_caption_is_one_token_of_clip() -> None:
    numbers = clip_vocabulary(clip_merges())
    assert {*SHAPES, *BACKGROUNDS, ANYTHING, "a", "and", "on", ","} == set(vocabulary())
    assert [word for word in vocabulary() if f"{word}</w>" not in numbers] == []
    random = Random(8)
    for _ in range(50):
        names = random.sample(SHAPES, random.randint(0, 4))
        assert set(words_of(caption(names, random.choice(BACKGROUNDS), random))) <= set(vocabulary())


def test_prompts_read_as_people_write() -> None:
    assert prompt([], "sand") == "sand"
    assert prompt(["star"]) == "a star"
    assert prompt(["star", "moon"], "sky") == "a star and a moon on sky"
    assert prompt(["star", "moon", "tree"], "sky") == "a star, a moon and a tree on sky"
    assert words_of("A star, a moon on sky") == ["a", "star", ",", "a", "moon", "on", "sky"]


def test_captions_name_all_figures_in_any_order_as_sentences_or_lists() -> None:
    random = Random(9)
    seen = [caption(["star", "moon"], "sand", random) for _ in range(400)]
    for text in seen:
        assert set(words_of(text)) & {*SHAPES} == {"star", "moon"}
    assert set(seen) == {
        *("a star and a moon on sand", "a moon and a star on sand", "a star and a moon", "a moon and a star"),
        *("star, moon, sand", "moon, star, sand", "star, moon", "moon, star"),
    }
    assert sum(text.endswith("sand") for text in seen) / len(seen) == pytest.approx(0.95, abs=0.03)
    assert sum(text.startswith("a ") for text in seen) / len(seen) == pytest.approx(0.7, abs=0.07)

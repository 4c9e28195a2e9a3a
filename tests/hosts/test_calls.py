"""Neighbours that call the UNet beside the host's own calls, as installed extensions: guidance, windows, tiles.

Each recorded call is repeated on diffusers with the boxes where the call has them. ANYMS_NEIGHBOURS_DIR names a folder
with sd-webui-incantations and multidiffusion-upscaler-for-automatic1111 for A1111, sd-perturbed-attention for Forge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.hosts.neighbours import Scripts, listed, needs_script, paint_beside, watch_beside
from tests.hosts.replay import Replay
from tests.hosts.studio import Call, Job, Studio, as_before, encoded, reference, two_subjects
from tests.hosts.test_neighbours import CLOSE, SQUARE, beside, once_more
from tests.support.image_parts import Part, within

pytestmark = pytest.mark.usefixtures("untouched")
HEIGHT, WIDTH = 16, 24  # the scene's latents
TILE = 12
TILES = [(left, top) for top in (0, 4) for left in (0, 6, 12)]  # of 12 x 12 cells that overlap by 4


def apart(**settings: Any) -> dict[str, Any]:
    """A subject in the left third and one at the right."""
    cat = {"name": "cat", "images": [encoded(SQUARE)], "box": [0, 0, 0.3, 1]}
    dog = {"name": "dog", "images": [encoded(reference("navy"))], "box": [0.6, 0.25, 1, 1]}
    return {**two_subjects(), "subjects": [cat, dog], **settings}


def part_of(left: int, top: int, width: int, height: int) -> Part:
    return left / WIDTH, top / HEIGHT, (left + width) / WIDTH, (top + height) / HEIGHT


def size_of(call: Call) -> tuple[int, int]:
    return tuple(call.tensors["x"].shape[-2:])


def entries_of(call: Call, plain: Call) -> list[Call]:
    """A call for each batch entry, conditional by its text: one of the host's own call `plain`."""
    entries = []
    for number in range(len(call.tensors["x"])):
        own = {name: tensor[number : number + 1] for name, tensor in call.tensors.items() if name != "is_cond"}
        texts = zip(plain.tensors["context"], plain.is_cond)
        flags = [is_cond for text, is_cond in texts if torch.equal(text, own["context"][0])]
        assert len(flags) == 1
        entries.append(replace(call, tensors={**own, "is_cond": torch.tensor([int(flags[0])])}))
    return entries


def split(calls: Sequence[Call]) -> tuple[list[Call], list[Call]]:
    """The calls on whole images, and those on windows."""
    whole, windows = [], []
    for call in calls:
        (whole if size_of(call) == (HEIGHT, WIDTH) else windows).append(call)
    return whole, windows


# -- guidance that predicts once more ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_incantations(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if studio.kind.name != "A1111":
        pytest.skip(f"host: not an option in {studio.kind.name}: sd-webui-incantations is made for A1111")
    with once_more(studio, "sd-webui-incantations", tmp_path_factory.mktemp("incanted")) as loaded:
        yield loaded


@pytest.fixture
def incanted(with_incantations: Studio) -> Iterator[Studio]:
    with as_before(with_incantations) as loaded:
        yield loaded


SMOOTHED = [False, 11.0, 0, 150]
SEMANTIC = [False, 1.0, 0.8, 3.0, 0.0, 0, 150, 4]
PERTURBED = [False, 0.0, 0, 150, False, "Constant", 0, 100, False]


def incantations(smoothed: bool = False, semantic: bool = False, perturbed: bool = False) -> Scripts:
    parts = [smoothed, *SMOOTHED[1:], semantic, *SEMANTIC[1:], perturbed, 3.0, *PERTURBED[2:]]
    return {"Incantations": parts}


@contextmanager
def perturbed(replay: Replay, projected: bool) -> Iterator[None]:
    """Self-attention of the middle block without attention: its values, before or after the output projection."""
    blocks = replay.unet.mid_block.attentions[0].transformer_blocks
    handles = []
    for block in blocks if projected else blocks[:1]:

        def values(attn1: Any, args: tuple[Any, ...], _kwargs: Any, _output: Any) -> torch.Tensor:
            value = attn1.to_v(args[0])
            return attn1.to_out[0](value) if projected else value

        handles.append(block.attn1.register_forward_hook(values, with_kwargs=True))
    yield
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("batched", [True, False], ids=["one call", "a call per entry"])
def test_perturbed_attention_of_incantations(incanted: Studio, batched: bool) -> None:
    """It repeats the whole batch with the prompt's text in every entry: all of them are conditional."""
    with incanted.options(batch_cond_uncond=batched):
        _, calls = beside(incanted, incantations(perturbed=True))
    own = 1 if batched else 2
    again = calls[own :: own + 1]
    first = [call for number, call in enumerate(calls) if number % (own + 1) < own]
    assert len(calls) == 3 * (own + 1)
    assert {call.is_cond for call in again} == {(True, True)}
    replay = Replay(incanted.files)
    assert max(replay.differences(first, two_subjects())) < CLOSE
    with perturbed(replay, projected=False):
        assert max(replay.differences(again, two_subjects())) < CLOSE


@pytest.mark.parametrize("kind", ["smoothed", "semantic"])
def test_other_guidance_of_incantations(incanted: Studio, kind: str) -> None:
    _, calls = beside(incanted, incantations(**{kind: True}))
    assert {call.is_cond for call in calls} == {(True, False)}


@pytest.fixture(scope="module")
def with_windows(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if studio.kind.name not in ("Forge", "reForge"):
        pytest.skip(f"host: not an option in {studio.kind.name}: sd-perturbed-attention is made for Forge and reForge")
    with once_more(studio, "sd-perturbed-attention", tmp_path_factory.mktemp("windowed")) as loaded:
        yield loaded


@pytest.fixture
def windowed(with_windows: Studio) -> Iterator[Studio]:
    with as_before(with_windows) as loaded:
        yield loaded


def test_perturbed_attention_guidance(windowed: Studio) -> None:
    title = needs_script(windowed, "Perturbed-Attention Guidance")
    blocks = ["middle", 0, ""]
    _, calls = beside(windowed, {title: [True, 3.0, 0.0, "full", 0.0, *blocks, False, 7, 3, 0, "full", 0, -1, -1]})
    assert len(calls) == 6
    assert {call.is_cond for call in calls[1::2]} == {(True,)}
    replay = Replay(windowed.files)
    assert max(replay.differences(calls[::2], two_subjects())) < CLOSE
    with perturbed(replay, projected=True):
        assert max(replay.differences(calls[1::2], two_subjects())) < CLOSE


# -- windows -----------------------------------------------------------------------------------------------------------


def test_boxes_are_placed_in_the_windows_of_sliding_window_guidance(windowed: Studio) -> None:
    """Three windows a step: columns 0 to 12, 8 to 20, 16 to 24."""
    title = needs_script(windowed, "Sliding Window Guidance")
    swg = {title: [True, 5.0, 64, 128, 32, False, 7.0, 5.0, -1.0, -1.0]}
    job, calls = watch_beside(windowed, swg, apart())
    whole, windows = split(calls)
    replay = Replay(windowed.files)
    assert len(whole) == 3
    assert max(replay.differences(whole, apart())) < CLOSE
    expected = [(0, 12), (8, 12), (16, 8)] * 3
    assert [size_of(call)[1] for call in windows] == [width for _, width in expected]
    for call, (left, width) in zip(windows, expected):
        inside = within(apart(), part_of(left, 0, width, HEIGHT))
        assert max(replay.differences([call], inside)) < CLOSE
        assert max(replay.differences([call])) > 10 * CLOSE
    assert job.pixels != paint_beside(windowed, swg).pixels
    assert "AnyMS skipped" not in job.info["infotexts"][0]


def test_a_window_without_a_subject_follows_the_text_alone(windowed: Studio) -> None:
    title = needs_script(windowed, "Sliding Window Guidance")
    swg = {title: [True, 5.0, 64, 128, 32, False, 7.0, 5.0, -1.0, -1.0]}
    request = apart(subjects=apart()["subjects"][:1])
    windows = split(watch_beside(windowed, swg, request)[1])[1]
    replay = Replay(windowed.files)
    assert max(replay.differences(windows[1::3] + windows[2::3])) < CLOSE
    assert max(replay.differences(windows[::3], within(request, part_of(0, 0, 12, HEIGHT)))) < CLOSE
    assert {call.changed for call in windows[1::3] + windows[2::3]} == {0}


# -- tiles -------------------------------------------------------------------------------------------------------------


def in_tiles(studio: Studio, calls: list[Call], plain: Call, tiles_a_call: int) -> None:
    """Every entry of every tile equals diffusers' with the boxes in that tile."""
    replay = Replay(studio.files)
    entries = [entry for call in calls for entry in entries_of(call, plain)]
    per_tile = len(calls[0].tensors["x"]) // tiles_a_call
    assert {size_of(entry) for entry in entries} == {(TILE, TILE)}
    assert len(entries) % (len(TILES) * per_tile) == 0
    for number, entry in enumerate(entries):
        left, top = TILES[number // per_tile % len(TILES)]
        inside = within(apart(), part_of(left, top, TILE, TILE))
        assert max(replay.differences([entry], inside)) < CLOSE
        assert max(replay.differences([entry])) > 10 * CLOSE


def both_act(studio: Studio, job: Job, tiles: Scripts, **changes: Any) -> None:
    assert job.pixels != paint_beside(studio, tiles, **changes).pixels
    assert job.pixels != studio.paint(apart(), **changes).pixels
    parameters = studio.parameters(job.images[0])
    assert "AnyMS" in parameters
    assert "AnyMS skipped" not in parameters


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("method", ["MultiDiffusion", "Mixture of Diffusers"])
def test_boxes_are_placed_in_built_in_tiles(studio: Studio, method: str, together: int) -> None:
    """The tiler of Forge and its family repeats the host's batch: its flags do not fit the entries then.

    In txt2img, or in img2img if the host has it only there.
    """
    name, picture = "MultiDiffusion Integrated", encoded(reference("green", (192, 128)))
    start = {"init_images": [picture], "denoising_strength": 1.0, "kind": "img2img"}
    changes: dict[str, Any] = {} if name.lower() in listed(studio) else start
    tiles = {needs_script(studio, name, changes.get("kind", "txt2img")): [True, method, 96, 96, 32, together]}
    paint_beside(studio, tiles, **changes)  # a host's first img2img job differs from its later ones, without AnyMS too
    job, calls = watch_beside(studio, tiles, apart(), **changes)
    in_tiles(studio, calls, studio.record()[0], together)
    both_act(studio, job, tiles, **changes)


@pytest.fixture(scope="module")
def with_tiles(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if studio.kind.name != "A1111":
        pytest.skip(f"host: not an option in {studio.kind.name}: Tiled Diffusion is made for A1111")
    name = "multidiffusion-upscaler-for-automatic1111"
    with once_more(studio, name, tmp_path_factory.mktemp("tiled")) as loaded:
        yield loaded


@pytest.fixture
def tiled(with_tiles: Studio) -> Iterator[Studio]:
    with as_before(with_tiles) as loaded:
        yield loaded


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("method", ["MultiDiffusion", "Mixture of Diffusers"])
def test_boxes_are_placed_in_the_tiles_of_tiled_diffusion(tiled: Studio, method: str, together: int) -> None:
    # after the method: no own size; tiles in cells; no upscaler
    tiles = {"Tiled Diffusion": [True, method, False, True, 192, 128, TILE, TILE, 4, together, "None", 2.0]}
    job, calls = watch_beside(tiled, tiles, apart())
    in_tiles(tiled, calls, tiled.record()[0], together)
    both_act(tiled, job, tiles)

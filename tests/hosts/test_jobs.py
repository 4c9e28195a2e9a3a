"""All kinds of jobs on every real host: samplers, batches, passes, scripts, stopped jobs, jobs inside jobs."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.hosts.neighbours import apart, paint_beside
from tests.hosts.studio import LAYERS, Call, Studio, encoded, pixels_of, reference, two_subjects

pytestmark = pytest.mark.usefixtures("untouched")
ROUNDING = 1  # of 255: other batches sum in another order
START = {"kind": "img2img", "denoising_strength": 0.8}


def placed(box: tuple[float, float, float, float] = (0.1, 0.1, 0.8, 0.9), **subject: Any) -> dict[str, Any]:
    """A request of one subject."""
    return two_subjects(
        subjects=[{"name": "cat", "images": [encoded(reference("orange"))], "box": list(box), **subject}]
    )


def all_layers(calls: list[Call]) -> bool:
    return bool(calls) and {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}


# -- samplers and steps ------------------------------------------------------------------------------------------------


SAMPLERS = {
    "Euler a": {},
    "DPM++ 2M": {"scheduler": "Karras"},
    "DDIM": {},
    "UniPC": {},
    "LCM": {},
    "Restart": {"scheduler": "Karras", "steps": 20},  # it restarts with 20 steps or more
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler(studio: Studio, sampler: str) -> None:
    settings = {"sampler_name": sampler, **SAMPLERS[sampler]}
    job, calls = studio.watch(two_subjects(), **settings)
    assert job.info["sampler_name"] == sampler
    assert all_layers(calls)
    assert len(calls) >= settings.get("steps", 3)
    progress = [call.progress for call in calls]
    assert progress == sorted(progress)
    assert progress[0] == 0
    assert job.pixels != studio.paint(**settings).pixels


def test_restart_restarts(studio: Studio) -> None:
    noises = [
        call.tensors["timesteps"][0].item() for call in studio.record(two_subjects(), sampler_name="Restart", steps=20)
    ]
    assert any(later > earlier for earlier, later in itertools.pairwise(noises))


def test_early_steps_without_unconditional_rows(studio: Studio) -> None:
    with studio.options(skip_early_cond=0.5):
        calls = studio.record(two_subjects(), steps=4)
    assert [sum(call.is_cond) for call in calls] == [1, 1, 1, 1]
    assert tuple(len(call.is_cond) for call in calls) == studio.kind.early
    assert all_layers(calls)


def test_every_step_without_unconditional_rows(studio: Studio) -> None:
    with studio.options(s_min_uncond=100.0, **studio.kind.ngms):
        calls = studio.record(two_subjects(), s_min_uncond=100.0)
    assert [call.is_cond for call in calls] == [(True,)] * 3
    assert all_layers(calls)


# -- batches -----------------------------------------------------------------------------------------------------------


def test_three_pictures_at_once_are_three_single_jobs(studio: Studio) -> None:
    job, calls = studio.watch(two_subjects(), batch_size=3)
    assert [(call.changed, sum(call.is_cond), len(call.is_cond)) for call in calls] == [(LAYERS, 3, 6)] * 3
    singles = [studio.paint(two_subjects(), seed=seed).pixels[0] for seed in (7, 8, 9)]
    assert [apart(*pair) <= ROUNDING for pair in zip(job.pixels[-3:], singles)] == [True] * 3
    assert min(apart(singles[0], other) for other in singles[1:]) > 20 * ROUNDING


def test_each_picture_of_a_count_starts_over(studio: Studio) -> None:
    """A subject's end in the first picture must not affect the next one."""
    request = placed(end=0.5)
    job, calls = studio.watch(request, n_iter=3, steps=4)
    assert [call.changed for call in calls] == [LAYERS, LAYERS, 0, 0] * 3
    singles = [studio.paint(request, seed=seed, steps=4).pixels[0] for seed in (7, 8, 9)]
    assert job.pixels[-3:] == singles
    longer = [studio.paint(placed(), seed=seed, steps=4).pixels[0] for seed in (7, 8, 9)]
    assert not set(singles) & set(longer)


def test_jobs_in_a_row_know_nothing_of_each_other(studio: Studio) -> None:
    first = studio.paint(placed()).pixels
    assert studio.paint(two_subjects()).pixels == studio.composed.pixels
    assert studio.paint(placed()).pixels == first != studio.composed.pixels


# -- hires fix ---------------------------------------------------------------------------------------------------------


def touched(call: Call) -> torch.Tensor:
    """The tokens of the first layer that AnyMS changed, (height, width); the same in every batch entry."""
    rows = call.tensors["touched"].bool()
    assert (rows == rows[:1]).all()
    height, width = call.tensors["x"].shape[-2:]
    return rows[0].unflatten(0, ((height + 1) // 2, (width + 1) // 2))


def expected(shape: torch.Size, box: tuple[float, float, float, float]) -> torch.Tensor:
    """The expected tokens of one subject: ends rounded half up on half the latent's grid, itself rounded up."""
    height, width = ((side + 1) // 2 for side in shape)
    left, top, right, bottom = (int(edge * side + 0.5) for edge, side in zip(box, (width, height, width, height)))
    grid = torch.zeros(height, width, dtype=torch.bool)
    grid[top:bottom, left:right] = True
    return grid


@pytest.mark.parametrize("times", [1.05, 1.5, 2.0])
def test_hires_fix_at_odd_sizes(studio: Studio, times: float) -> None:
    box = (0.1, 0.2, 0.65, 0.9)
    larger = {
        "enable_hr": True,
        "hr_scale": times,
        "denoising_strength": 0.9,
        "width": 200,
        "height": 136,
        **studio.kind.hires,
    }
    calls = studio.record(placed(box), **larger)
    shapes = [call.tensors["x"].shape[-2:] for call in calls]
    assert len(calls) > 3
    assert len(set(shapes)) == (2 if studio.kind.any_size or times > 1.05 else 1)
    assert all_layers(calls)
    for call, shape in zip(calls, shapes):
        assert torch.equal(touched(call), expected(shape, box)), f"{tuple(shape)}\n{touched(call).int()}"


# -- progress -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_the_background(studio: Studio, request: Any, **changes: Any) -> Iterator[list[Any]]:
    """Start a job; its answer is appended to the list."""
    answers: list[Any] = []
    job = threading.Thread(target=lambda: answers.append(studio.ask(request, **changes)))
    job.start()
    try:
        yield answers
    finally:
        job.join()


def progress(studio: Studio, answers: list[Any]) -> Iterator[dict[str, Any]]:
    """The texts of the host's progress bar until the job has its answer."""
    while not answers:
        yield studio.host.get("/sdapi/v1/progress").body


def noise_pictures(count: int) -> list[str]:
    """New pictures, so large that encoding them takes a while."""
    return [encoded(Image.frombytes("RGB", (1024, 1024), os.urandom(3 * 1024**2))) for _ in range(count)]


def test_the_progress_bar_says_that_pictures_are_read(studio: Studio) -> None:
    boxes = [(x / 4, y / 3, (x + 1) / 4, (y + 1) / 3) for x in range(4) for y in range(3)]
    subjects = [
        {"name": f"cat {i}", "images": [image], "box": [*boxes[i]]} for i, image in enumerate(noise_pictures(12))
    ]
    with in_the_background(studio, two_subjects(subjects=subjects)) as answers:
        said = {shown["textinfo"] for shown in progress(studio, answers)}
    assert answers[0].status == 200
    assert "AnyMS reads the reference pictures" in said
    assert studio.host.get("/sdapi/v1/progress").body["textinfo"] in (None, "")


def test_live_previews_show_the_picture_and_change_nothing(studio: Studio) -> None:
    alone = studio.paint(two_subjects(), steps=40)
    with studio.options(live_previews_enable=True, show_progress_every_n_steps=1, show_progress_type="Approx cheap"):
        with in_the_background(studio, two_subjects(), steps=40) as answers:
            shown = {shown["current_image"] for shown in progress(studio, answers)} - {None}
        assert answers[0].status == 200
    assert len(shown) > 1
    assert all(pixels_of(image) for image in shown)
    assert pixels_of(answers[0].body["images"][0]) == alone.pixels[0]


# -- stopped jobs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("button", ["interrupt", "skip"])
def test_a_stopped_job_leaves_nothing_behind(studio: Studio, tmp_path: Path, button: str) -> None:
    composed, rest, answers = studio.composed, studio.hooks_at_rest, []
    long = {"probe": {"record": str(tmp_path / "calls")}, "steps": 150}
    job = threading.Thread(target=lambda: answers.append(studio.ask(two_subjects(), **long)))
    job.start()
    deadline = time.monotonic() + 60
    while len([*tmp_path.glob("calls/*.safetensors")]) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    studio.host.post(f"/sdapi/v1/{button}", {})
    job.join()
    assert answers[0].status == 200
    assert len([*tmp_path.glob("calls/*.safetensors")]) < 150
    assert studio.paint().pixels == studio.baseline.pixels
    assert studio.hooks() == rest
    assert studio.paint(two_subjects()).pixels == composed.pixels


# -- scripts that start jobs with ours ---------------------------------------------------------------------------------


def test_prompts_from_a_text(studio: Studio) -> None:
    lines = ["a cat at sea", "a dog in snow"]
    arguments = [False, False, "start", "\n".join(lines), *([] if studio.kind.name == "A1111" else [False])]
    script = {"script_name": "prompts from file or textbox", "script_args": arguments, "prompt": ""}
    result = studio.paint(two_subjects(), **script)
    assert result.pixels == [studio.paint(two_subjects(), prompt=line).pixels[0] for line in lines]
    assert [result.info["infotexts"][number].count('AnyMS: "') for number in (0, 1)] == [1, 1]


def test_loopback(studio: Studio) -> None:
    """The second round redraws the first one's picture, with the subjects in their boxes."""
    job = {**START, "init_images": [encoded(reference("green", (192, 128)))]}
    once, calls = studio.watch(two_subjects(), **job)
    loop = {"script_name": "loopback", "script_args": [2, 0.8, "Linear", "None"]}
    looped, both = studio.watch(two_subjects(), **job, **loop)
    assert len(both) == 2 * len(calls)
    assert all_layers(both)
    assert apart(looped.pixels[-2], once.pixels[0]) <= ROUNDING
    assert looped.pixels[-1] != looped.pixels[-2]


def test_img2img_batch(studio: Studio, tmp_path: Path) -> None:
    pictures = [reference(colour, (192, 128)) for colour in ("green", "purple")]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    job = {**START, "init_images": [encoded(pictures[0])]}
    batch = {"script_name": "AnyMS test batch", "script_args": [str(tmp_path)]}
    result, calls = studio.watch(two_subjects(), **job, **batch)
    assert all_layers(calls)
    singles = [
        studio.paint(two_subjects(), **{**job, "init_images": [encoded(picture)]}).pixels[0] for picture in pictures
    ]
    assert [apart(*pair) <= ROUNDING for pair in zip(result.pixels, singles)] == [True, True]
    assert len(result.pixels) == 2


# -- jobs inside jobs --------------------------------------------------------------------------------------------------


INNER = {"bare": "baseline", "copy": "composed", "copy without AnyMS": "baseline"}  # whose picture the inner job's is


@pytest.mark.parametrize("like", INNER)
def test_a_job_within_a_job(studio: Studio, tmp_path: Path, like: str) -> None:
    """A job where other extensions make theirs (adetailer): with its own scripts and settings, or a copy of our job."""
    if like == "bare":
        studio.needs("a job without scripts")
    nested = {"AnyMS test nested": [{"folder": str(tmp_path), "like": like}]}
    job = paint_beside(studio, nested, two_subjects(), n_iter=2)
    assert job.pixels[-2:] == [studio.composed.pixels[0], studio.paint(two_subjects(), seed=8).pixels[0]]
    assert [text.count('AnyMS: "') for text in job.info["infotexts"][-2:]] == [1, 1]
    inner = [Image.open(path).convert("RGB").tobytes() for path in sorted(tmp_path.iterdir())]
    assert inner == getattr(studio, INNER[like]).pixels * 2


# -- "Reload UI" ----------------------------------------------------------------------------------------------


def test_reload_ui(studio: Studio) -> None:
    composed, began = studio.composed, studio.host.tail(100_000).count("Startup time:")
    studio.host.post("/anyms-probe/reload", {})
    deadline = time.monotonic() + 120
    while studio.host.tail(100_000).count("Startup time:") == began:
        assert time.monotonic() < deadline, studio.host.tail()
        time.sleep(0.5)
    job, calls = studio.watch(two_subjects())
    assert all_layers(calls)
    assert apart(job.pixels[0], composed.pixels[0]) <= ROUNDING

"""ADetailer itself beside AnyMS: its inpaintings act for the subject in whose region they lie.

Its detectors' weights cannot be bundled, so a detector of the tests reads boxes from a file; all else is ADetailer's
own code. ANYMS_NEIGHBOURS_DIR names a folder with adetailer, whose requirement rich belongs in the host's environment.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.hosts.neighbours import Scripts, once_more, paint_beside
from tests.hosts.replay import Replay
from tests.hosts.studio import LAYERS, Call, Job, Studio, as_before, encoded, read_calls, reference, two_subjects

pytestmark = pytest.mark.usefixtures("untouched")
HOSTS = ("A1111", "Forge", "reForge", "Forge Neo")
CLOSE = 1e-4
_numbers = itertools.count()
# A mask of 48 x 32 pixels in a picture of 192 x 128; with a padding of 16 the host crops 96 x 64 around it.
IN_CAT, IN_DOG, BESIDE = [24, 40, 71, 71], [120, 40, 167, 71], [100, 0, 147, 15]
MIDDLE = [0.25, 0.25, 0.75, 0.75]  # the mask in that crop


@pytest.fixture(scope="module")
def with_adetailer(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if studio.kind.name not in HOSTS:
        pytest.skip(f"host: not an option in {studio.kind.name}: ADetailer is tested in {', '.join(HOSTS)}")
    data = tmp_path_factory.mktemp("detailed")
    models = data / "models" / "adetailer"
    models.mkdir(parents=True)
    detections = {"cat": [IN_CAT], "dog": [IN_DOG], "both": [IN_CAT, IN_DOG], "beside": [BESIDE]}
    for name, boxes in detections.items():
        (models / f"{name}.pt").write_text(json.dumps(boxes), encoding="utf-8")
    with once_more(studio, "adetailer", data) as loaded:
        yield loaded


@pytest.fixture
def detailed(with_adetailer: Studio) -> Iterator[Studio]:
    with as_before(with_adetailer) as loaded:
        yield loaded


def detail(*models: str, **settings: Any) -> Scripts:
    """ADetailer's arguments: a tab for each model."""
    fields = {
        "ad_dilate_erode": 0,
        "ad_mask_blur": 0,
        "ad_inpaint_only_masked_padding": 16,
        "ad_denoising_strength": 0.7,
        **settings,
    }
    return {"ADetailer": [True, False, *({"ad_model": f"{model}.pt", **fields} for model in models)]}


def alone(request: dict[str, Any], number: int, box: list[float]) -> dict[str, Any]:
    """The request for one subject, with its pictures and weight."""
    return {**request, "subjects": [{**request["subjects"][number], "box": box}]}


def apart_of(request: dict[str, Any]) -> dict[str, Any]:
    """The boxes do not overlap."""
    cat, dog = request["subjects"]
    return {**request, "subjects": [{**cat, "box": [0, 0.2, 0.5, 1]}, {**dog, "box": [0.5, 0.2, 1, 1]}]}


REQUEST = apart_of(two_subjects())


def watched(studio: Studio, scripts: Scripts, request: Any = REQUEST, **changes: Any) -> tuple[Job, list[Call]]:
    """A job and the UNet calls of it and of the jobs within it."""
    folder = studio.host.data / f"within {next(_numbers)}"
    wishes = {"AnyMS test probe": [{"record": str(folder), "within": True}]}
    job = paint_beside(studio, {**scripts, **wishes}, request, **changes)
    return job, read_calls(folder)


def inside(job: Job, box: list[int], number: int = 0) -> np.ndarray:
    return pixels(job, number)[box[1] : box[3] + 1, box[0] : box[2] + 1]


def pixels(job: Job, number: int = 0) -> np.ndarray:
    flat = np.frombuffer(job.pixels[number], np.uint8)
    return flat.reshape(128, 192, 3)


def test_the_unet_acts_for_the_subject_of_the_mask(detailed: Studio) -> None:
    """Every call of ADetailer's inpainting equals diffusers' with that subject alone, where the mask is."""
    job, calls = watched(detailed, detail("both"))
    outer, first, second = calls[:3], *halves(calls[3:])
    replay = Replay(detailed.files)
    assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
    assert max(replay.differences(outer, REQUEST)) < CLOSE
    assert max(replay.differences(first, alone(REQUEST, 0, MIDDLE))) < CLOSE
    assert max(replay.differences(second, alone(REQUEST, 1, MIDDLE))) < CLOSE
    assert min(replay.differences(first, REQUEST)) > 10 * CLOSE
    assert "AnyMS second look: " in job.info["infotexts"][0]
    assert 'AnyMS: "' in job.info["infotexts"][0]


def halves(calls: list[Call]) -> tuple[list[Call], list[Call]]:
    assert calls
    assert len(calls) % 2 == 0
    return calls[: len(calls) // 2], calls[len(calls) // 2 :]


def test_only_the_masks_change(detailed: Studio) -> None:
    """Beside the masks the picture stays AnyMS's; in a mask the subject's pictures count."""
    ours, both = detailed.paint(REQUEST), paint_beside(detailed, detail("both"), REQUEST)
    off = paint_beside(detailed, detail("both"), {**REQUEST, "second_look": "off"})
    mask = np.zeros((128, 192), dtype=bool)
    for x0, y0, x1, y1 in (IN_CAT, IN_DOG):
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    assert (pixels(both)[~mask] == pixels(ours)[~mask]).all()
    assert (pixels(off)[~mask] == pixels(ours)[~mask]).all()
    for box in (IN_CAT, IN_DOG):
        assert (inside(both, box) != inside(ours, box)).any()
        assert (inside(both, box) != inside(off, box)).any()


def test_a_mask_beside_all_subjects(detailed: Studio) -> None:
    beside = paint_beside(detailed, detail("beside"), REQUEST)
    assert beside.pixels == paint_beside(detailed, detail("beside"), {**REQUEST, "second_look": "off"}).pixels
    assert "AnyMS second look" not in beside.info["infotexts"][0]
    assert 'AnyMS: "' in beside.info["infotexts"][0]


def test_each_picture_of_a_batch_count(detailed: Studio) -> None:
    """ADetailer shows a copy of our job to all scripts after each picture; ours goes on."""
    job, calls = watched(detailed, detail("cat"), n_iter=2)
    assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
    singles = [paint_beside(detailed, detail("cat"), REQUEST, seed=seed).pixels[0] for seed in (7, 8)]
    assert job.pixels[-2:] == singles
    assert [text.count("AnyMS second look: cat") for text in job.info["infotexts"][-2:]] == [1, 1]
    assert [text.count('AnyMS: "') for text in job.info["infotexts"][-2:]] == [1, 1]


def test_a_batch_of_two(detailed: Studio) -> None:
    job = paint_beside(detailed, detail("cat"), REQUEST, batch_size=2)
    assert [text.count("AnyMS second look: cat") for text in job.info["infotexts"][-2:]] == [1, 1]


def test_several_tabs_and_names(detailed: Studio) -> None:
    """Two tabs, and the request names the subjects the other way round."""
    _, calls = watched(detailed, detail("cat", "dog"), {**REQUEST, "second_look": "dog, cat"})
    first, second = halves(calls[3:])
    replay = Replay(detailed.files)
    assert max(replay.differences(first, alone(REQUEST, 1, MIDDLE))) < CLOSE
    assert max(replay.differences(second, alone(REQUEST, 0, MIDDLE))) < CLOSE


def test_prompts_for_each_detection(detailed: Studio) -> None:
    """[SEP] gives each detection its prompt, and [SKIP] leaves one out."""
    _, both = watched(detailed, detail("both", ad_prompt="a face [SEP] a paw"))
    _, second = watched(detailed, detail("both", ad_prompt="[SKIP] [SEP] a paw"))
    assert len(second) - 3 == (len(both) - 3) // 2
    replay = Replay(detailed.files)
    assert max(replay.differences(second[3:], alone(REQUEST, 1, MIDDLE))) < CLOSE
    assert not (both[3].tensors["context"] == both[-1].tensors["context"]).all()


def test_own_words(detailed: Studio) -> None:
    """A subject's own prompt acts where ADetailer uses the picture's prompt, and steps back where it has another."""
    cat, dog = REQUEST["subjects"]
    worded = {**REQUEST, "subjects": [{**cat, "prompt": "black fur"}, dog]}
    plain, own = (paint_beside(detailed, detail("cat"), request) for request in (REQUEST, worded))
    assert (inside(plain, IN_CAT) != inside(own, IN_CAT)).any()
    _, calls = watched(detailed, detail("cat", ad_prompt="a face"), worded)
    assert max(Replay(detailed.files).differences(calls[3:], alone(REQUEST, 0, MIDDLE))) < CLOSE


def test_with_all_scripts(detailed: Studio) -> None:
    """With "Apply only selected scripts to ADetailer" off: its inpaintings have our script, too."""
    if "ad_only_selected_scripts" not in detailed.host.get("/sdapi/v1/options").body:
        pytest.skip(f"host: not an option in {detailed.kind.name}: its API does not list ADetailer's settings")
    with detailed.options(ad_only_selected_scripts=False):
        _, calls = watched(detailed, detail("cat"))
    assert max(Replay(detailed.files).differences(calls[3:], alone(REQUEST, 0, MIDDLE))) < CLOSE


def test_skip_img2img(detailed: Studio) -> None:
    """The boxes are fractions of the init picture, which ADetailer inpaints."""
    start = {"kind": "img2img", "init_images": [encoded(reference("green", (192, 128)))], "denoising_strength": 0.5}
    scripts = detail("cat")
    scripts["ADetailer"][1] = True
    job = paint_beside(detailed, scripts, REQUEST, **start)
    off = paint_beside(detailed, scripts, {**REQUEST, "second_look": "off"}, **start)
    assert (inside(job, IN_CAT) != inside(off, IN_CAT)).any()
    assert "AnyMS second look: cat" in job.info["infotexts"][0]


def test_without_anyms(detailed: Studio) -> None:
    """A job without AnyMS after one with it: ADetailer's picture as ever."""
    before = paint_beside(detailed, detail("both"))
    paint_beside(detailed, detail("both"), REQUEST)
    assert paint_beside(detailed, detail("both")).pixels == before.pixels
    assert detailed.hooks() == detailed.hooks_at_rest


# -- "Refine each subject", by the host's own img2img ------------------------------------------------------------------


# The host blurs a mask by 4 pixels, so that 10 more are not black, and crops two to one: 0..148 x 54..128 pixels around
# the cat, 24..192 x 22..106 around the dog. The boxes in these crops:
IN_CROPS = [0, 10 / 74, 96 / 148, 1], [72 / 168, 10 / 84, 1, 74 / 84]


def refining(**settings: Any) -> dict[str, Any]:
    """Boxes of 96 x 64 pixels, without padding."""
    cat, dog = REQUEST["subjects"]
    subjects = [{**cat, "box": [0, 0.5, 0.5, 1]}, {**dog, "box": [0.5, 0.25, 1, 0.75]}]
    return {**REQUEST, "subjects": subjects, "refine": 0.7, "refine_padding": 0, "refine_size": 192, **settings}


def test_each_subject_is_refined(studio: Studio) -> None:
    """Each UNet call of both equals diffusers' with that subject alone; beside the boxes nothing changes."""
    request = refining()
    job, calls = watched(studio, {}, request)
    first, second = halves(calls[3:])
    replay = Replay(studio.files)
    assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
    assert max(replay.differences(calls[:3], request)) < CLOSE
    assert {tuple(call.tensors["x"].shape[-2:]) for call in calls[3:]} == {(16, 32)}  # 256 x 128 pixels
    for number, part in enumerate((first, second)):
        assert max(replay.differences(part, alone(request, number, IN_CROPS[number]))) < CLOSE
    plain = studio.paint({**request, "refine": 0})
    boxes = [[0, 64, 95, 127], [96, 32, 191, 95]]
    outside = np.ones((128, 192), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        outside[max(0, y0 - 12) : y1 + 13, max(0, x0 - 12) : x1 + 13] = False  # the host blurs the masks
    assert (pixels(job)[outside] == pixels(plain)[outside]).all()
    assert all((inside(job, box) != inside(plain, box)).any() for box in boxes)
    assert "refine 0.7, " in studio.parameters(job.images[0])["AnyMS"]
    assert studio.host.get("/sdapi/v1/progress").body["textinfo"] in (None, "")


def test_refining_each_picture_of_a_batch(studio: Studio) -> None:
    job = studio.paint(refining(), n_iter=2)
    singles = [studio.paint(refining(), seed=seed).pixels[0] for seed in (7, 8)]
    assert job.pixels[-2:] == singles


def test_refining_in_img2img(studio: Studio) -> None:
    """A picture sent to img2img: at a low strength little else changes."""
    start = {"kind": "img2img", "init_images": [encoded(reference("green", (192, 128)))], "denoising_strength": 0.1}
    studio.paint(refining(), **start)  # a first img2img job of a kind may differ from later ones
    job, plain = studio.paint(refining(), **start), studio.paint(refining(refine=0), **start)
    assert (inside(job, [0, 64, 95, 127]) != inside(plain, [0, 64, 95, 127])).any()
    assert (pixels(job)[:16, :80] == pixels(plain)[:16, :80]).all()

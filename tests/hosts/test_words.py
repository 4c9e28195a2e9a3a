"""The subjects' own prompts on every real host: the tiny SDXL, CPU, float32, through the host's API."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lib_anyms.layout.layout import Layout
from tests.hosts.neighbours import apart
from tests.hosts.replay import Replay, Words
from tests.hosts.studio import LAYERS, SCENE, Call, Studio, encoded, reference, two_subjects
from tests.support import oracle

pytestmark = pytest.mark.usefixtures("untouched")
CLOSE = 1e-4
CAT = {"prompt": "a (black:1.3) cat", "avoid": "white fur"}
DOG = {"prompt": "[a young:an old:0.5] dog"}
EXOTIC = {
    "emphasis": "a (cat:1.3) with [dull] fur",
    "BREAK": "a cat BREAK soft fur",
    "a schedule": "[a cat:a tiger:0.5]",
    "alternation": "a [black|white] cat",
    "more than 75 tokens": "a cat with soft fur, " * 20,
}
START = {"kind": "img2img", "init_images": [encoded(reference("green", (192, 128)))], "denoising_strength": 0.8}
SECOND = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.9}
JOBS: dict[str, dict[str, Any]] = {
    "txt2img": {},
    "two pictures": {"batch_size": 2},
    "CFG 1": {"cfg_scale": 1},
    "AND": {"prompt": "a cat AND a dog"},
    "second order": {"sampler_name": "Heun"},
    "hires fix": SECOND,
    "img2img": START,
}


@pytest.fixture(scope="session")
def replay(studio: Studio) -> Replay:
    return Replay(studio.files)


def with_words(cat: dict[str, Any], dog: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The usual request with these further values of its subjects."""
    request = two_subjects(**settings)
    first, second = request["subjects"]
    return {**request, "subjects": [{**first, **cat}, {**second, **dog}]}


def layout_of(request: dict[str, Any]) -> Layout:
    subjects = []
    for subject in request["subjects"]:
        subjects.append({name: value for name, value in subject.items() if name != "images"})
    return Layout.from_json({"version": 1, "subjects": subjects})


def changes_of(studio: Studio, job: str) -> dict[str, Any]:
    changes = JOBS[job]
    return {**changes, **studio.kind.hires} if changes is SECOND else changes


def contexts(studio: Studio, **changes: Any) -> list[dict[bool, torch.Tensor]]:
    """The host's own conditioning of a job without AnyMS at each step, by is_cond: (text tokens, C)."""
    steps: list[dict[bool, torch.Tensor]] = [{}]
    for call in studio.record(**changes):
        if call.is_cond[0] in steps[-1]:  # prompts of unequal length have a call each
            steps.append({})
        for is_cond in set(call.is_cond):
            steps[-1][is_cond] = call.tensors["context"][call.is_cond.index(is_cond)]
    return steps


def words_of(studio: Studio, request: dict[str, Any], calls: list[Call], **changes: Any) -> list[Words]:
    """The local text of every call of a job, encoded by the host as main prompts of other jobs."""
    cat, dog = request["subjects"]
    first = contexts(studio, **{**changes, "prompt": cat["prompt"], "negative_prompt": cat["avoid"]})
    second = contexts(studio, **{**changes, "prompt": dog["prompt"]})
    around = contexts(studio, **{**changes, "prompt": request["elsewhere"]})
    words = []
    for number in range(len(calls)):
        cond = [step[number][True] for step in (first, second, around)]
        uncond = first[number].get(False)  # Forge's second pass has none
        words.append(Words(layout_of(request), {True: cond, False: [uncond, None, None]}, request["words"]))
    return words


def test_the_main_prompt_as_every_prompt_changes_nothing(studio: Studio) -> None:
    main, negative = SCENE["prompt"], SCENE["negative_prompt"]
    same = {"prompt": main, "avoid": negative}
    job = studio.paint(with_words(same, same, elsewhere=main))
    assert apart(job.pixels[0], studio.composed.pixels[0]) <= 1


@pytest.mark.parametrize("job", JOBS)
def test_the_unet_gives_what_plain_torch_gives(studio: Studio, replay: Replay, measured: list[str], job: str) -> None:
    request, changes = with_words(CAT, DOG, elsewhere="a quiet beach", words=0.75), changes_of(studio, job)
    calls = studio.record(request, **changes)
    assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
    differences = replay.differences(calls, request, words_of(studio, request, calls, **changes))
    line = f"at most {max(differences):.1e} from plain torch in {len(differences)} calls"
    measured.append(f"{studio.host.place.name}, the subjects' prompts, {job}: {line}")
    assert max(differences) < CLOSE
    assert max(replay.differences(calls, request)) > 10 * CLOSE  # the comparison covers the prompts


@pytest.mark.parametrize("form", EXOTIC)
def test_a_prompt_in_the_host_s_own_syntax(studio: Studio, replay: Replay, form: str) -> None:
    prompt = EXOTIC[form]
    request = with_words({"prompt": prompt}, {}, scale=0)
    job, calls = studio.watch(request)
    assert studio.recalled(job.images[0])["subjects"][0]["prompt"] == prompt
    owned = oracle.owners(layout_of(request), 8, 12) == 0
    for call in calls:
        for is_cond, touched in zip(call.is_cond, call.tensors["touched"].bool()):
            assert torch.equal(touched, owned & is_cond)
    own = contexts(studio, prompt=prompt)
    words = [
        Words(layout_of(request), {True: [own[step][True], None, None], False: [None] * 3})
        for step in range(len(calls))
    ]
    assert max(replay.differences(calls, words=words)) < CLOSE
    assert apart(job.pixels[0], studio.baseline.pixels[0]) > 1


def test_elsewhere_auto_is_the_main_prompt_without_the_subjects(studio: Studio) -> None:
    auto = studio.paint(two_subjects(elsewhere="auto"))
    assert auto.pixels == studio.paint(two_subjects(elsewhere="on a beach")).pixels
    assert auto.pixels != studio.composed.pixels
    assert studio.recalled(auto.images[0])["elsewhere"] == "auto"


def test_elsewhere_auto_follows_the_second_pass_s_prompt(studio: Studio, replay: Replay) -> None:
    request, changes = two_subjects(elsewhere="auto"), changes_of(studio, "hires fix")
    calls = studio.record(request, **changes, hr_prompt="a cat in a meadow")
    own = contexts(studio, **changes, prompt="on a beach", hr_prompt="in a meadow")
    words = []
    for step in own:
        words.append(Words(layout_of(request), {True: [None, None, step[True]], False: [None] * 3}))
    assert max(replay.differences(calls, request, words)) < CLOSE


@pytest.mark.parametrize("field", ["prompt", "avoid"])
def test_an_extra_network_is_refused_with_its_sentence(studio: Studio, field: str) -> None:
    answer = studio.ask(with_words({field: "a cat <lora:fur:0.8>"}, {}))
    where = {"prompt": "the prompt", "avoid": "the text to avoid"}[field]
    assert answer.status == 500
    assert answer.sentence == (
        f"AnyMS: {where} of subject 'cat' contains <lora:fur:0.8>, which acts on the whole image. "
        "Put it into the main prompt."
    )

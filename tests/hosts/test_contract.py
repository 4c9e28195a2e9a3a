"""AnyMS's contract on every real host: the tiny SDXL, CPU, float32, through the host's API."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lib_anyms.layout.fields import MODES, OFF
from lib_anyms.layout.layout import Layout
from tests.hosts.replay import Replay
from tests.hosts.studio import LABELS, LAYERS, Call, Studio, encoded, reference, renamed, two_subjects

pytestmark = pytest.mark.usefixtures("untouched")
CLOSE = 1e-4


@pytest.fixture(scope="session")
def replay(studio: Studio) -> Replay:
    return Replay(studio.files)


def only(**subject: Any) -> dict[str, Any]:
    """A request of one subject."""
    cat = {"name": "cat", "images": [encoded(reference("orange"))], "box": [0.1, 0.1, 0.8, 0.9]}
    return two_subjects(subjects=[{**cat, **subject}])


class TestContract:
    """Each test runs on every available host."""

    def test_the_script_is_listed_with_its_arguments(self, studio: Studio) -> None:
        listed = studio.host.get("/sdapi/v1/scripts").body
        assert "anyms" in listed["txt2img"]
        assert "anyms" in listed["img2img"]
        described = [row for row in studio.host.get("/sdapi/v1/script-info").body if row["name"] == "anyms"]
        assert [(row["is_alwayson"], row["is_img2img"]) for row in described] == [(True, False), (True, True)]
        for row in described:
            assert [argument["label"] for argument in row["args"]] == LABELS

    def test_every_layer_fires_in_every_call(self, studio: Studio) -> None:
        calls = studio.record(two_subjects())
        assert len(calls) == 3
        assert [(call.fired, call.changed) for call in calls] == [(LAYERS, LAYERS)] * 3
        assert studio.composed.pixels != studio.baseline.pixels

    def test_without_anyms_no_layer_fires(self, studio: Studio) -> None:
        assert [(call.fired, call.changed) for call in studio.record()] == [(0, 0)] * 3

    def test_after_the_sampling_the_unet_is_free(self, studio: Studio) -> None:
        assert studio.hooks_after_sampling(two_subjects()) == studio.hooks_at_rest

    def test_the_infotext_holds_the_layout(self, studio: Studio) -> None:
        entry = studio.recalled(studio.composed.images[0])
        request_json = two_subjects()
        assert {name: entry[name] for name in ("version", "enabled", "scale", "mode")} == {
            name: request_json[name] for name in ("version", "enabled", "scale", "mode")
        }
        without_pictures = [
            {name: value for name, value in row.items() if name != "pictures"} for row in entry["subjects"]
        ]
        placed = [{name: value for name, value in row.items() if name != "images"} for row in request_json["subjects"]]
        expected = Layout.from_json({"version": 1, "subjects": placed})
        assert Layout.from_json({"version": 1, "subjects": without_pictures}) == expected
        assert [len(row["pictures"]) for row in entry["subjects"]] == [1, 1]

    def test_subjects_keep_their_order(self, studio: Studio) -> None:
        request_json = two_subjects()
        turned = studio.paint({**request_json, "subjects": request_json["subjects"][::-1]})
        assert [row["name"] for row in studio.recalled(studio.composed.images[0])["subjects"]] == ["cat", "dog"]
        assert [row["name"] for row in studio.recalled(turned.images[0])["subjects"]] == ["dog", "cat"]
        assert turned.pixels != studio.composed.pixels

    @pytest.mark.parametrize("adapter", ["", "base", "plus"])
    def test_the_unet_gives_what_diffusers_gives(
        self, studio: Studio, replay: Replay, measured: list[str], adapter: str
    ) -> None:
        request = two_subjects(adapter=studio.files.adapters[adapter].name) if adapter else None
        calls = studio.record(request)
        assert {flag for call in calls for flag in call.is_cond} == {True, False}
        differences = replay.differences(calls, request)
        largest = max(call.tensors["output"].abs().max().item() for call in calls)
        what = f"AnyMS with {adapter}" if adapter else "plain UNet"
        line = f"at most {max(differences):.1e} from diffusers in {len(differences)} calls, values to {largest:.1f}"
        measured.append(f"{studio.host.place.name}, {what}: {line}")
        assert max(differences) < CLOSE
        if request:
            assert max(replay.differences(calls)) > 100 * CLOSE  # the comparison covers the image stream

    @pytest.mark.parametrize(
        "setting", [{"enabled": False}, {"enabled": False, "subjects": []}, {"scale": 0}, {"mode": OFF}]
    )
    def test_off_means_untouched(self, studio: Studio, setting: dict[str, Any]) -> None:
        job = studio.paint(two_subjects(**setting))
        assert job.pixels == studio.baseline.pixels
        assert not {"AnyMS", "AnyMS skipped"} & studio.parameters(job.images[0]).keys()

    def test_every_mode_makes_another_picture(self, studio: Studio) -> None:
        pictures = {mode: studio.paint(two_subjects(mode=mode)).pixels[0] for mode in MODES}
        assert len(set(pictures.values())) == len(MODES)

    def test_the_same_request_makes_the_same_picture(self, studio: Studio) -> None:
        assert studio.paint(two_subjects()).pixels == studio.composed.pixels

    @pytest.mark.parametrize("call", [1, 2])
    def test_after_a_failure_within_the_unet(self, studio: Studio, call: int) -> None:
        composed = studio.composed
        answer = studio.ask(two_subjects(), probe={"raise_at": call})
        assert answer.status == 500
        assert answer.sentence == "the probe's failure"
        assert studio.paint().pixels == studio.baseline.pixels
        assert studio.hooks() == studio.hooks_at_rest
        assert studio.paint(two_subjects()).pixels == composed.pixels

    BAD = {
        "unknown field": (two_subjects(colour="red"), "no field named 'colour'"),
        "box outside": (only(box=[1.2, 0.1, 1.6, 0.9]), "is completely outside the image"),
        "no picture": (only(images=["not base64!"]), "not base64"),
        "version": (two_subjects(version=9), "has version 9"),
        "unknown adapter": (two_subjects(adapter="nothing.safetensors"), "no model file named 'nothing.safetensors'"),
        "no object": ("[1]", "not a JSON object (got list)"),
        "no JSON": ("{", "not JSON"),
        "no subject": (two_subjects(subjects=[]), "the request has 0 subjects"),
    }

    @pytest.mark.parametrize("fault", BAD)
    def test_a_bad_request_is_answered_with_its_sentence(self, studio: Studio, fault: str) -> None:
        request, sentence = self.BAD[fault]
        answer = studio.ask(request)
        assert answer.status == 500
        assert answer.sentence.startswith("AnyMS: ")
        assert sentence in answer.sentence

    def test_without_an_adapter(self, studio: Studio) -> None:
        with renamed(*studio.files.adapters.values()):
            answer = studio.ask(two_subjects())
        assert answer.status == 500
        assert answer.sentence.startswith("AnyMS: no IP-Adapter for SDXL was found (looked in: ")
        assert "ControlNet" in answer.sentence
        assert studio.paint(two_subjects()).pixels == studio.composed.pixels

    def test_a_look_alike_is_refused_by_name_and_passed_over_by_auto(self, studio: Studio) -> None:
        lora = studio.files.adapters["plus"].with_name("a-lora.safetensors")
        save_file({"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": torch.zeros(4, 64)}, lora)
        try:
            answer = studio.ask(two_subjects(adapter="a-lora"))
            assert answer.status == 500
            assert answer.sentence.startswith("AnyMS: a-lora.safetensors is a LoRA, not an IP-Adapter (got ")
            assert studio.paint(two_subjects()).pixels == studio.composed.pixels
        finally:
            lora.unlink()

    def test_an_adapter_of_another_family_is_stepped_aside_for(self, studio: Studio, other_family: str) -> None:
        assert studio.paint(two_subjects()).pixels == studio.composed.pixels  # auto ignores it
        job = studio.paint(two_subjects(adapter=other_family))
        assert job.pixels == studio.baseline.pixels
        parameters = studio.parameters(job.images[0])
        assert parameters["AnyMS skipped"].startswith("AnyMS: the loaded model is not of the adapter's family")
        assert "AnyMS" not in parameters

    def test_two_pictures_at_once(self, studio: Studio) -> None:
        calls = studio.record(two_subjects(), batch_size=2)
        assert [(call.changed, sum(call.is_cond), len(call.is_cond)) for call in calls] == [(LAYERS, 2, 4)] * 3

    def test_two_pictures_one_after_the_other(self, studio: Studio) -> None:
        both = studio.paint(two_subjects(), n_iter=2)
        second = studio.paint(two_subjects(), seed=8)
        plain = studio.paint(seed=8)
        assert both.pixels[-2:] == [*studio.composed.pixels, *second.pixels]  # A1111 puts a grid before them
        assert second.pixels != plain.pixels

    def test_without_guidance(self, studio: Studio) -> None:
        calls = studio.record(two_subjects(), cfg_scale=1)
        assert [(call.fired, call.changed) for call in calls] == [(LAYERS, LAYERS)] * 3
        assert {call.is_cond for call in calls} == {studio.kind.unguided}

    @pytest.mark.parametrize("sampler", ["Heun", "DPM++ SDE"])
    def test_samplers_of_second_order(self, studio: Studio, sampler: str) -> None:
        calls = studio.record(two_subjects(), sampler_name=sampler)
        assert len(calls) == 5  # twice a step, once in the last
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
        progress = [call.progress for call in calls]
        assert progress == sorted(progress)
        assert progress[0] == 0
        assert progress[-1] < 1

    def test_prompts_of_unequal_length(self, studio: Studio, replay: Replay) -> None:
        calls = studio.record(two_subjects(), prompt="a cat, " * 120)
        assert sorted(call.is_cond for call in calls) == [(False,)] * 3 + [(True,)] * 3  # too different for one call
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
        assert max(replay.differences(calls, two_subjects())) < CLOSE

    def test_prompts_joined_by_and(self, studio: Studio, replay: Replay) -> None:
        calls = studio.record(two_subjects(), prompt="a cat AND a dog")
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
        assert {(sum(call.is_cond), len(call.is_cond)) for call in calls} == {(2, 3)}
        assert max(replay.differences(calls, two_subjects())) < CLOSE

    def test_steps_without_unconditional_rows(self, studio: Studio) -> None:
        with studio.options(s_min_uncond=100.0):  # reForge ignores the request's
            calls = studio.record(two_subjects(), s_min_uncond=100.0)
        assert tuple(len(call.is_cond) for call in calls) == studio.kind.sparing
        assert {sum(call.is_cond) for call in calls} == {1}
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}

    def test_a_subject_for_a_part_of_the_steps(self, studio: Studio) -> None:
        calls = studio.record(only(start=0.5), steps=4)
        assert [call.changed for call in calls] == [0, 0, LAYERS, LAYERS]
        assert {call.fired for call in calls} == {LAYERS}

    def test_hires_fix(self, studio: Studio) -> None:
        larger = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.9, **studio.kind.hires}
        calls = studio.record(two_subjects(), **larger)
        assert {tuple(call.tensors["x"].shape[-2:]) for call in calls} == {(16, 24), studio.kind.hires_grid}
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}

    def test_img2img(self, studio: Studio) -> None:
        start = {"kind": "img2img", "init_images": [encoded(reference("green", (192, 128)))], "denoising_strength": 0.8}
        calls = studio.record(two_subjects(), **start)
        assert calls
        assert {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
        assert studio.paint(two_subjects(), **start).pixels != studio.paint(**start).pixels


@pytest.mark.parametrize("studio", ["a1111"], indirect=True)
def test_a1111_splits_the_rows(studio: Studio, replay: Replay) -> None:
    with studio.options(batch_cond_uncond=False):
        calls = studio.record(two_subjects())
    assert {len(call.is_cond) for call in calls} == {1}
    assert all_layers_as_diffusers(calls, replay)


@pytest.mark.parametrize("studio", ["a1111", "reforge"], indirect=True)
def test_prompts_padded_to_one_length(studio: Studio, replay: Replay) -> None:
    with studio.options(pad_cond_uncond=True):
        calls = studio.record(two_subjects(), prompt="a cat, " * 40)
    assert {len(call.is_cond) for call in calls} == {2}
    assert all_layers_as_diffusers(calls, replay)


def all_layers_as_diffusers(calls: list[Call], replay: Replay) -> bool:
    """Every layer acts and changes its output in every call; the UNet's output equals diffusers'."""
    fired = {(call.fired, call.changed) for call in calls} == {(LAYERS, LAYERS)}
    return fired and max(replay.differences(calls, two_subjects())) < CLOSE

"""An inpainting that another extension makes on our picture (ADetailer): AnyMS acts in it for one subject."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lib_anyms.errors import Refused
from lib_anyms.job.live_sessions import last_report, live
from tests.contract.cases import CLOSE, WEBUIS, Judge, on, subject
from tests.contract.hosts import StandIn, WebUIStandIn
from tests.contract.jobs import Inpainting, Job, Painted
from tests.contract.test_contract import joined
from tests.support.streams import hook_count
from tests.support.tiny_unet import tiny_unet

PICTURE = (96, 64)  # pixels of a picture of 12 x 8 latent cells
RED, BLUE = (0.0, 0.0, 0.5, 0.75), (0.375, 0.5, 1.0, 1.0)  # blue is on top
CORNER = (48, 0, 48, 32)  # a region of an "Only masked" job, with the picture's aspect ratio


def both(**settings: Any) -> dict[str, Any]:
    return {"scale": 0.9, "subjects": [subject("red", *RED), subject("blue", *BLUE, weight=0.8)], **settings}


def alone(colour: str, *box: float, **fields: Any) -> dict[str, Any]:
    """The request of the same pictures, words and weight for one subject."""
    weight = {"weight": 0.8} if colour == "blue" else {}
    return {"scale": 0.9, "subjects": [subject(colour, *box, **weight, **fields)]}


def inpainting(*rectangle: int, only_masked: tuple[int, int, int, int] | None = None, **changes: Any) -> Inpainting:
    """The mask is white in `rectangle` (left, top, right, bottom); only_masked: the region the host crops."""
    mask = Image.new("L", PICTURE)
    mask.paste(255, rectangle)
    masks = {"image_mask": mask, "mask_for_overlay": mask, "init_images": [Image.new("RGB", PICTURE)]}
    region = {"paste_to": only_masked, "inpaint_full_res": only_masked is not None}
    return Inpainting(seed=11, steps=3, **masks, **region, **changes)


class Beside:
    """A job of ours in which another extension inpaints each picture."""

    def __init__(self, host: StandIn, request: Any, *jobs: Inpainting, **changes: Any) -> None:
        self.host, self.jobs, self.inner = host, jobs, []
        self.p = Job(after_image=self.inpaint, **changes)
        self.painted = host.process(self.p, request)

    def inpaint(self) -> None:
        for job in self.jobs:
            self.inner.append(self.host.process(copy.copy(job)))

    @property
    def names(self) -> Any:
        return self.p.extra_generation_params.get("AnyMS second look")


def same(one: Painted, other: Painted) -> bool:
    return float((joined(one) - joined(other)).abs().max()) <= CLOSE * float(joined(other).abs().max())


def plain(host: StandIn, job: Inpainting) -> Painted:
    """The same inpainting where there is no AnyMS."""
    return host.process(copy.copy(job))


def expected(host: StandIn, job: Inpainting, request: Any) -> Painted:
    """The same sampling as a job of ours."""
    return host.process(Job(seed=job.seed, steps=job.steps, prompt=job.prompt, negative=job.negative), request)


IN_RED, IN_BLUE = (0, 16, 32, 32), (48, 32, 80, 64)
BOX_OF_RED, BOX_OF_BLUE = (0.0, 0.25, 1 / 3, 0.5), (0.5, 0.5, 5 / 6, 1.0)


@on(*WEBUIS)
class TestSecondLook:
    def test_the_stream_acts_for_the_subject_of_the_mask(self, host: StandIn, judge: Judge) -> None:
        beside = Beside(host, both(), inpainting(*IN_RED), n_iter=2)
        judge.right(host, beside.painted, both())  # batch count: the second picture has AnyMS too
        assert len(beside.inner) == 2
        for painted in beside.inner:
            judge.right(host, painted, alone("red", *BOX_OF_RED))
        assert beside.names == "red"
        assert "AnyMS" in beside.p.extra_generation_params
        assert beside.p.comments == []

    def test_only_masked_places_the_mask_in_the_crop(self, host: StandIn, judge: Judge) -> None:
        """The region is the upper right quarter; the mask begins in its middle and ends at its edge."""
        request = both(subjects=[subject("red", 0.5, 0, 1, 0.5)])
        beside = Beside(host, request, inpainting(72, 16, 96, 32, only_masked=CORNER))
        judge.right(host, beside.inner[0], alone("red", 0.5, 0.5, 1, 1))

    def test_the_topmost_subject_wins(self, host: StandIn, judge: Judge) -> None:
        beside = Beside(host, both(), inpainting(36, 32, 48, 48))  # in both boxes
        judge.right(host, beside.inner[0], alone("blue", 36 / 96, 0.5, 0.5, 0.75))
        assert beside.names == "blue"

    def test_several_inpaintings_of_one_picture(self, host: StandIn, judge: Judge) -> None:
        jobs = inpainting(*IN_BLUE), inpainting(*IN_RED), inpainting(56, 4, 90, 24)
        beside = Beside(host, both(), *jobs)
        judge.right(host, beside.inner[0], alone("blue", *BOX_OF_BLUE))
        judge.right(host, beside.inner[1], alone("red", *BOX_OF_RED))
        assert same(beside.inner[2], plain(host, jobs[2]))  # beside all boxes
        assert beside.names == "blue, red"
        assert beside.p.comments == []

    def test_a_mask_of_no_single_subject(self, host: StandIn) -> None:
        job = inpainting(0, 0, 96, 64)
        beside = Beside(host, both(), job)
        assert same(beside.inner[0], plain(host, job))
        assert [comment for comment in beside.p.comments if "belongs to no single subject" in comment]
        assert beside.p.comments == [beside.p.extra_generation_params["AnyMS note"]]
        assert last_report().notes == ("second_look_none",)
        assert beside.names is None

    @pytest.mark.parametrize("setting", ["off", "off, red", "OFF"])
    def test_off(self, host: StandIn, setting: str) -> None:
        job = inpainting(*IN_RED)
        beside = Beside(host, both(second_look=setting), job)
        assert same(beside.inner[0], plain(host, job))
        assert beside.names is None

    @pytest.mark.parametrize("setting", ["blue, RED", "2,1"])
    def test_the_request_names_the_subjects_in_order(self, host: StandIn, judge: Judge, setting: str) -> None:
        job = inpainting(*IN_RED)
        beside = Beside(host, both(second_look=setting), job, job, job, n_iter=2)
        for first in (0, 3):  # the count begins again with each picture
            judge.right(host, beside.inner[first], alone("blue", *BOX_OF_RED))
            judge.right(host, beside.inner[first + 1], alone("red", *BOX_OF_RED))
            assert same(beside.inner[first + 2], plain(host, job))
        assert beside.names == "blue, red"

    # -- words ---------------------------------------------------------------------------------------------------------

    def test_the_subject_s_words_act_where_the_prompt_is_the_picture_s(self, host: StandIn, texts: Any) -> None:
        request = both(subjects=[subject("red", *RED, prompt="black fur", avoid="grass"), subject("blue", *BLUE)])
        job = inpainting(*IN_RED)
        beside = Beside(host, request, job)
        mine = expected(host, job, alone("red", *BOX_OF_RED, prompt="black fur", avoid="grass"))
        assert same(beside.inner[0], mine)
        assert not same(mine, expected(host, job, alone("red", *BOX_OF_RED)))
        assert len(texts) == 4  # of our two jobs; the inner one encodes nothing while it samples

    @pytest.mark.parametrize("other", ["prompt", "negative"])
    def test_an_own_prompt_replaces_the_subject_s(self, host: StandIn, texts: Any, other: str) -> None:
        request = both(subjects=[subject("red", *RED, prompt="black fur", avoid="grass"), subject("blue", *BLUE)])
        changes = {"prompt": ("a face",)} if other == "prompt" else {"negative": "sepia"}
        job = inpainting(*IN_RED, **changes)
        kept = {"avoid": "grass"} if other == "prompt" else {"prompt": "black fur"}
        assert same(Beside(host, request, job).inner[0], expected(host, job, alone("red", *BOX_OF_RED, **kept)))

    # -- scripts -------------------------------------------------------------------------------------------------------

    def test_an_inpainting_that_keeps_all_scripts(self, host: WebUIStandIn, judge: Judge) -> None:
        """As ADetailer's without "Apply only selected scripts": it has our request too."""
        job, inner = inpainting(*IN_RED, scripted=True), []
        p = Job(n_iter=2, after_image=lambda: inner.append(host.process(copy.copy(job), both())))
        judge.right(host, host.process(p, both()), both())
        for painted in inner:
            judge.right(host, painted, alone("red", *BOX_OF_RED))

    def test_an_inpainting_with_our_script_switched_off(self, host: WebUIStandIn, judge: Judge) -> None:
        job, inner = inpainting(*IN_RED, scripted=True), []
        p = Job(n_iter=2, after_image=lambda: inner.append(host.process(copy.copy(job), {"enabled": False})))
        judge.right(host, host.process(p, both()), both())
        assert same(inner[0], plain(host, inpainting(*IN_RED)))

    def test_callbacks_of_a_copy_in_between(self, host: WebUIStandIn, judge: Judge) -> None:
        """ADetailer calls postprocess, before_process and process of all scripts with a copy of our job."""
        values = host._arguments(both())

        def between() -> None:
            host.script.postprocess(copy.copy(p), None, *values)
            beside.append(host.process(inpainting(*IN_RED)))
            host.script.before_process(copy.copy(p), *values)

        beside: list[Painted] = []
        p = Job(n_iter=2, after_image=between)
        painted = host.process(p, both())
        judge.right(host, painted, both())
        judge.right(host, beside[1], alone("red", *BOX_OF_RED))
        assert p.extra_generation_params["AnyMS second look"] == "red"
        assert len(last_report().second_looks) == 2

    # -- nothing stays -------------------------------------------------------------------------------------------------

    def test_hooks_are_on_the_unet_during_steps_only(self, host: StandIn) -> None:
        hooks = []
        job = inpainting(*IN_RED, before_step=lambda _step: hooks.append(host.hooks()))
        beside = Beside(host, both(), job)
        assert hooks == [0, 0, 0]
        assert not same(beside.inner[0], plain(host, job))
        assert host.hooks() == 0
        assert live() is None

    def test_an_inpainting_that_fails(self, host: StandIn, judge: Judge) -> None:
        def fail(step: int) -> None:
            if step == 1:
                raise RuntimeError("out of memory")

        job, good, inner = inpainting(*IN_RED, before_step=fail), inpainting(*IN_BLUE), []

        def inpaint() -> None:
            with pytest.raises(RuntimeError, match="out of memory"):
                host.process(copy.copy(job))
            inner.append(host.process(copy.copy(good)))

        p = Job(n_iter=2, after_image=inpaint)
        judge.right(host, host.process(p, both()), both())
        judge.right(host, inner[0], alone("blue", *BOX_OF_BLUE))
        assert host.hooks() == 0

    def test_another_family_s_checkpoint(self, host: Any, judge: Judge, webui: Any) -> None:
        """The sentence goes into the picture's infotext; the picture keeps its layout."""
        tiny = tiny_unet()
        ours, inner = host.unet, []

        def inpaint() -> None:
            host.unet = tiny
            job = inpainting(*IN_RED, sd_model=host.model())
            step = SimpleNamespace(denoiser=SimpleNamespace(p=job, step=0, total_steps=1))
            webui("lib_anyms.webui.lifecycle").step_begins(step)
            inner.append(hook_count(tiny))
            host.unet = ours
            host.model()

        p = Job(n_iter=2, after_image=inpaint)
        judge.right(host, host.process(p, both()), both())
        assert inner == [0, 0]
        assert "that pass was made without AnyMS" in p.extra_generation_params["AnyMS skipped"]
        assert "AnyMS" in p.extra_generation_params

    def test_after_a_failed_job_an_inpainting_is_not_a_second_look(self, host: StandIn) -> None:
        def fail() -> None:
            raise RuntimeError("the VAE gave NaN")

        job = inpainting(*IN_RED)
        untouched = plain(host, job)
        with pytest.raises(RuntimeError, match="NaN"):
            host.process(Job(after_image=fail), both())
        assert torch.equal(joined(plain(host, job)), joined(untouched))

    def test_the_report_counts_second_looks(self, host: StandIn) -> None:
        Beside(host, both(), inpainting(*IN_BLUE), inpainting(*IN_RED))
        looks = last_report().second_looks
        assert [(look.subject, look.calls, look.failure) for look in looks] == [(2, 3, ""), (1, 3, "")]
        assert len(last_report().passes) == 1

    def test_each_picture_of_a_batch_names_its_own(self, host: StandIn) -> None:
        job = inpainting(*IN_RED)

        def inpaint() -> None:
            p.batch_index = 1
            host.process(copy.copy(job))

        p = Job(batch_size=2, after_image=inpaint)
        host.process(p, both())
        assert p.extra_generation_params["AnyMS second look"] == [None, "red"]

    def test_an_unknown_name_is_refused(self, host: StandIn) -> None:
        with pytest.raises(Exception, match="second_look names 'green'"):
            host.paint(both(second_look="green"))


@on("forge")
class TestOnForge:
    def test_an_error_of_ours_in_an_inpainting_is_said(self, host: Any, judge: Judge) -> None:
        """Its exception ends the inpainting; the extension only logs it."""

        def twice(n: Any, context: Any, value: Any, _options: Any) -> tuple[Any, ...]:
            return tuple(tensor.repeat_interleave(2, 0) for tensor in (n, context, value))

        def inpaint() -> None:
            host.patches = {"patches": {"attn2_patch": [twice], "attn2_output_patch": [lambda n, _options: n[::2]]}}
            try:
                with pytest.raises(Refused, match="called with 4 batch entries"):
                    host.process(inpainting(*IN_RED))
            finally:
                host.patches = {}

        p = Job(n_iter=2, after_image=inpaint)
        judge.right(host, host.process(p, both()), both())
        note = p.extra_generation_params["AnyMS note"]
        assert note.startswith(
            "AnyMS: another extension's inpainting of subject 'red' was made without AnyMS. AnyMS: the"
        )
        assert p.comments == [note]
        assert host.hooks() == 0

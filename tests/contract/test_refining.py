"""Refining: after the picture, the host's own img2img inpaints each subject, and AnyMS acts for that one alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_anyms.job.live_sessions import last_report
from lib_anyms.standalone.refining import region_of
from tests.contract.cases import WEBUIS, Judge, on, subject
from tests.contract.hosts import WebUIStandIn
from tests.contract.jobs import Inpainting, Job, Painted

pytestmark = on(*WEBUIS)
PICTURE = Image.new("RGB", (96, 64), (10, 20, 30))
# In pixels: 0..48 x 0..32 and, on top, 24..96 x 32..64; the picture has 96 x 64.
RED, BLUE = (0.0, 0.0, 0.5, 0.5), (0.25, 0.5, 1.0, 1.0)


def request(**settings: Any) -> dict[str, Any]:
    subjects = [subject("red", *RED), subject("blue", *BLUE, weight=0.8)]
    return {"scale": 0.9, "subjects": subjects, "refine": 0.35, "refine_padding": 0, **settings}


class Img2Img(Inpainting):
    """The host's StableDiffusionProcessingImg2Img. Widths and heights are pixels, and latent cells inside."""

    all_jobs: list[Img2Img] = []
    host: Any = None

    def act(self) -> None:
        """Whatever a test does while the job runs."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(seed=fields["seed"], prompt=fields["prompt"], negative=fields["negative_prompt"])
        self.fields, self.painted, self.closed = fields, Painted([], [], {}, []), False
        self.init_images, self.image_mask = fields["init_images"], fields["mask"]
        self.size, self.steps = (fields["width"], fields["height"]), fields["steps"]
        self.width, self.height = self.size[0] // 8, self.size[1] // 8

    def process(self) -> Any:
        Img2Img.all_jobs.append(self)
        self.mask_for_overlay = self.image_mask
        left, top, right, bottom = region_of(self.image_mask, self.fields["inpaint_full_res_padding"], self.size)
        self.paste_to = (left, top, right - left, bottom - top)
        self.act()
        self.painted = self.host.process(self)
        result = self.init_images[0].copy()
        result.paste((len(Img2Img.all_jobs), 0, 0), mask=self.image_mask)
        return SimpleNamespace(images=[result])

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def jobs(host: WebUIStandIn, webui: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Img2Img]]:
    processing = webui("modules.processing")
    monkeypatch.setattr(processing, "StableDiffusionProcessingImg2Img", Img2Img, raising=False)
    monkeypatch.setattr(Img2Img, "all_jobs", [])
    monkeypatch.setattr(Img2Img, "host", host)
    yield Img2Img.all_jobs
    assert host.hooks() == 0


def ours(host: WebUIStandIn, settings: Any, **changes: Any) -> tuple[Job, Painted]:
    p = Job(picture=PICTURE, **changes)
    return p, host.process(p, settings)


def colours(picture: Image.Image) -> dict[tuple[int, int], int]:
    """The red value of a pixel in each region: of red, of blue, beside both."""
    return {place: picture.getpixel(place)[0] for place in ((4, 4), (60, 50), (80, 4))}


class TestRefining:
    def test_each_subject_is_inpainted_back_to_front(
        self, host: WebUIStandIn, judge: Judge, jobs: list[Img2Img]
    ) -> None:
        p, painted = ours(host, request(), n_iter=2)
        judge.right(host, painted, request())  # the second picture too
        assert [(job.seed, job.image_mask.getbbox()) for job in jobs] == [
            (7, (0, 0, 48, 32)),
            (7, (24, 32, 96, 64)),
            (8, (0, 0, 48, 32)),
            (8, (24, 32, 96, 64)),
        ]
        assert {job.size for job in jobs} == {(128, 64)}
        # The host crops 64 x 32 pixels around red, and 72 x 36 around blue.
        in_crop = subject("red", 0, 0, 48 / 64, 1), subject("blue", 0, 4 / 36, 1, 1, weight=0.8)
        for job, expected in zip(jobs, in_crop * 2):
            judge.right(host, job.painted, {"scale": 0.9, "subjects": [expected]})
            assert job.closed
        assert [colours(picture) for picture in p.pictures] == [
            {(4, 4): 1, (60, 50): 2, (80, 4): 10},
            {(4, 4): 3, (60, 50): 4, (80, 4): 10},
        ]
        assert jobs[1].init_images[0].getpixel((4, 4)) == (1, 0, 0)  # each goes on from the one before
        assert [look.subject for look in last_report().second_looks] == [1, 2, 1, 2]

    def test_the_host_s_job(self, host: WebUIStandIn, jobs: list[Img2Img]) -> None:
        ours(host, request(refine_padding=8, refine_size=256))
        fields = jobs[0].fields
        expected = {"denoising_strength": 0.35, "inpaint_full_res": True, "inpaint_full_res_padding": 8}
        assert fields.items() >= {**expected, "do_not_save_samples": True, "batch_size": 1, "steps": 2}.items()
        assert jobs[0].size == (320, 192)  # 256 x 256 pixels in the shape of 56 x 40

    def test_the_infotext_has_the_setting_only(self, host: WebUIStandIn, jobs: list[Img2Img]) -> None:
        p, _ = ours(host, request())
        assert "refine 0.35, refine_padding 0" in p.extra_generation_params["AnyMS"]
        assert set(p.extra_generation_params) == {"AnyMS"}
        assert p.comments == []
        assert len(jobs) == 2

    @pytest.mark.parametrize("settings", [{"refine": 0}, {"enabled": False}, {"mode": "off"}, {"scale": 0}])
    def test_without_it_nothing_is_made(self, host: WebUIStandIn, jobs: list[Img2Img], settings: Any) -> None:
        p, _ = ours(host, request(**settings))
        assert p.pictures == [PICTURE]
        assert p.pictures[0] is PICTURE
        assert jobs == []
        assert "refine" not in p.extra_generation_params.get("AnyMS", "") or settings["refine"] == 0

    def test_hidden_subjects_and_backgrounds_are_left_out(self, host: WebUIStandIn, jobs: list[Img2Img]) -> None:
        table = subject("green", 0, 0, 1, 1, role="background")
        hidden, idle = subject("grey", 0.1, 0.1, 0.2, 0.2), subject("black", 0.8, 0, 1, 0.2, weight=0)
        ours(host, request(subjects=[table, hidden, subject("red", *RED), idle]))
        assert [job.image_mask.getbbox() for job in jobs] == [(0, 0, 48, 32)]

    def test_a_covered_part_is_not_repainted(self, host: WebUIStandIn, jobs: list[Img2Img]) -> None:
        ours(host, request(subjects=[subject("red", 0, 0, 1, 1), subject("blue", *BLUE)]))
        mask = np.asarray(jobs[0].image_mask)
        assert (mask[:32] == 255).all()
        assert (mask[32:, 24:] == 0).all()
        assert (mask[32:, :24] == 255).all()

    @pytest.mark.parametrize("button", ["interrupted", "skipped"])
    def test_the_user_stops_it(
        self, host: WebUIStandIn, jobs: list[Img2Img], webui: Any, monkeypatch: pytest.MonkeyPatch, button: str
    ) -> None:
        state = webui("modules.shared").state
        monkeypatch.setattr(state, button, False)
        monkeypatch.setattr(Img2Img, "act", lambda job: setattr(state, button, len(jobs) == 2))
        p, _ = ours(host, request(subjects=[*request()["subjects"], subject("grey", 0.75, 0, 1, 0.25)]))
        assert len(jobs) == 2
        assert colours(p.pictures[0]) == {(4, 4): 1, (60, 50): 10, (80, 4): 10}
        assert [comment for comment in p.comments if "while subject 'blue' was refined" in comment]

    def test_an_inpainting_that_fails(
        self, host: WebUIStandIn, judge: Judge, jobs: list[Img2Img], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_job: Img2Img) -> None:
            if len(jobs) == 2:
                raise RuntimeError("out of memory")

        monkeypatch.setattr(Img2Img, "act", fail)
        p, painted = ours(host, request(), n_iter=2)
        judge.right(host, painted, request())
        assert colours(p.pictures[0]) == {(4, 4): 1, (60, 50): 10, (80, 4): 10}
        assert p.pictures[1].getpixel((60, 50)) == (4, 0, 0)
        assert [comment for comment in p.comments if "not refined (RuntimeError: out of memory)" in comment]

    def test_progress(self, host: WebUIStandIn, jobs: list[Img2Img], webui: Any, monkeypatch: Any) -> None:
        state, said = webui("modules.shared").state, []
        monkeypatch.setattr(state, "job_count", 1)
        monkeypatch.setattr(state, "textinfo", "before")
        monkeypatch.setattr(Img2Img, "act", lambda _job: said.append(state.textinfo))
        ours(host, request())
        assert said == ["AnyMS refines red (1 of 2)", "AnyMS refines blue (2 of 2)"]
        assert (state.job_count, state.textinfo) == (3, "before")
        assert len(jobs) == 2

    def test_the_paste_button_keeps_our_infotext(
        self, host: WebUIStandIn, jobs: list[Img2Img], webui: Any, monkeypatch: Any
    ) -> None:
        file = Path(webui("modules.paths").data_path) / "params.txt"
        file.write_text("ours", encoding="utf-8")
        monkeypatch.setattr(Img2Img, "act", lambda _job: file.write_text("an inpainting's", encoding="utf-8"))
        ours(host, request())
        assert len(jobs) == 2
        assert file.read_text(encoding="utf-8") == "ours"
        file.unlink()

    def test_the_subject_s_words(self, host: WebUIStandIn, jobs: list[Img2Img], texts: list[str]) -> None:
        worded = request(subjects=[subject("red", *RED, prompt="black fur")])
        ours(host, worded)
        plain_calls = jobs[0].painted.calls
        jobs.clear()
        ours(host, request(subjects=[subject("red", *RED)]))
        assert texts == ["black fur"]
        assert (plain_calls[0].output - jobs[0].painted.calls[0].output).abs().max() > 1e-3

"""Extra output of one Generate: the other jobs of a comparison, its gallery, and the influence maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from lib_anyms.engine.influence import Influence
from lib_anyms.job.request import Request
from lib_anyms.layout.geometry import WHOLE, TokenGrid, Viewport
from lib_anyms.layout.layout import Layout
from lib_anyms.layout.silhouette import Silhouette
from tests.support.adapter_files import write_adapter
from tests.support.fake_webui import FakeWebUI, fake_webui
from tests.support.streams import NextCall, injected, layout_of, stream_on
from tests.support.tiny_unet import inputs, tiny_unet

RED = Image.new("RGB", (6, 5), "red")
SIZE = (64, 48)
COLOURS = {"off": "white", "masked-sum": "silver", "crop-merge": "teal", "global-sum": "gold"}
REQUEST = {"mode": "global-sum", "subjects": [{"name": "cat", "box": [0.25, 0, 0.75, 1], "images": [RED]}]}


class Script:
    """Our Script, among the host's."""

    args_from, args_to = 1, 3

    def title(self) -> str:
        return "AnyMS"


class Job:
    """A host's `p`: the colour of its image shows the mode of its request."""

    def __init__(self, extras: Any, values: list[Any], chosen: int = 0) -> None:
        self.extras = extras
        chosen_script = SimpleNamespace(title=lambda: "X/Y/Z plot")
        self.scripts = SimpleNamespace(alwayson_scripts=[Script()], selectable_scripts=[chosen_script])
        self.script_args = [chosen, *values]
        self.seed, self.n_iter, self.batch_size, self.do_not_save_grid = -1, 3, 2, False
        self.styles, self.override_settings, self.extra_generation_params = [], {}, {}
        self.outpath_grids, self.all_seeds, self.all_prompts = "grids", [7], ["a cat"]
        self.comments: dict[str, int] = {}
        self.closed = False
        self.jobs: list[tuple[str, int]] = []  # (mode, seed) of each job; copies share the list
        self.words: list[float] = []  # the share of local text of each job

    def comment(self, text: str) -> None:
        self.comments[text] = 1

    def close(self) -> None:
        self.closed = True

    @property
    def values(self) -> list[Any]:
        return self.script_args[1:]

    def process(self) -> Any:
        """Like process_images: our callbacks around one image."""
        self.extras.begin(self, self.values)
        request = self.values[0]
        self.jobs.append((request.mode, self.seed))
        self.words.append(request.words)
        self.extra_generation_params[request.mode] = 1
        lists = {"all_seeds": [7], "all_prompts": ["a cat"], "all_negative_prompts": [""], "all_subseeds": [1]}
        image = Image.new("RGB", SIZE, COLOURS[request.mode])
        done = SimpleNamespace(images=[image], infotexts=[request.mode], index_of_first_image=0, **lists)
        self.extras.end(self, done)
        return done


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[FakeWebUI]:
    with fake_webui(tmp_path) as loaded:
        loaded("modules.shared").opts.grid_save = True
        loaded("modules.shared").opts.grid_format = "png"
        loaded("modules.shared").opts.grid_extended_filename = False
        yield loaded


@pytest.fixture
def extras(webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = webui("lib_anyms.webui.ui.extras")
    monkeypatch.setattr(loaded.panel, "extra_output", lambda values: values[1])
    return loaded


def job(extras: Any, output: str, chosen: int = 0, **settings: Any) -> Job:
    return Job(extras, [Request.from_json({**REQUEST, **settings}), output], chosen)


def test_a_comparison_runs_the_other_modes_first_with_one_seed(extras: Any, webui: FakeWebUI) -> None:
    p = job(extras, "comparison")
    done = p.process()
    assert p.jobs == [("off", 1234), ("masked-sum", 1234), ("crop-merge", 1234)]
    assert (p.n_iter, p.batch_size) == (1, 1)
    assert done.infotexts == ["crop-merge", "off", "masked-sum", "crop-merge"]
    assert (done.index_of_first_image, len(done.images)) == (1, 4)
    assert len(done.all_seeds) == len(done.all_prompts) == 3
    sheet, *pictures = done.images
    colours = [(255, 255, 255), (192, 192, 192), (0, 128, 128)]
    assert [picture.getpixel((1, 1)) for picture in pictures] == colours  # nothing is drawn on them
    assert sheet.width > 3 * SIZE[0]
    assert [sheet] == webui("modules.images").SAVED
    assert p.extra_generation_params == {"crop-merge": 1}  # the copies wrote into copies
    assert extras.state.waiting is None


def test_words_are_compared_with_the_main_prompt_everywhere(extras: Any, webui: FakeWebUI) -> None:
    p = job(extras, "words", elsewhere="grass", words=0.75)
    done = p.process()
    assert p.jobs == [("crop-merge", 1234)] * 2
    assert p.words == [0, 0.75]
    assert len(done.images) == 3
    assert (done.index_of_first_image, len(done.all_seeds)) == (1, 2)
    assert [done.images[0]] == webui("modules.images").SAVED


@pytest.mark.parametrize("settings", [{}, {"elsewhere": "grass", "words": 0}], ids=["no text", "share 0"])
def test_without_words_nothing_is_compared_and_a_note_says_so(extras: Any, settings: dict[str, Any]) -> None:
    p = job(extras, "words", **settings)
    assert len(p.process().images) == 1
    assert "the subjects have no prompts" in next(iter(p.comments))


def test_the_boxes_are_drawn_where_the_layout_has_them(webui: FakeWebUI) -> None:
    drawing, layout = webui("lib_anyms.webui.ui.drawing"), Request.from_json(REQUEST).layout
    font = webui("modules.images").get_font
    plain = Image.new("RGB", (201, 101), "white")

    def column_of(viewport: Viewport) -> list[int]:
        drawn = drawing.with_boxes(plain, layout, viewport, font)
        return [x for x in range(drawn.width) if drawn.getpixel((x, 60)) == (240, 168, 48)]

    assert column_of(WHOLE) == [50, 51, 149, 150]
    assert column_of(Viewport(0.25, 0, 1.25, 1)) == [
        0,
        1,
        99,
        100,
    ]  # cropped by a second pass with another aspect ratio
    assert plain.getcolors() == [(201 * 101, (255, 255, 255))]


def test_with_a_chosen_script_nothing_is_compared_and_a_note_says_so(extras: Any) -> None:
    p = job(extras, "comparison", chosen=1)
    done = p.process()
    assert [mode for mode, _ in p.jobs] == ["global-sum"]
    assert len(done.images) == 1
    assert "the script X/Y/Z plot is chosen" in next(iter(p.comments))


def test_after_a_stop_the_images_are_shown_without_a_sheet(extras: Any, webui: FakeWebUI) -> None:
    p = job(extras, "comparison")
    webui("modules.shared").state.interrupted = True
    done = p.process()
    assert [mode for mode, _ in p.jobs] == ["crop-merge"]
    assert len(done.images) == 1


def test_a_failure_of_the_other_jobs_is_a_note_and_the_job_continues(
    extras: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_job: Any) -> None:
        raise RuntimeError("out of memory")

    p = job(extras, "comparison")
    monkeypatch.setattr(extras.processing, "process_images", fail)
    assert len(p.process().images) == 1
    assert "RuntimeError: out of memory" in next(iter(p.comments))
    assert extras.state.running == []
    assert extras.state.waiting is None


def test_the_page_knows_whether_its_host_s_hires_fix_crops(webui: FakeWebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = webui("lib_anyms.webui.ui.editor")
    assert 'hires="cuts"' in editor.element(str, "txt2img").value
    monkeypatch.setattr(editor, "host_name", lambda: "Forge Neo")
    assert 'hires="stretches"' in editor.element(str, "txt2img").value


def test_a_job_that_failed_leaves_nothing_to_the_next(extras: Any) -> None:
    failed = job(extras, "comparison")
    extras.begin(failed, failed.values)
    assert extras.state.waiting is not None
    later = Job(extras, [Request.from_json({**REQUEST, "mode": "off"}), ""])
    assert len(later.process().images) == 1
    assert extras.state.waiting is None


@pytest.mark.parametrize("on", [True, False])
def test_a_button_works_whether_the_switch_is_on_or_off(webui: FakeWebUI, on: bool) -> None:
    panel = webui("lib_anyms.webui.ui.panel")
    values = [component.value for component in panel.build(lambda name: f"anyms_{name}").components]
    values[1] = on
    assert panel.uses_anyms(values) is on
    for text, output in (
        ("comparison", "comparison"),
        ("maps", "maps"),
        ("words", "words"),
        ("refine", "refine"),
        ("", ""),
        ("else", ""),
    ):
        values[-1] = text
        assert panel.extra_output(values) == output
        assert panel.uses_anyms(values) is (on or bool(output))


def test_the_hint_about_missing_files_is_the_job_s_sentence(webui: FakeWebUI, tmp_path: Path) -> None:
    model_hint = webui("lib_anyms.webui.ui.model_hint")
    sentence = model_hint.problem("auto", "auto")
    assert sentence.startswith("No IP-Adapter for SDXL was found. Put ip-adapter-plus_sdxl_vit-h")
    assert str(tmp_path / "ipadapter") in sentence
    unet = tiny_unet()
    webui("modules.sd_models").model_data.sd_model = SimpleNamespace(model=SimpleNamespace(diffusion_model=unet))
    (tmp_path / "ipadapter").mkdir()
    write_adapter(tmp_path / "ipadapter" / "some.safetensors", unet)
    assert "image encoder" in model_hint.problem("auto", None)


def test_the_influence_of_a_real_stream_is_where_its_boxes_are() -> None:
    assert_influence_is_inside(layout_of((0, 0, 0.5, 1)))


def test_the_influence_of_a_real_stream_is_where_its_silhouettes_are() -> None:
    upper = Silhouette(1, 2, bytes([255, 0]))
    (subject,) = layout_of((0, 0, 1, 1)).subjects
    assert_influence_is_inside(Layout((replace(subject, silhouette=upper),)))


def assert_influence_is_inside(layout: Layout) -> None:
    """For a layout that owns half of the tokens."""
    unet, influence = tiny_unet(), Influence()
    stream = stream_on(unet, layout, NextCall(False, True))
    with injected(stream):
        unet(*inputs(2, 8, 8))
        assert influence.shares(stream.grids) is None  # recording is off
        stream.region_merge.influence = influence
        unet(*inputs(2, 8, 8))
    grid, shares = influence.shares(stream.grids)
    owned = set(stream.layout.visible_tokens(grid)[0])
    assert len(owned) == grid.tokens // 2
    for token, share in enumerate(shares):
        assert (share > 0.01) == (token in owned)


def test_influence_is_the_share_of_the_update_and_keeps_a_sum_only() -> None:
    grid, influence = TokenGrid(1, 2), Influence()
    text = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    image = torch.tensor([[[0.0, 2.0], [0.0, 0.0]]])
    for scale in (0.5, 1.5):  # 1 of 4, then 3 of 6
        influence.see(grid, text, image, scale)
    assert influence.shares([grid]) == (grid, pytest.approx([(0.25 + 0.5) / 2, 0.0]))
    assert influence.shares([]) is None
    for width in range(3, 40):
        influence.see(TokenGrid(1, width), torch.ones(1, width, 2), torch.ones(1, width, 2), 1.0)
    assert len(influence._sums) == Influence.high


def test_a_map_is_hot_where_its_subject_acts(webui: FakeWebUI, extras: Any) -> None:
    layout = Layout(Request.from_json(REQUEST).layout.subjects)
    grid, influence = TokenGrid(2, 4), Influence()
    image = torch.zeros(1, 8, 1)
    image[0, 1] = 1.0  # the cat's upper left token
    influence.see(grid, torch.ones(1, 8, 1), image, 1.0)
    p = SimpleNamespace(enable_hr=False, outpath_grids="")
    session = SimpleNamespace(
        influence=influence, stream=SimpleNamespace(layout=layout, grids={grid}), viewport=WHOLE, job=p
    )
    done = SimpleNamespace(images=[Image.new("RGB", (80, 40), "grey")], infotexts=["x"], index_of_first_image=0)
    extras._show_maps(session, p, done)
    (sheet,) = done.images[1:]
    left, top = (sheet.width - 80) // 2, sheet.height - 40 - (sheet.width - 80) // 2
    hot, cold = sheet.getpixel((left + 30, top + 10)), sheet.getpixel((left + 70, top + 30))
    assert sum(hot) > sum(cold) + 150
    assert len(done.infotexts) == 2
